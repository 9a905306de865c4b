"""The words in which the engine tells of itself: values of its metrics' labels."""

from enum import StrEnum


class StartKind(StrEnum):
    """What for a runtime was started: ahead of any message, for a new conversation, for one that goes on."""

    PRESTART = "prestart"
    START = "start"
    WAKE = "wake"


class Takeover(StrEnum):
    """What became of a turn whose replica went away."""

    RERUN = "rerun"
    ENDED = "ended"


class Expiry(StrEnum):
    """Why a closed session was deleted though nobody asked for it."""

    AGE = "age"
    SIZE = "size"


class Refusal(StrEnum):
    """What kept a message out of its session's log, though the message itself was in order."""

    BUSY = "busy"
    TURNS = "turns"
    LIVE_SESSIONS = "live_sessions"
    USER_SESSIONS = "user_sessions"
    MEMORY = "memory"
    DRAINING = "draining"
    RATE = "rate"
    BUDGET = "budget"
    STORAGE_FAILED = "storage_failed"
    STORAGE_FULL = "storage_full"
    QUOTA = "quota"
    TIMEOUT = "timeout"
