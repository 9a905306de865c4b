"""Figures for people: a table on the terminal, and the same in docs/performance.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tests.bench.figure import Figure, Finding

__all__ = ["print_table", "write_docs"]

_BEGIN = "<!-- figures: written by make bench ARGS=--write-docs -->"
_END = "<!-- end of figures -->"
_COLUMNS = ("figure", "value", "p50", "p99", "n", "target", "met", "beside it")
_MET = {True: "yes", False: "NO", None: ""}
_STYLES = {"yes": "green", "NO": "bold red"}


def print_table(console: Console, findings: Sequence[Finding]) -> None:
    table = Table(*_COLUMNS)
    for finding in findings:
        *cells, met, beside = _cells(finding)
        table.add_row(*cells, Text(met, _STYLES.get(met, "")), beside)
    console.print(table)


def write_docs(path: Path, findings: Sequence[Finding], environment: Mapping[str, Any]) -> None:
    """Replace what stands between the markers. Raises ValueError when they are missing."""
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path}: {_BEGIN} and {_END} must stand in it")
    path.write_text(f"{head}{begin}\n{_markdown(findings, environment)}\n{end}{tail}", encoding="utf-8")


def _markdown(findings: Sequence[Finding], environment: Mapping[str, Any]) -> str:
    machine = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in environment.items())
    lines = [
        f"Measured: {machine}.",
        "",
        _row(_COLUMNS),
        _row(["---"] * len(_COLUMNS)),
        *(_row(_cells(finding)) for finding in findings),
        "",
        *(f"- `{finding.name}`: {finding.what}" for finding in findings),
    ]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(finding: Finding) -> list[str]:
    if isinstance(finding, Figure):
        return _cells_of_figure(finding)
    return [finding.name, "not measured", *[""] * 5, finding.reason]


def _cells_of_figure(figure: Figure) -> list[str]:
    return [
        figure.name,
        f"{_number(figure.value)} {figure.unit}",
        _number(figure.p50),
        _number(figure.p99),
        f"{figure.n:,}",
        ", ".join(map(str, figure.targets)),
        _MET[figure.met],
        _beside(figure.compared_with),
    ]


def _beside(compared: Mapping[str, Any] | None) -> str:
    if compared is None:
        return ""
    numbers = [
        f"{name.replace('_', ' ')} {_number(value)}" for name, value in compared.items() if name != "name"
    ]
    return f"{compared['name']}: {', '.join(numbers)}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
