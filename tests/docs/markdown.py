"""The parts of our documents that tests look at: headings and fenced blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "ROOT", "Block", "blocks"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"(```+)(\w*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `chapter` and `section` are the last `##` and `###` above, `line` where it begins."""

    chapter: str
    section: str
    language: str
    text: str
    line: int


def blocks(path: Path) -> Iterator[Block]:
    chapter = section = ""
    fence, language, start, inside = "", "", 0, list[str]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        opening = _FENCE.fullmatch(line)
        if start and line == fence:
            yield Block(chapter, section, language, "\n".join(inside) + "\n", start)
            start, inside = 0, []
        elif start:
            inside.append(line)
        elif opening:
            (fence, language), start = opening.groups(), number
        elif line.startswith("### "):
            section = line.removeprefix("### ")
        elif line.startswith("## "):
            chapter, section = line.removeprefix("## "), ""
