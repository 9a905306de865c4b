"""Runs the measures one after another, each in a folder of its own, and reports what they found."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from tests.bench.bench import Bench
from tests.bench.figure import Figure, Finding
from tests.bench.machine import clean_environment, environment
from tests.bench.measures import (
    append,
    create,
    cross_replica,
    first_token,
    first_turn,
    gateway,
    hibernated,
    launch,
    many_on_few,
    memory,
    postgres_engine,
    readers,
    stored,
    wake,
    warm_turn,
)
from tests.bench.processes import demo_model
from tests.bench.report import print_table, write_docs

from claude_agent_http import logs

__all__ = ["MEASURES", "main"]

Measure = Callable[[Bench], Awaitable[Sequence[Finding]]]

MEASURES: dict[str, Measure] = {
    "create": create.measure,
    "launch": launch.measure,
    "warm_turn": warm_turn.measure,
    "first_turn": first_turn.measure,
    "wake": wake.measure,
    "first_token": first_token.measure,
    "gateway": gateway.measure,
    "stored": stored.measure,
    "hibernated": hibernated.measure,
    "readers": readers.measure,
    "append": append.measure,
    "postgres_engine": postgres_engine.measure,
    "cross_replica": cross_replica.measure,
    "memory": memory.measure,
    "many_on_few": many_on_few.measure,
}
_ROOT = Path(__file__).resolve().parents[2]
_RESULTS = _ROOT / "bench-results" / "figures.jsonl"
_DOCS = _ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a target is missed and `--check` asks for that."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    clean_environment()
    logs.configure("warning", "console")
    folder_of_run = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory()
    with folder_of_run as folder:
        known = environment(Path(folder), quick=options.quick)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            findings = runner.run(_measured(options, Path(folder).resolve(), console))
    _write(options.json, findings, known)
    print_table(Console(width=None if sys.stdout.isatty() else 200), findings)
    if options.write_docs:
        write_docs(_DOCS, findings, known)
    return int(options.check and any(isinstance(one, Figure) and one.met is False for one in findings))


async def _measured(options: argparse.Namespace, folder: Path, console: Console) -> list[Finding]:
    findings: list[Finding] = []
    async with demo_model(folder) as model:
        for name in options.only or MEASURES:
            started = time.monotonic()
            own = folder / name
            own.mkdir(parents=True)
            findings += await MEASURES[name](Bench(own, model, options.quick))
            console.print(f"measured {name} in {time.monotonic() - started:.1f} s")
    return findings


def _write(path: Path, findings: Sequence[Finding], known: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(finding.as_json(known)) for finding in findings]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description="Measure the service beside the bare SDK, both with the demo model."
    )
    parser.add_argument(
        "--quick", action="store_true", help="few samples: shows that it runs, not how fast it is"
    )
    parser.add_argument("--only", action="append", choices=MEASURES, help="this measure; may be repeated")
    parser.add_argument(
        "--json",
        type=Path,
        default=_RESULTS,
        metavar="FILE",
        help=f"where to write one JSON line a figure (default {os.path.relpath(_RESULTS, _ROOT)})",
    )
    parser.add_argument(
        "--folder", type=Path, help="new folder for databases and homes: to measure another file system"
    )
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    return parser
