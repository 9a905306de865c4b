"""One turn as its asker saw it, and the model's own word on when it answered."""

import json
import re
from dataclasses import dataclass

__all__ = ["STAMPED_TURN", "Timed"]

# The model writes the moment of its sending, in nanoseconds of the host's clock.
STAMPED_TURN = json.dumps({"script": [{"text": "{{now}} is when this was sent"}]})
_STAMP = re.compile(r"\d{15,}")


@dataclass(frozen=True, slots=True)
class Timed:
    """`asked`, `first` (the first piece of text, which is `text`) and `ended` are nanoseconds of the host's
    clock."""

    asked: int
    first: int
    ended: int
    text: str

    @property
    def first_ms(self) -> float:
        return (self.first - self.asked) / 1e6

    @property
    def whole_ms(self) -> float:
        return (self.ended - self.asked) / 1e6

    @property
    def to_model_ms(self) -> float:
        """From the asking to the model's answering: what comes before is the start of an agent process."""
        return (self._sent - self.asked) / 1e6

    @property
    def from_model_ms(self) -> float:
        """How long the first piece was under way from the model to the asker."""
        return (self.first - self._sent) / 1e6

    @property
    def _sent(self) -> int:
        stamp = _STAMP.search(self.text)
        if stamp is None:
            raise RuntimeError(f"no time of sending in {self.text!r}")
        return int(stamp.group())
