"""API keys of the store, each believed for a few seconds after it was read."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from claude_agent_http.auth.lane import Lane, Lanes
from claude_agent_http.domain.api_key import ApiKey, digest_of, key_id_of
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import NotAuthenticatedError, StorageError
from claude_agent_http.ports import ApiKeys, Clock

__all__ = ["FRESH_SECONDS", "StoredKeys"]

FRESH_SECONDS = 3.0
"""So long a key that was revoked elsewhere still opens this replica."""

_WRONG = "the API key is not known to this service"


class StoredKeys:
    """Recognizes `cah_...`. `used` is told of each use.

    Who tries keys makes bounded work: at most some reads at once, and one for a few seconds for each key that
    is not there. Those that are known do not wait behind them, nor does anybody behind suspects.
    """

    def __init__(
        self,
        keys: ApiKeys,
        clock: Clock,
        used: Callable[[str, datetime], None],
        *,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._used = used
        self._fresh_seconds = fresh_seconds
        self._known = _Remembered(10_000)
        self._missing = _Remembered(1_000)
        self._lane_of_known = _lane(at_once=8, waiting=1_000)
        self._lanes_of_others = Lanes(_lane(at_once=4, waiting=64), _lane(at_once=2, waiting=64))

    async def recognize(self, shown: str, *, suspect: bool = False) -> Caller | None:
        key_id = key_id_of(shown)
        if key_id is None:
            return None
        key = await self._key(key_id, suspect)
        if key is None or not key.opens_with(digest_of(shown)):
            raise NotAuthenticatedError(_WRONG)
        now = self._clock.now()
        if (fault := key.fault(now)) is not None:
            raise NotAuthenticatedError(f"the API key {key.id} opens nothing any more: {fault}")
        self._used(key.id, now)
        return key.caller()

    def forget(self, key_id: str) -> None:
        """Ask the store again at its next use: it was changed here."""
        self._known.drop(key_id)
        self._missing.drop(key_id)

    async def _key(self, key_id: str, suspect: bool) -> ApiKey | None:
        if (seen := self._fresh(key_id)) is not None:
            return seen.key
        lane = self._lane_of_known if key_id in self._known else self._lanes_of_others.of(suspect=suspect)
        async with lane.turn():
            if (seen := self._fresh(key_id)) is not None:  # read while this one waited
                return seen.key
            return await self._read(key_id)

    async def _read(self, key_id: str) -> ApiKey | None:
        asked_at = self._clock.monotonic()
        key = await self._keys.get(key_id)
        self.forget(key_id)
        (self._missing if key is None else self._known).keep(key_id, _Seen(key, asked_at))
        return key

    def _fresh(self, key_id: str) -> "_Seen | None":
        seen = self._known.get(key_id) or self._missing.get(key_id)
        if seen is None or self._clock.monotonic() - seen.at >= self._fresh_seconds:
            return None
        return seen


@dataclass(frozen=True, slots=True)
class _Seen:
    key: ApiKey | None
    at: float


class _Remembered:
    """The latest of what was seen, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._seen

    def get(self, key_id: str) -> _Seen | None:
        return self._seen.get(key_id)

    def keep(self, key_id: str, seen: _Seen) -> None:
        self._seen[key_id] = seen
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def drop(self, key_id: str) -> None:
        self._seen.pop(key_id, None)


def _lane(*, at_once: int, waiting: int) -> Lane:
    return Lane(at_once=at_once, waiting=waiting, full=_too_many)


def _too_many() -> StorageError:
    return StorageError("too many API keys are being looked up at once; try again in a moment")
