"""How much of the disk a user may take: looked at before a turn, and while turns run."""

from collections.abc import Iterable
from dataclasses import dataclass

from claude_agent_http.domain.disk import DiskUsage
from claude_agent_http.domain.errors import QuotaExceededError
from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.engine.turn import Turn
from claude_agent_http.ports import DiskGauge

__all__ = ["DiskQuota"]

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class DiskQuota:
    """`most_mb` of 10^6 bytes, 0 is no limit. What is not known in time is no reason to refuse anything."""

    gauge: DiskGauge | None = None
    most_mb: int = 0

    @property
    def is_limited(self) -> bool:
        return self.gauge is not None and self.most_mb > 0

    async def check(self, user_id: str) -> None:
        """Raises QuotaExceededError."""
        if (reason := await self._exceeded(user_id)) is not None:
            raise QuotaExceededError(reason)

    async def enforce(self, turns: Iterable[Turn]) -> None:
        """End those whose user takes too much by now."""
        users: dict[str, list[Turn]] = {}
        for turn in turns:
            if turn.user_id is not None:
                users.setdefault(turn.user_id, []).append(turn)
        for user_id, running in users.items():
            if (reason := await self._exceeded(user_id)) is not None:
                for turn in running:
                    turn.fail(TurnError(ErrorKind.QUOTA_EXCEEDED, reason))

    async def _exceeded(self, user_id: str) -> str | None:
        """Who made room is believed at once: what was counted before is too much only if it still is."""
        if self.gauge is None or not self.most_mb:
            return None
        if self._excess(await self.gauge.used(user_id)) is None:
            return None
        if (found := self._excess(await self.gauge.used(user_id, anew=True))) is None:
            return None
        quota = f"the quota is {self.most_mb} MB (user.quota_mb)"
        return f"{found}, and {quota}; delete files, or sessions, to go on"

    def _excess(self, used: DiskUsage | None) -> str | None:
        if used is None:
            return None
        is_too_much = used.bytes > self.most_mb * _MB
        return used.endless or (f"the user's files take {used.bytes // _MB} MB" if is_too_much else None)
