"""A pytest plugin for tiers: what a test needs from the machine, whether it is there, and what was left out.

`@pytest.mark.tier("cli")` (or `pytestmark`, or a parameter's mark) puts a test into a tier; without one it
is in `unit`, which needs nothing. A test of a tier that cannot run here is skipped with the reason, and the
run ends with a table of tiers and a list of every other skip. `--require-all-tiers` makes a tier left out a
failure. Where workers run the tests (pytest-xdist), each report brings its tier along.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import pytest
from tests.probes import PROBES

__all__ = ["Tiers", "pytest_addoption", "pytest_configure"]

# Returns None where the tier can run, else the reason why not.
Probe = Callable[[], str | None]

_DEFAULT = "unit"
_PROPERTY = "tier"
_FIXTURE_TIERS = {"postgres_server": "postgres", "pgbouncer": "pgbouncer"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-all-tiers",
        action="store_true",
        default=os.environ.get("REQUIRE_ALL_TIERS", "") not in {"", "0"},
        help="fail when a tier cannot run on this machine (also REQUIRE_ALL_TIERS=1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Tiers(PROBES, required=config.getoption("require_all_tiers")))
    config.addinivalue_line("markers", f"tier(*names): what the test needs: {', '.join(PROBES)}")


@dataclass
class _Row:
    """One line of the table: a tier, or several where a test needs more than one."""

    reason: str | None
    outcomes: Counter[str] = field(default_factory=Counter)


class Tiers:
    """Skips what cannot run and reports it. `probes` maps a tier's name to its probe, asked once at most."""

    def __init__(self, probes: Mapping[str, Probe], *, required: bool) -> None:
        self._probes = {name: cache(probe) for name, probe in probes.items()}
        self._required = required
        self._rows: dict[str, _Row] = {}
        self._other_skips: list[tuple[str, str]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            name = "+".join(self._names(item))
            item.user_properties.append((_PROPERTY, name))
            if (row := self._row(name)).reason is not None:
                item.add_marker(pytest.mark.skip(reason=row.reason))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._other_skips.append((report.nodeid, _skip_reason(report)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self._row(str(dict(report.user_properties).get(_PROPERTY, _DEFAULT)))
        if report.failed:
            # A test that passes and then fails to tear down has failed.
            if report.when == "teardown":
                row.outcomes["passed"] = max(0, row.outcomes["passed"] - 1)
            row.outcomes["failed"] += 1
        elif report.skipped:
            row.outcomes["skipped"] += 1
            if row.reason is None:
                self._other_skips.append((report.nodeid, _skip_reason(report)))
        elif report.when == "call":
            row.outcomes["passed"] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (
            self._required
            and self._left_out()
            and session.exitstatus in {0, pytest.ExitCode.NO_TESTS_COLLECTED}
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("tiers")
        for line in self.table():
            terminalreporter.write_line(line)
        for where, reason in self._other_skips:
            terminalreporter.write_line(f"skipped {where}: {reason}", yellow=True)
        if self._required and (left_out := self._left_out()):
            terminalreporter.write_line(
                f"FAILED: every tier is required, but could not run: {', '.join(left_out)}", red=True
            )

    def table(self) -> Iterator[str]:
        """The lines of the table of tiers."""
        width = max([len("tier"), *map(len, self._rows)])
        yield f"{'tier':<{width}}  {'tests':>6} {'passed':>6} {'failed':>6} {'skipped':>7}  reason"
        for name, row in sorted(self._rows.items()):
            passed, failed, skipped = (row.outcomes[key] for key in ("passed", "failed", "skipped"))
            total = passed + failed + skipped
            line = f"{name:<{width}}  {total:>6} {passed:>6} {failed:>6} {skipped:>7}  {row.reason or ''}"
            yield line.rstrip()

    def _row(self, name: str) -> _Row:
        if name not in self._rows:
            self._rows[name] = _Row(self._reason(name.split("+")))
        return self._rows[name]

    def _names(self, item: pytest.Item) -> list[str]:
        named = {name for mark in item.iter_markers("tier") for name in mark.args}
        named |= {
            _FIXTURE_TIERS[name] for name in getattr(item, "fixturenames", ()) if name in _FIXTURE_TIERS
        }
        if unknown := named - self._probes.keys():
            wrong, known = ", ".join(sorted(unknown)), ", ".join(self._probes)
            raise pytest.UsageError(f"{item.nodeid}: unknown tier {wrong}; there are {known}")
        return [name for name in self._probes if name in named and name != _DEFAULT] or [_DEFAULT]

    def _reason(self, names: list[str]) -> str | None:
        reasons = [f"tier {name}: {reason}" for name in names if (reason := self._probes[name]()) is not None]
        return "; ".join(reasons) or None

    def _left_out(self) -> list[str]:
        return [
            name for name, row in self._rows.items() if row.outcomes["skipped"] and row.reason is not None
        ]


def _skip_reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    if expected := getattr(report, "wasxfail", ""):
        return f"expected to fail: {expected}"
    _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
    return reason.removeprefix("Skipped: ")
