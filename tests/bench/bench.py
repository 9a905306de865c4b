"""What every measure is given."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import Running

__all__ = ["SHORT_TURN", "Bench"]

# One request to the model, which answers at once: what is left of the turn is SDK, CLI and service.
SHORT_TURN = json.dumps({"script": [{"text": "A short answer of a few words."}]})


@dataclass(frozen=True, slots=True)
class Bench:
    """`folder` is the measure's own."""

    folder: Path
    model: Running
    quick: bool

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full
