"""The time that all who share a database go by."""

from datetime import datetime, timedelta

from claude_agent_http.ports import Clock

_TOLERANCE = timedelta(milliseconds=10)


class ServerClock:
    """This host's clock, set right by what the database's server tells of its own: those of several hosts may
    differ by hours, and each would close and delete what others have just used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return self._clock.now() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def was_told(self, moment: datetime, asked: float) -> None:
        """The server's time at some moment since `asked`, in monotonic seconds. A clock that may be right is
        left alone, so that it does not jump about."""
        since = timedelta(seconds=self.monotonic() - asked)
        now = self.now()
        if not moment - _TOLERANCE <= now <= moment + since + _TOLERANCE:
            self._ahead += moment + since / 2 - now
