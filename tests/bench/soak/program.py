"""The service under a small steady load for long, and whether anything of it grows: `make soak`."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import psutil
import uvloop
from rich.console import Console
from tests.bench.figure import Figure, Target
from tests.bench.http_side import http_side
from tests.bench.machine import clean_environment, environment
from tests.bench.processes import Running, demo_model, service
from tests.bench.report import print_table
from tests.bench.soak.load import IDLE_SECONDS, Load
from tests.bench.soak.samples import Sample, Watched, sampled
from tests.bench.soak.verdict import growth, left_behind
from tests.waiting import until

__all__ = ["main"]

_SERVED = Path(__file__).with_name("served.py")
_ROOT = Path(__file__).resolve().parents[3]
_RESULTS = _ROOT / "bench-results" / "soak.jsonl"
_FEWEST_SAMPLES = 8
_REST_SECONDS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when anything grew past its limit, was left behind or went wrong."""
    options = _options(arguments)
    clean_environment()
    with tempfile.TemporaryDirectory() as folder:
        known = environment(Path(folder), quick=False) | {"minutes": options.minutes, "users": options.users}
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures, samples = runner.run(_soaked(options, Path(folder).resolve()))
    _write(options.json, [figure.as_json(known) for figure in figures])
    samples_file = options.json.with_name(f"{options.json.stem}-samples.jsonl")
    _write(samples_file, [asdict(sample) for sample in samples])
    print_table(Console(width=None if sys.stdout.isatty() else 200), figures)
    return int(any(figure.met is False for figure in figures))


async def _soaked(options: argparse.Namespace, folder: Path) -> tuple[list[Figure], list[Sample]]:
    async with demo_model(folder) as model, _service(folder, model.url, options.every) as (running, watched):
        async with http_side(running.url) as http:
            load = Load(http)
            await load.live("first", 0)
        before = await _at_rest(watched, options.every)
        async with http_side(running.url) as http:
            steady = Load(http)
            samples = await _steady(options, steady, watched)
        after = await _at_rest(watched, options.every)
        figures = _work(running, [load, steady])
    return [*figures, *growth(samples), *left_behind(before, after)], samples


async def _steady(options: argparse.Namespace, load: Load, watched: Watched) -> list[Sample]:
    """Sampled while every user is at it; then each ends the session that it has."""
    seconds = options.minutes * 60
    users = [asyncio.create_task(load.live(f"user-{number}", seconds)) for number in range(options.users)]
    async with sampled(watched, options.every) as samples:
        await _told(seconds, load)
    await asyncio.gather(*users)
    return samples


async def _told(seconds: float, load: Load) -> None:
    """Wait so long, with a word on standard error every minute."""
    console, end = Console(stderr=True), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        console.print(
            f"{left / 60:.1f} min left; {load.done['sessions']} sessions, {len(load.errors)} errors"
        )
        await asyncio.sleep(min(left, 60))


@asynccontextmanager
async def _service(folder: Path, model_url: str, every: float) -> AsyncIterator[tuple[Running, Watched]]:
    tasks, database, users = folder / "tasks", folder / "sessions.db", folder / "users"
    async with service(
        folder,
        model_url,
        program=(str(_SERVED), str(tasks), str(every)),
        idle_session_timeout=IDLE_SECONDS,
        session_sqlite_path=database,
        user_base_dir=users,
    ) as running:
        await until(tasks.exists, _REST_SECONDS)
        yield running, Watched(running.pid, tasks, database, users / ".sessions", time.monotonic())


async def _at_rest(watched: Watched, every: float) -> Sample:
    """When no agent is left, and the tasks have been counted since."""
    service_process = psutil.Process(watched.pid)
    await until(lambda: not service_process.children(recursive=True), _REST_SECONDS)
    await asyncio.sleep(every + 1)
    return watched.sample()


def _work(running: Running, loads: Sequence[Load]) -> list[Figure]:
    """That the load was what it should be, and all of it went well."""
    done = sum((load.done for load in loads), start=Counter[str]())
    errors = [error for load in loads for error in load.errors]
    logged = [one for one in running.records() if one.get("level") in ("error", "critical")]
    starts = len(running.logged("runtime started", "seconds"))
    return [
        Figure(
            "soak.sessions", "from creation to deletion", "", done["sessions"], done["sessions"], details=done
        ),
        Figure(
            "soak.wakes",
            "starts of agents beyond the first of each session: it was hibernated between its turns",
            "",
            starts - done["sessions"],
            starts,
            targets=(Target("value", 1, at_least=True),),
        ),
        Figure(
            "soak.errors",
            "what its users met with that should not be, and errors in its log",
            "",
            len(errors) + len(logged),
            done["sessions"],
            targets=(Target("value", 0),),
            details={"first": errors[:3], "first_logged": logged[:3]},
        ),
    ]


def _write(path: Path, lines: Sequence[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    shown = os.path.relpath(_RESULTS, _ROOT)
    parser = argparse.ArgumentParser(
        prog="make soak", description="Keep the service busy for long, and see whether anything of it grows."
    )
    parser.add_argument("--minutes", type=float, default=30, help="how long (default 30)")
    parser.add_argument("--users", type=int, default=2, help="who live sessions at once (default 2)")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples (default 5)")
    parser.add_argument(
        "--json",
        type=Path,
        default=_RESULTS,
        metavar="FILE",
        help=f"one JSON line a figure goes here, the samples beside it (default {shown})",
    )
    options = parser.parse_args(arguments)
    if options.minutes * 60 / options.every < _FEWEST_SAMPLES:
        parser.error(f"--minutes and --every make fewer than {_FEWEST_SAMPLES} samples")
    return options
