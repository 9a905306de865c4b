"""What can happen, step by step, as dice draw it. The steps that a failure prints can be run again."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.service.faults.world import PLAYS, World

_USERS = "ab"
_SLOTS, _SESSIONS = range(3), range(4)
_SOME = range(10)


@dataclass(frozen=True)
class Step:
    """A call of this method of the world."""

    what: str
    args: tuple[object, ...] = ()

    def __call__(self, world: World) -> None:
        getattr(world, self.what)(*self.args)


@dataclass(frozen=True)
class _Kind:
    """`args` has what to choose from for each argument."""

    weight: int
    what: str
    args: tuple[Sequence[object], ...] = ()

    def draw(self, dice: random.Random) -> Step:
        return Step(self.what, tuple(dice.choice(choices) for choices in self.args))


_KINDS = (
    _Kind(10, "send", (_SLOTS, _SESSIONS, PLAYS, (None, None, None, 2.0))),
    _Kind(14, "run", (_SLOTS, (1, 2, 3, 5, 8, 13, 30))),
    _Kind(6, "wait_leases", ((0.0, 0.01, 0.1, 0.4, 0.7, 1.2),)),
    _Kind(5, "let_go", (_SOME,)),
    _Kind(3, "follow", (_SLOTS, _SESSIONS, (True, False))),
    _Kind(2, "move", (_SLOTS, _SOME)),
    _Kind(1, "create", (_SLOTS, _USERS)),
    _Kind(2, "interrupt", (_SLOTS, _SESSIONS)),
    _Kind(1, "delete", (_SLOTS, _SESSIONS)),
    _Kind(1, "resume", (_SLOTS, _SESSIONS)),
    _Kind(1, "wake", (_SLOTS, _SESSIONS)),
    _Kind(2, "kill", (_SLOTS,)),
    _Kind(3, "pause", (_SLOTS,)),
    _Kind(3, "go_on", (_SLOTS,)),
    _Kind(4, "start_again", (_SLOTS,)),
    _Kind(1, "drain", (_SLOTS, (0.0, 1.0))),
    _Kind(1, "cut_off", (_SLOTS,)),
    _Kind(2, "stumble", (_SLOTS, (1, 1, 2, 5))),
    _Kind(2, "mend", (_SLOTS,)),
    _Kind(1, "deafen", (_SLOTS,)),
    _Kind(1, "drop_connections"),
)
_BEGINNING = (Step("create", (0, "a")), Step("create", (1, "b")), Step("run", (0, 20)), Step("run", (1, 20)))


def draw(dice: random.Random, count: int) -> list[Step]:
    kinds = dice.choices(_KINDS, [kind.weight for kind in _KINDS], k=count)
    return [*_BEGINNING, *(kind.draw(dice) for kind in kinds)]


def told(steps: Sequence[Step]) -> str:
    """To be pasted into a test."""
    return "\n".join(f"    {step!r}," for step in steps)


def smallest(steps: Sequence[Step], fails: Callable[[Sequence[Step]], object]) -> list[Step]:
    """Fewer steps that fail too, none of which can be left out."""
    left, size = list(steps), len(steps) // 2
    while size:
        start = 0
        while start < len(left):
            fewer = left[:start] + left[start + size :]
            if fails(fewer):
                left = fewer
            else:
                start += size
        size //= 2
    return left
