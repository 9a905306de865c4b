"""Leases: which replica runs a session, and how its word is told from that of an earlier holder."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replica:
    """One service process, from its start to its end; `name` is for people (a pod's, or a host's)."""

    id: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one replica to run one session.

    `epoch` grows with every holder, so that a write of an earlier one is refused (a fencing token).
    """

    session_id: str
    replica_id: str
    epoch: int
