"""A pytest plugin for proofs: PROOF=1 lets tests try much more, `--proof-report FILE` writes down what held.

A test says how much it tried with the fixture `proven`: `proven["kill points"] += 1`; the report adds it up.
What it measured it tells `measured("takeover, seconds", 1.2)`; the report has the median, the 95th
percentile and the greatest.
"""

import math
import os
import platform
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from tests.tiers import Tiers

__all__ = [
    "ProofReport",
    "amount",
    "first_seed",
    "measured",
    "proven",
    "pytest_addoption",
    "pytest_configure",
]

PROOF = os.environ.get("PROOF", "") not in {"", "0"}
_PROVEN = "proven"
_MEASURED = "measured"
_OUTCOMES = ("passed", "failed", "skipped")
_RESULTS: dict[int, str] = {
    pytest.ExitCode.OK: "passed",
    pytest.ExitCode.TESTS_FAILED: "FAILED",
    pytest.ExitCode.INTERRUPTED: "INTERRUPTED",
}


def amount(few: int, many: int) -> int:
    """How much a test tries: `few` in every run, `many` in a proof."""
    return many if PROOF else few


@pytest.fixture
def proven(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """Counts what the test tried, by its name in the report."""
    counts: Counter[str] = Counter()
    yield counts
    record_property(_PROVEN, dict(counts))


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Iterator[Callable[[str, float], None]]:
    """Takes figures for the report, by their name in it; the name gives the unit."""
    figures: dict[str, list[float]] = {}
    yield lambda name, figure: figures.setdefault(name, []).append(figure)
    record_property(_MEASURED, figures)


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    """From which a test counts its seeds: far from those of any other `--hypothesis-seed`."""
    given = str(request.config.getoption("hypothesis_seed", None) or "0")
    return int(given) * 1_000_000 if given.isdecimal() else 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof-report", type=Path, metavar="FILE", help="write what was proven to FILE")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("proof_report"):
        config.pluginmanager.register(ProofReport(config, file))


@dataclass
class _Proof:
    """`count` of something tried, by so many `tests` of a file."""

    count: int = 0
    tests: int = 0


@dataclass
class _File:
    """The last word on each test, and the time of all."""

    outcomes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def count(self, outcome: str) -> int:
        return list(self.outcomes.values()).count(outcome)


class ProofReport:
    """Collects outcomes, counts and durations of a run, and writes them as one page of Markdown."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self._config = config
        self._file = file
        self._began = time.monotonic()
        self._files: dict[str, _File] = {}
        self._proofs: dict[tuple[str, str], _Proof] = {}
        self._figures: dict[tuple[str, str], list[float]] = {}
        self._bad: list[str] = []
        self._deselected = 0
        self._commit = _commit(config.rootpath)

    def pytest_report_header(self) -> str:
        return f"proof: PROOF={int(PROOF)}, seed {self._seed}, report to {self._file}"

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._deselected += len(items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._bad.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place = self._files.setdefault(report.location[0], _File())
        place.seconds += report.duration
        if report.failed or report.skipped or report.when == "call":
            place.outcomes[report.nodeid] = report.outcome
        if report.failed:
            self._bad.append(report.nodeid)
        if report.when == "teardown":
            self._count(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        yield
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text("\n".join(self._lines(session.exitstatus)), encoding="utf-8")

    def _count(self, report: pytest.TestReport) -> None:
        for name, counts in report.user_properties:
            for what, count in counts.items() if name == _PROVEN and isinstance(counts, dict) else ():
                proof = self._proofs.setdefault((what, report.location[0]), _Proof())
                proof.count += count
                proof.tests += 1
            for what, figures in counts.items() if name == _MEASURED and isinstance(counts, dict) else ():
                self._figures.setdefault((what, report.location[0]), []).extend(figures)

    def _lines(self, status: int) -> Iterator[str]:
        yield from ("# Proof", "", "Written by `make proof`; not by hand.", "")
        yield from _table(("", ""), self._facts(status))
        if self._bad:
            yield from ("## What failed", "", *(f"- `{name}`" for name in dict.fromkeys(self._bad)), "")
        yield from ("## Proofs", "")
        rows = [(what, proof.count, proof.tests, where) for (what, where), proof in self._proofs.items()]
        yield from _table(("tried", "count", "tests", "by"), sorted(rows))
        if self._figures:
            yield from ("## Figures", "")
            measured = [(what, *_spread(all_), where) for (what, where), all_ in self._figures.items()]
            yield from _table(("measured", "count", "median", "p95", "most", "by"), sorted(measured))
        yield from ("## Tiers", "", "```text", *self._tiers(), "```", "")
        yield from ("## Tests", "")
        slowest = sorted(self._files.items(), key=lambda item: -item[1].seconds)
        heads = ("file", *_OUTCOMES, "seconds")
        yield from _table(heads, (self._row(name, file) for name, file in slowest))

    @staticmethod
    def _row(name: str, file: _File) -> tuple[object, ...]:
        return name, *(file.count(outcome) for outcome in _OUTCOMES), round(file.seconds, 1)

    def _facts(self, status: int) -> Iterator[tuple[object, ...]]:
        totals = {one: sum(file.count(one) for file in self._files.values()) for one in _OUTCOMES}
        yield "result", f"**{_RESULTS.get(status, 'BROKEN')}**"
        yield "tests", ", ".join(f"{count} {outcome}" for outcome, count in totals.items())
        yield "extent", f"{self._extent()}, PROOF={int(PROOF)}"
        yield "minutes", round((time.monotonic() - self._began) / 60, 1)
        yield "date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield "commit", self._commit
        yield "seed", self._seed
        yield "machine", _machine()

    def _extent(self) -> str:
        whole = self._config.args_source is not pytest.Config.ArgsSource.ARGS and not self._deselected
        return "every test" if whole else "**a part of the tests**"

    @property
    def _seed(self) -> object:
        return self._config.getoption("hypothesis_seed", None) or "none"

    def _tiers(self) -> Iterator[str]:
        for plugin in self._config.pluginmanager.get_plugins():
            if isinstance(plugin, Tiers):
                yield from plugin.table()


def _spread(figures: list[float]) -> tuple[int, float, float, float]:
    ordered = sorted(figures)
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]  # the nearest rank
    return len(ordered), round(statistics.median(ordered), 2), round(p95, 2), round(ordered[-1], 2)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def _commit(root: Path) -> str:
    def git(*command: str) -> str:
        return subprocess.run(
            ["git", *command], cwd=root, capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        changed = " with changes that are not committed" if git("status", "--porcelain") else ""
        return git("rev-parse", "--short=12", "HEAD") + changed
    return "unknown"


def _machine() -> str:
    """In general terms: nothing that names it."""
    memory = round(psutil.virtual_memory().total / 2**30)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.machine()}, {python}"
