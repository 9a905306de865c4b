"""The plugin in tests/tiers.py, run inside pytest runs of its own, with tiers of its own."""

import pytest

_CONFTEST = """
from tests import tiers

asked = []

def _moon():
    asked.append("moon")
    return "not on the moon"

def pytest_addoption(parser):
    tiers.pytest_addoption(parser)

def pytest_configure(config):
    config.addinivalue_line("markers", "tier(*names): a tier")
    probes = {"unit": lambda: None, "earth": lambda: None, "moon": _moon}
    config.pluginmanager.register(tiers.Tiers(probes, required=config.getoption("require_all_tiers")))

def pytest_unconfigure():
    print("asked:", asked)
"""

_TESTS = """
import pytest

def test_plain(): pass

@pytest.mark.tier("earth")
def test_earth(): pass

@pytest.mark.tier("moon")
def test_moon(): raise AssertionError("must not run")

@pytest.mark.tier("earth", "moon")
def test_both(): raise AssertionError("must not run")
"""


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL_TIERS", raising=False)
    pytester.makeconftest(_CONFTEST)

    def run(tests: str, *args: str) -> pytest.RunResult:
        pytester.makepyfile(tests)
        return pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:schemathesis", *args)

    return run


def test_a_tier_that_cannot_run_is_skipped_with_its_reason_in_the_table(run):
    result = run(_TESTS)
    assert result.ret == 0
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.re_match_lines(
        [
            r"tier +tests passed failed skipped  reason",
            r"earth +1 +1 +0 +0$",
            r"earth\+moon +1 +0 +0 +1  tier moon: not on the moon",
            r"moon +1 +0 +0 +1  tier moon: not on the moon",
            r"unit +1 +1 +0 +0$",
        ]
    )


@pytest.mark.parametrize("how", ["option", "variable"])
def test_requiring_every_tier_fails_the_run(run, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("REQUIRE_ALL_TIERS", "1")
    result = run(_TESTS, *(["--require-all-tiers"] if how == "option" else []))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED: every tier is required, but could not run: moon, earth+moon"])


def test_requiring_every_tier_passes_where_all_run(run):
    result = run("def test_plain(): pass", "--require-all-tiers")
    assert result.ret == 0


def test_a_tier_that_no_chosen_test_needs_is_neither_asked_nor_required(run):
    result = run(_TESTS, "--require-all-tiers", "-k", "plain or test_earth")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("asked:*moon*")


def test_a_probe_is_asked_once(run):
    run(_TESTS).stdout.fnmatch_lines(["asked: ['moon']"])


def test_any_other_skip_is_listed(run):
    result = run(
        """
        import pytest

        @pytest.mark.skip(reason="on a whim")
        def test_skipped(): pass

        @pytest.mark.xfail(reason="known")
        def test_broken(): assert False
        """
    )
    result.stdout.fnmatch_lines(["skipped *::test_skipped: on a whim", "skipped *::test_broken: *known"])


def test_a_module_that_skips_itself_is_listed(run):
    result = run("import pytest; pytest.skip('not today', allow_module_level=True)")
    result.stdout.fnmatch_lines(["skipped *.py: not today"])


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(): assert False",
        "import pytest\n@pytest.fixture\ndef bad(): assert False\ndef test_it(bad): pass",
        "import pytest\n@pytest.fixture\ndef bad():\n    yield\n    assert False\ndef test_it(bad): pass",
    ],
    ids=["call", "setup", "teardown"],
)
def test_a_failure_is_counted_once(run, test):
    result = run(test)
    assert result.ret == 1
    result.stdout.re_match_lines([r"unit +1 +0 +1 +0$"])


def test_an_unknown_tier_stops_the_run(run):
    result = run("import pytest\n@pytest.mark.tier('mars')\ndef test_it(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it: unknown tier mars; there are unit, earth, moon*"])


def test_a_parameters_mark_counts(run):
    result = run(
        """
        import pytest

        @pytest.mark.parametrize("where", ["here", pytest.param("there", marks=pytest.mark.tier("moon"))])
        def test_it(where): assert where == "here"
        """
    )
    result.assert_outcomes(passed=1, skipped=1)
