"""One turn's requests to the model, as its events tell of them."""

from dataclasses import replace

from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.turn import TurnEnd, Usage


class ModelRequests:
    """`open` holds the ids of the starts that no end followed."""

    TYPES = frozenset({EventType.MODEL_REQUEST_START, EventType.MODEL_REQUEST_END})

    def __init__(self) -> None:
        self.open: list[str] = []
        self._used: Usage | None = None

    def see(self, event: NewEvent | Event) -> None:
        if event.type is EventType.MODEL_REQUEST_START:
            self.open.append(event.id)
        elif event.type is EventType.MODEL_REQUEST_END:
            ended = event.data["model_request_start_id"]
            self.open = [start for start in self.open if start != ended]
            self._used = Usage(**event.data["model_usage"]).with_tokens_of(self._used or Usage())

    def completed(self, end: TurnEnd) -> TurnEnd:
        """The end with the tokens that the requests told of, where the runtime told of none.

        Of an interrupted turn the CLI tells the cost only, and one that died tells nothing.
        """
        if self._used is None or (end.usage is not None and end.usage.tokens):
            return end
        cost = None if end.usage is None else end.usage.cost_usd
        return replace(end, usage=replace(self._used, cost_usd=cost))
