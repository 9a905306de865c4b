"""What few may do at once, and one user only a part of that."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from claude_agent_http.domain.errors import BusyError

__all__ = ["Shares"]

_RETRY_SECONDS = 1


class Shares:
    """`most` places, `of_one` of them for one user; `what` says in plural what takes one."""

    def __init__(self, what: str, most: int, of_one: int) -> None:
        self._what = what
        self._most = most
        self._of_one = of_one
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one(self, user_id: str) -> Iterator[None]:
        self.take(user_id)
        try:
            yield
        finally:
            self.give_back(user_id)

    def take(self, user_id: str) -> None:
        """Raises BusyError when there is none."""
        if self._taken[user_id] >= self._of_one:
            raise self._too_many(f"the limit of {self._of_one} {self._what} of one user at once is reached")
        if self._taken.total() >= self._most:
            raise self._too_many(f"the limit of {self._most} {self._what} at once is reached")
        self._taken[user_id] += 1

    def give_back(self, user_id: str) -> None:
        self._taken[user_id] -= 1
        if not self._taken[user_id]:
            del self._taken[user_id]

    def _too_many(self, reason: str) -> BusyError:
        return BusyError(f"{reason}; try again soon", retry_after=_RETRY_SECONDS)
