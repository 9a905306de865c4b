"""What the demo model was sent, newest last and bounded, for tests to look at. Holds no credential."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from claude_agent_http.demo.conversation import read_conversation, system_text

__all__ = ["FaultCounter", "Journal", "Seen", "seen_request"]

_MAX_SEEN = 200
_MAX_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and its HTTP status; `auth` is "x-api-key", "bearer" or "none"."""

    model: str
    stream: bool
    system: str
    system_text_prefix: str
    tools: tuple[str, ...]
    max_tokens: int
    messages: int
    last_user_text: str
    auth: str
    status: int


class Journal:
    """The last 200 requests."""

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=_MAX_SEEN)

    def add(self, seen: Seen) -> None:
        self._seen.append(seen)

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(seen) for seen in self._seen]


class FaultCounter:
    """How often each step has failed on purpose; the oldest steps are forgotten past 10,000."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def still_fails(self, key: str, times: int | None) -> bool:
        """True for the first `times` calls with `key`, always when `times` is None."""
        if times is None:
            return True
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        self._counts.move_to_end(key)
        if len(self._counts) > _MAX_COUNTED:
            self._counts.popitem(last=False)
        return count < times


def seen_request(body: Mapping[str, Any], auth: str, status: int) -> Seen:
    system = system_text(body)
    return Seen(
        model=body["model"],
        stream=body.get("stream", False),
        system=system[:4000],
        system_text_prefix=system[:200],
        tools=tuple(str(tool.get("name", "")) for tool in body.get("tools") or ()),
        max_tokens=body["max_tokens"],
        messages=len(body["messages"]),
        last_user_text=read_conversation(body).text[:200],
        auth=auth,
        status=status,
    )
