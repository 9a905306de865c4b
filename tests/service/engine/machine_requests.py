"""What clients ask of an engine, as Hypothesis draws it."""

from dataclasses import dataclass
from typing import Protocol

from hypothesis import strategies as st
from tests.service.engine.machine_life import PLAYS, Life


class Request(Protocol):
    def __call__(self, life: Life) -> None:
        """Begin it, without letting the loop go on."""


@dataclass(frozen=True)
class Create:
    user: str

    def __call__(self, life: Life) -> None:
        life.create(self.user)


@dataclass(frozen=True)
class Send:
    """`number` says which session, here and below; `wait` whether the client waits for the turn's end."""

    number: int
    play: str
    seconds: float | None
    wait: bool

    def __call__(self, life: Life) -> None:
        life.send(life.session(self.number), self.play, self.seconds, wait=self.wait)


@dataclass(frozen=True)
class Follow:
    """From so many events before the end of the log."""

    number: int
    back: int
    deltas: bool

    def __call__(self, life: Life) -> None:
        life.follow(life.session(self.number), self.back, deltas=self.deltas)


@dataclass(frozen=True)
class Interrupt:
    number: int

    def __call__(self, life: Life) -> None:
        life.begin("interrupt", life.interrupt(life.session(self.number)))


@dataclass(frozen=True)
class Resume:
    number: int

    def __call__(self, life: Life) -> None:
        life.begin("resume", life.process.engine.resume(life.session(self.number)))


@dataclass(frozen=True)
class Delete:
    number: int

    def __call__(self, life: Life) -> None:
        life.begin("delete", life.delete(life.session(self.number)))


@dataclass(frozen=True)
class GoAway:
    """A client leaves in the middle of its request."""

    number: int

    def __call__(self, life: Life) -> None:
        life.process.give_up(self.number)


_NUMBER = st.integers(0, 6)
_SEND = st.builds(
    Send,
    number=_NUMBER,
    play=st.sampled_from(PLAYS),
    seconds=st.sampled_from([None, None, 3.0]),
    wait=st.booleans(),
)
_FOLLOW = st.builds(Follow, number=_NUMBER, back=st.sampled_from([0, 0, 1, 5, 1000]), deltas=st.booleans())
_CREATE = st.builds(Create, st.sampled_from(["a", "b"]))
_INTERRUPT, _RESUME = st.builds(Interrupt, _NUMBER), st.builds(Resume, _NUMBER)
_DELETE, _GO_AWAY = st.builds(Delete, _NUMBER), st.builds(GoAway, _NUMBER)
_WEIGHTS: dict[st.SearchStrategy[Request], int] = {
    _SEND: 8,
    _FOLLOW: 3,
    _INTERRUPT: 2,
    _CREATE: 2,
    _RESUME: 1,
    _DELETE: 1,
    _GO_AWAY: 1,
}
REQUESTS: st.SearchStrategy[Request] = st.sampled_from(
    [requests for requests, weight in _WEIGHTS.items() for _ in range(weight)]
).flatmap(lambda requests: requests)
