"""The attacks as the table in docs/security.md; `python -m tests.adversarial.table` writes it there."""

from collections.abc import Iterator
from pathlib import Path

from tests.adversarial.attacks import ATTACKS, Attack

__all__ = ["PAGE", "table", "written"]

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
_BEGIN, _END = "<!-- attacks -->\n", "<!-- /attacks -->\n"


def table() -> str:
    return "\n".join(_lines()) + "\n"


def written() -> str:
    """The table that the page has."""
    return PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]


def _lines() -> Iterator[str]:
    yield "| what an agent tries | what stops it | outcome |"
    yield "|---|---|---|"
    group = ""
    for attack in ATTACKS:
        if attack.group != group:
            group = attack.group
            yield f"| **{group}** | | |"
        yield f"| {attack.name} | {attack.by or 'nothing'} | {_outcome(attack)} |"


def _outcome(attack: Attack) -> str:
    return f"succeeds: {attack.remains}" if attack.remains else "stopped"


def _write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    PAGE.write_text(before + _BEGIN + table() + _END + rest.partition(_END)[2], encoding="utf-8")


if __name__ == "__main__":
    _write()
