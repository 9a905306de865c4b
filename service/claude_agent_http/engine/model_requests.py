"""One turn's requests to the model, as its events tell of them."""

from dataclasses import replace

from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.turn import TurnEnd, Usage
from claude_agent_http.domain.vocabulary import usage_of


class ModelRequests:
    """`open` holds the ids of the starts that no end followed."""

    TYPES = frozenset({EventType.MODEL_REQUEST_START, EventType.MODEL_REQUEST_END})

    def __init__(self) -> None:
        self.open: list[str] = []
        self._used: Usage | None = None
        self._earlier = Usage()

    def see(self, event: NewEvent | Event) -> None:
        if event.type is EventType.MODEL_REQUEST_START:
            self.open.append(event.id)
        elif event.type is EventType.MODEL_REQUEST_END:
            ended = event.data["model_request_start_id"]
            self.open = [start for start in self.open if start != ended]
            self._used = usage_of(event.data["model_usage"]).with_tokens_of(self._used or Usage())

    def run_again(self) -> None:
        """The turn begins anew, and what it used so far is used."""
        self.open = []
        self._earlier = (self._used or Usage()).with_tokens_of(self._earlier)
        self._used = None

    def completed(self, end: TurnEnd) -> TurnEnd:
        """The end with the tokens that the requests told of, where the runtime told of none, and with those
        of earlier runs.

        Of an interrupted turn the CLI tells the cost only, and one that died tells nothing.
        """
        usage = end.usage
        if self._used is not None and (usage is None or not usage.tokens):
            usage = replace(self._used, cost_usd=None if usage is None else usage.cost_usd)
        if self._earlier.tokens:
            usage = (usage or Usage()).with_tokens_of(self._earlier)
        return replace(end, usage=usage)
