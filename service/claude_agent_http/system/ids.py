"""Random ids, and countable ones for tests."""

import itertools
import secrets
import time
import uuid

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


class RandomIds:
    def __init__(self) -> None:
        self._audit = 0

    def session_id(self) -> str:
        return str(uuid.uuid4())

    def replica_id(self) -> str:
        return str(uuid.uuid4())

    def event_id(self) -> str:
        return f"sevt_{_text(_number())}"

    def audit_id(self) -> str:
        """Those of this object sort by their order, within a millisecond too."""
        self._audit = max(self._audit + 1, _number())
        return f"aud_{_text(self._audit)}"

    def secret(self, size: int) -> bytes:
        return secrets.token_bytes(size)


def _number() -> int:
    """Milliseconds since 1970 and 80 random bits, so ids sort by time."""
    return (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)


def _text(number: int) -> str:
    """26 characters."""
    return "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


class CountedIds:
    """The same ids in every run."""

    def __init__(self) -> None:
        self._secrets = itertools.count(1)
        self._sessions = itertools.count(1)
        self._replicas = itertools.count(1)
        self._events = itertools.count(1)
        self._audit = itertools.count(1)

    def session_id(self) -> str:
        return str(uuid.UUID(int=next(self._sessions), version=4))

    def replica_id(self) -> str:
        return f"replica-{next(self._replicas)}"

    def event_id(self) -> str:
        return f"sevt_{next(self._events):026d}"

    def audit_id(self) -> str:
        return f"aud_{next(self._audit):026d}"

    def secret(self, size: int) -> bytes:
        return next(self._secrets).to_bytes(size)
