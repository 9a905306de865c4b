"""What replicas of the service agree on, and tell each other."""

from collections.abc import Callable
from typing import Protocol

from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.wakeup import Wakeup

__all__ = ["Leases", "Wakeups"]


class Leases(Protocol):
    """Which replica runs a session. A replica that does not renew its stay loses its leases by time, as the
    database's clock tells it; where one process owns the database (`Store.is_shared` False) it never does."""

    async def join(self, replica: Replica, seconds: float) -> None:
        """Register a replica; its leases hold for `seconds` from now, or from each `renew`."""
        ...

    async def renew(self, replica_id: str, seconds: float) -> int:
        """How many replicas live, itself included; 0 when its time was up or it never joined: any of its
        leases may have been taken."""
        ...

    async def bury(self) -> None:
        """Forget the replicas whose time is up, and so that they hold anything."""
        ...

    async def leave(self, replica_id: str) -> None:
        """Give up every lease at once. Not joined: nothing happens."""
        ...

    async def claim(self, session_id: str, replica_id: str) -> Lease | None:
        """The lease, with a new epoch; None while another living replica has it, or has not given up one
        that was seized from it.

        Raises SessionNotFoundError.
        """
        ...

    async def seize(self, session_id: str, replica_id: str) -> Lease:
        """The lease whoever has it. Who had it until now can write no more, but its process may still run
        until `is_alone`.

        Raises SessionNotFoundError.
        """
        ...

    async def is_alone(self, lease: Lease) -> bool:
        """Whether nothing of the session can run on another replica under an earlier lease than this one:
        each that was ever seized was given up, or its replica does not live any more."""
        ...

    async def release(self, lease: Lease) -> None:
        """Everything that ran under this lease has ended. Harmless when it is not the session's any more."""
        ...

    async def has_stopped(self, lease: Lease) -> bool:
        """Whether it was released, or its replica, or the session, does not live any more."""
        ...

    async def held(self, replica_id: str) -> list[Lease]:
        """All that this replica has not given up yet, with those that were seized from it."""
        ...

    async def orphans(self, replica_id: str, limit: int, *, after: Session | None = None) -> list[Session]:
        """Sessions whose phase is RUNNING and that this replica may claim, those unused for longest first,
        and of these those behind `after`."""
        ...


class Wakeups(Protocol):
    """Tells the other replicas what happened here, and hears what did there. A convenience: any word may be
    lost, and who needs to be sure asks the database from time to time."""

    async def start(self, hear: Callable[[Wakeup], None]) -> None:
        """`hear` gets what others tell, never one's own words, and `Missed` after a gap. It does not wait."""
        ...

    def tell(self, wakeup: Wakeup) -> None:
        """Soon; never waits and never fails. What is told of a commit must be told after it."""
        ...

    async def close(self) -> None:
        """Tells what waits to be told, for a second at most; safe to call twice."""
        ...
