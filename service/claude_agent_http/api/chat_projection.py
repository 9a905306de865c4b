"""What followers see of a turn, as chunks for clients that can only put text behind text."""

from collections.abc import Iterator
from io import StringIO

from claude_agent_http.api.models import ApprovalChunk, ChatChunk
from claude_agent_http.domain.event import TOOL_USES, Delta, Event, EventType, Followed, Withdrawn
from claude_agent_http.domain.vocabulary import text_of, tool_name

__all__ = ["ChatProjection"]

_BREAK = "\n\n"


class ChatProjection:
    """Knows what has gone out of each message, so that the whole message adds only the rest.

    Each message but the first begins with an empty line, so that all pieces joined are the text of `/chat`.

    Text that has gone out cannot be taken back. What comes after a withdrawn message is sent only as far as
    it goes beyond it; where it says something else, it is sent whole, behind an empty line. When the turn is
    run again, all that went out so far counts as withdrawn.
    """

    def __init__(self) -> None:
        self._leads: dict[str, str] = {}
        self._sent: dict[str, StringIO] = {}
        self._whole = StringIO()
        self._runs_again = False
        self._withdrawn = ""
        self._repeated: dict[str, int] = {}

    def chunks(self, item: Followed) -> Iterator[ChatChunk | ApprovalChunk]:
        match item:
            case Delta(event_type=EventType.AGENT_MESSAGE, event_id=event_id, text=text):
                is_new = event_id not in self._sent and event_id not in self._repeated
                yield from self._text(event_id, self._lead(event_id) + text if is_new else text)
            case Withdrawn(event_id=event_id):
                self._withdraw(event_id)
            case Event(type=EventType.STATUS_RESCHEDULED):
                self._begin_again()
            case Event(type=EventType.TOOL_APPROVAL_REQUESTED, id=event_id, data=data):
                yield ApprovalChunk(tool_name=tool_name(data), tool_input=data["input"], approval_id=event_id)
            case Event(data={"parent_tool_use_id": _}):
                return
            case Event(type=EventType.AGENT_MESSAGE, id=event_id, data=data):
                if said := text_of(data):
                    text = self._lead(event_id) + said
                    yield from self._text(event_id, text[self._known(event_id) :], whole=True)
                    self._whole.write(text)
                self._forget(event_id)
            case Event() if item.type in TOOL_USES:
                yield from self._broken_off()
                yield ChatChunk(
                    type="tool_use", tool_name=tool_name(item.data), tool_input=item.data["input"]
                )

    def _lead(self, event_id: str) -> str:
        """What goes before the message: decided when it is first seen, maybe before the last one is whole."""
        if event_id not in self._leads:
            self._leads[event_id] = _BREAK if self._leads or self._whole.tell() else ""
        return self._leads[event_id]

    def _text(self, event_id: str, text: str, *, whole: bool = False) -> Iterator[ChatChunk]:
        """`text` follows what is known of the message."""
        if self._withdrawn and event_id not in self._sent:
            text = self._withdrawn[: self._repeated.get(event_id, 0)] + text
            if whole and self._runs_again and self._withdrawn.startswith(text):
                self._withdrawn = self._withdrawn[len(text) :]  # the next message goes on behind this one
                return
            if not whole and self._withdrawn.startswith(text):
                self._repeated[event_id] = len(text)
                return
            shown, self._withdrawn = self._beyond_withdrawn(text), ""
        else:
            shown = text
        self._sent.setdefault(event_id, StringIO()).write(text)
        if shown:
            yield ChatChunk(type="text_delta", text=shown)

    def _beyond_withdrawn(self, text: str) -> str:
        if text.startswith(self._withdrawn):
            return text[len(self._withdrawn) :]
        return text if text.startswith(_BREAK) else _BREAK + text

    def _known(self, event_id: str) -> int:
        sent = self._sent.get(event_id)
        return self._repeated.get(event_id, 0) if sent is None else sent.tell()

    def _withdraw(self, event_id: str) -> None:
        """A retry that only repeated what is shown leaves that as it is."""
        sent = self._sent.get(event_id)
        self._withdrawn += "" if sent is None else sent.getvalue()
        self._forget(event_id)

    def _begin_again(self) -> None:
        begun = "".join(sent.getvalue() for sent in self._sent.values())
        self._withdrawn = self._whole.getvalue() + (begun or self._withdrawn)
        self._leads, self._sent, self._repeated = {}, {}, {}
        self._whole, self._runs_again = StringIO(), True

    def _forget(self, event_id: str) -> None:
        self._leads.pop(event_id, None)
        self._sent.pop(event_id, None)
        self._repeated.pop(event_id, None)

    def _broken_off(self) -> Iterator[ChatChunk]:
        """Nothing was said in place of the withdrawn text: what is said later does not continue it, and has
        no empty line of its own where nothing whole came before."""
        withdrawn, self._withdrawn = self._withdrawn, ""
        if withdrawn and not self._whole.tell():
            yield ChatChunk(type="text_delta", text=_BREAK)
