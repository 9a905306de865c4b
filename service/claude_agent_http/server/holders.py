"""Whose connections they are, where all come from one address: each holder has a part of them."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

__all__ = ["HeldConnection", "Holders"]

Headers = Sequence[tuple[bytes, bytes]]


class HeldConnection(Protocol):
    def give_way(self) -> None:
        """End at once."""
        ...


class Holders:
    """`holder_of` tells by the headers of a request who holds the connection that it came on, None for nobody
    that is known. A holder has `each` connections at once; `strangers` are those on which no holder has asked
    yet. A further one of these ends the oldest: who has a right to be served shows it within moments, and so
    outlives a flood of those that say nothing."""

    def __init__(self, holder_of: Callable[[Headers], Hashable | None], *, each: int, strangers: int) -> None:
        self._holder_of = holder_of
        self._each = each
        self._most_strangers = strangers
        self._strangers: dict[HeldConnection, None] = {}
        self._holders: dict[HeldConnection, Hashable] = {}
        self._counted: Counter[Hashable] = Counter()

    def met(self, connection: HeldConnection) -> None:
        """A new one, that counts until `left`."""
        self._strangers[connection] = None
        if len(self._strangers) > self._most_strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.give_way()

    def shown(self, connection: HeldConnection, headers: Headers) -> bool:
        """Whether whoever asks on it may hold one more."""
        holder = self._holder_of(headers)
        if holder is None or holder == self._holders.get(connection):
            return True
        if self._counted[holder] >= self._each:
            return False
        self.left(connection)
        self._holders[connection] = holder
        self._counted[holder] += 1
        return True

    def left(self, connection: HeldConnection) -> None:
        self._strangers.pop(connection, None)
        holder = self._holders.pop(connection, None)
        if holder is None:
            return
        self._counted[holder] -= 1
        if not self._counted[holder]:
            del self._counted[holder]
