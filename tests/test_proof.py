"""The plugin in tests/proof.py, run inside pytest runs of its own."""

import re
from pathlib import Path

import pytest
from tests.proof import amount

_CONFTEST = """
from tests import tiers
from tests.proof import *

def pytest_configure(config):
    import tests.proof
    probes = {"unit": lambda: None}
    config.pluginmanager.register(tiers.Tiers(probes, required=False))
    tests.proof.pytest_configure(config)
"""

_TESTS = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_counts(proven, number): proven["kill points"] += 10 * number

def test_other(): pass

@pytest.mark.parametrize("figures", [range(1, 11), range(11, 21)])
def test_measures(measured, figures):
    for figure in figures: measured("takeover, s", figure)
"""

_FAILING = """
import pytest

@pytest.fixture
def messy():
    yield
    assert False

def test_fails(): assert False
def test_leaves_a_mess(messy): pass
def test_passes(): pass
"""


@pytest.fixture
def report(pytester):
    """Run tests and return the lines of the report."""
    pytester.makeconftest(_CONFTEST)

    def report(tests: str, *args: str) -> list[str]:
        pytester.makepyfile(tests)
        file = Path("new", "proof.md")
        plain = ("-p", "no:asyncio", "-p", "no:schemathesis", f"--proof-report={file}")
        pytester.runpytest_inprocess(*plain, *args)
        text: str = (pytester.path / file).read_text()
        assert str(pytester.path) not in text
        return text.splitlines()

    return report


def test_counts_are_added_up(report) -> None:
    lines = report(_TESTS, "--hypothesis-seed=77")
    assert "| kill points | 30 | 2 | test_counts_are_added_up.py |" in lines
    assert "| takeover, s | 20 | 10.5 | 19 | 20 | test_counts_are_added_up.py |" in lines
    assert "| result | **passed** |" in lines
    assert "| tests | 5 passed, 0 failed, 0 skipped |" in lines
    assert "| seed | 77 |" in lines
    assert any(re.fullmatch(r"unit +5 +5 +0 +0", line) for line in lines)
    assert any(
        re.fullmatch(r"\| test_counts_are_added_up\.py \| 5 \| 0 \| 0 \| [\d.]+ \|", line) for line in lines
    )
    assert any(
        re.fullmatch(r"\| machine \| \d+ cores, \d+ GiB, \w+ \w+, \w+ [\d.]+ \|", line) for line in lines
    )


def test_what_failed_is_named_and_counted_once(report) -> None:
    lines = report(_FAILING)
    file = "test_what_failed_is_named_and_counted_once.py"
    assert "| result | **FAILED** |" in lines
    assert "| tests | 1 passed, 2 failed, 0 skipped |" in lines
    assert [line for line in lines if line.startswith("- ")] == [
        f"- `{file}::test_fails`",
        f"- `{file}::test_leaves_a_mess`",
    ]


def test_a_file_that_cannot_be_read_is_no_pass(report) -> None:
    lines = report("this is no Python")
    assert "| result | **passed** |" not in lines
    assert "- `test_a_file_that_cannot_be_read_is_no_pass.py`" in lines


@pytest.mark.parametrize(
    ("args", "extent"), [((), "every test"), (("-k", "other"), "**a part of the tests**")]
)
def test_a_part_is_told_from_the_whole(report, args: tuple[str, ...], extent: str) -> None:
    (line,) = (line for line in report(_TESTS, *args) if line.startswith("| extent"))
    assert line.startswith(f"| extent | {extent}, PROOF=")


def test_without_the_option_nothing_is_written(pytester) -> None:
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(_TESTS)
    pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:schemathesis").assert_outcomes(passed=5)
    assert not list(pytester.path.glob("*.md"))


def test_a_proof_tries_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.proof.PROOF", False)
    assert amount(5, 50) == 5
    monkeypatch.setattr("tests.proof.PROOF", True)
    assert amount(5, 50) == 50
