"""What was seen of a few replicas and their clients: the facts that `invariants` judges.

Times are seconds of one clock. `began` is when a call began and `at` when its answer came: it took effect
somewhere between the two.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from claude_agent_http.domain.event import Event
from claude_agent_http.domain.turn import TurnEnd

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, named by its text. `stored`: it was acknowledged (True) or refused (False); None: whoever
    sent it does not know, because the replica died, or the database did not answer."""

    session: str
    text: str
    stored: bool | None


@dataclass(frozen=True, slots=True)
class Told:
    """How a turn ended, as one who waited for it was told."""

    session: str
    turn: str
    end: TurnEnd


@dataclass(frozen=True, slots=True)
class Read:
    """All that one reader got behind event `after`, over all its connections, to whichever replica."""

    session: str
    after: int
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Lives:
    """A replica joined or renewed its stay: its leases hold until then at least."""

    replica: str
    until: float
    at: float


@dataclass(frozen=True, slots=True)
class Left:
    """It has begun to give up every lease."""

    replica: str
    began: float


@dataclass(frozen=True, slots=True)
class Claimed:
    """`by_force`: for a deletion, whoever had the session."""

    session: str
    replica: str
    epoch: int
    began: float
    at: float
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """The holder has begun to give the lease up."""

    session: str
    epoch: int
    began: float


@dataclass(frozen=True, slots=True)
class Wrote:
    """An append that was acknowledged; `epoch` None: of nobody who runs the session."""

    session: str
    epoch: int | None
    events: Sequence[Event]
    began: float


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent process from its start to its `end`, None while it lives."""

    session: str
    epoch: int
    start: float
    end: float | None


@dataclass(frozen=True, slots=True)
class Ran:
    """A tool of a session began to run; `epoch` that of its agent's lease, None where it cannot be seen."""

    session: str
    use: str
    epoch: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deletion was acknowledged."""

    session: str
    at: float


Fact = Sent | Told | Read | Lives | Left | Claimed | Released | Wrote | Agent | Ran | Deleted


@dataclass(frozen=True)
class History:
    """`logs` are those of the sessions that are there at its end, `created` the sessions of which the
    creation was acknowledged, `doomed` those of which somebody began the deletion. `is_settled`: nothing was
    in the way any more, and all had time to come to its end."""

    facts: Sequence[Fact]
    logs: Mapping[str, Sequence[Event]]
    doomed: frozenset[str] = frozenset()
    is_settled: bool = False
    created: Sequence[str] = field(default_factory=tuple)

    def all(self, kind: type[T]) -> Iterator[T]:
        return (fact for fact in self.facts if isinstance(fact, kind))

    def of(self, kind: type[T], session: str) -> list[T]:
        return [fact for fact in self.all(kind) if getattr(fact, "session", None) == session]

    @property
    def sessions(self) -> list[str]:
        named = (getattr(fact, "session", None) for fact in self.facts)
        return list(dict.fromkeys([*self.created, *self.logs, *filter(None, named)]))
