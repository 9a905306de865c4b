"""The engine's limits, as numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_live` and `max_live_per_user` count agent processes, not stored sessions. Times are seconds.

    `stop_seconds` is what the end of a runtime, and of what is still owed to the log, may take.
    `lease_seconds` is how long a replica that says nothing keeps its sessions, `poll_seconds` how often one
    asks the database for what no other told it. `approval_seconds` is how long a tool waits to be allowed.
    `retention_seconds` is how long a closed session is kept after its last use, `retention_bytes` what all
    closed ones' events and transcripts may take; 0: no limit.
    `quota_seconds` is how often the disk of users whose turns run is looked at.
    """

    max_live: int = 20
    max_live_per_user: int = 5
    max_turns_at_once: int = 5
    max_starts_at_once: int = 2
    memory_mb: int = 7168
    memory_mb_per_start: int = 250
    idle_seconds: float = 600.0
    session_ttl_seconds: float = 3600.0
    retention_seconds: float = 0.0
    retention_bytes: int = 0
    turn_seconds: float = 3600.0
    approval_seconds: float = 300.0
    interrupt_grace_seconds: float = 5.0
    stop_seconds: float = 3.0
    lease_seconds: float = 10.0
    poll_seconds: float = 1.0
    quota_seconds: float = 10.0
    prestart: bool = True
    prestart_evicts_after_seconds: float = 30.0
