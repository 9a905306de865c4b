"""Random ids, and countable ones for tests."""

import itertools
import secrets
import time
import uuid

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


class RandomIds:
    def session_id(self) -> str:
        return str(uuid.uuid4())

    def replica_id(self) -> str:
        return str(uuid.uuid4())

    def event_id(self) -> str:
        """`sevt_` and 26 characters: milliseconds since 1970 and 80 random bits, so ids sort by time."""
        number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        return "sevt_" + "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


class CountedIds:
    """The same ids in every run."""

    def __init__(self) -> None:
        self._sessions = itertools.count(1)
        self._replicas = itertools.count(1)
        self._events = itertools.count(1)

    def session_id(self) -> str:
        return str(uuid.UUID(int=next(self._sessions), version=4))

    def replica_id(self) -> str:
        return f"replica-{next(self._replicas)}"

    def event_id(self) -> str:
        return f"sevt_{next(self._events):026d}"
