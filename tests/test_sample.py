"""The plugin in tests/sample.py, run inside pytest runs of its own, with and without workers."""

import pytest
from tests.sample import sampled

_CONFTEST = "pytest_plugins = ['tests.sample']"
_TESTS = """
import pytest
from tests.sample import sampled

@pytest.mark.parametrize("number", sampled(range(9), 3))
def test_seeds(number): assert number in (0, 4, 8)

@pytest.mark.in_proofs(storage="two", size=1)
@pytest.mark.parametrize("storage", ["one", "two"])
@pytest.mark.parametrize("size", [1, 2])
def test_storage(storage, size): assert (storage, size) != ("two", 1)

def test_other(): pass
"""
_LOST = """
import pytest

@pytest.mark.in_proofs
def test_lost(): pass

def test_other(): pass
"""
_PLAIN = ("-p", "no:asyncio", "-p", "no:schemathesis")


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setattr("tests.proof.PROOF", False)
    monkeypatch.delenv("PROOF", raising=False)
    pytester.makeconftest(_CONFTEST)

    def run(tests: str, *args: str) -> pytest.RunResult:
        pytester.makepyfile(tests)
        return pytester.runpytest_inprocess(*_PLAIN, *args)

    return run


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "workers"])
def test_what_is_left_out_is_counted_by_file(run, workers):
    result = run(_TESTS, *workers)
    assert result.ret == 0
    result.assert_outcomes(passed=7, deselected=0 if workers else 7)
    result.stdout.re_match_lines(
        [r"=+ left to `make proof` =+", r" +7 of test_what_is_left.*\.py", r" +7 tests"]
    )


def test_a_proof_leaves_nothing_out(run, monkeypatch):
    monkeypatch.setattr("tests.proof.PROOF", True)
    result = run(_TESTS)
    result.assert_outcomes(passed=7, failed=7)
    result.stdout.no_fnmatch_line("*left to*")


def test_a_run_of_everything_keeps_a_case_of_every_test(run):
    result = run(_LOST)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no case is left of *::test_lost*"])


def test_a_test_that_is_named_may_be_left_out_whole(run, pytester):
    result = run(_LOST, f"{pytester.path}/test_a_test_that_is_named_may_be_left_out_whole.py::test_lost")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.re_match_lines([r" +1 tests"])


@pytest.mark.parametrize(("few", "kept"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10)))])
def test_a_sample_goes_from_the_first_to_the_last(few, kept):
    assert [one for one in sampled(range(10), few) if isinstance(one, int)] == kept
