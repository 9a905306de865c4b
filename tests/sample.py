"""A pytest plugin for what `make test` leaves to `make proof`: more examples of what some of them show.

`parametrize("seed", sampled(range(50), 5))` runs five of the fifty, and all with PROOF=1. The mark
`in_proofs` leaves a test or a parameter to proofs, `in_proofs(storage="sqlite")` only the cases with that
parameter. Of every test function some case stays, or a whole run does not begin. How many were left out, and
of which files, stands at the end of the run.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from tests import proof

__all__ = ["Sample", "pytest_configure", "sampled"]

_LEFT = "left_to_proofs"


def sampled(values: Iterable[Any], few: int) -> list[Any]:
    """`values` for parametrize: all but `few`, which go from the first to the last, are left to proofs."""
    every = list(values)
    kept = {number * (len(every) - 1) // max(few - 1, 1) for number in range(few)}
    left = pytest.mark.in_proofs
    return [one if number in kept else pytest.param(one, marks=left) for number, one in enumerate(every)]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "in_proofs(**parameters): one more example of its kind, which `make test` leaves out"
    )
    config.pluginmanager.register(Sample(config))


class Sample:
    """Leaves out what is marked, and counts it by file."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._left: Counter[str] = Counter()

    # Before `-k`, which could leave nothing else of a function.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        left = [item for item in items if not proof.PROOF and _is_in_proofs(item)]
        if not left:
            return
        items[:] = [item for item in items if not _is_in_proofs(item)]
        self._check(left, items)
        self._left.update(item.location[0] for item in left)
        self._config.hook.pytest_deselected(items=left)

    def _check(self, left: list[pytest.Item], kept: list[pytest.Item]) -> None:
        # Who names tests may well name only such as are left to proofs.
        if self._config.args_source is pytest.Config.ArgsSource.ARGS:
            return
        if lost := {_function(item) for item in left} - {_function(item) for item in kept}:
            raise pytest.UsageError(f"no case is left of {', '.join(sorted(lost))}: see tests/sample.py")

    # Workers (pytest-xdist) collect, each the same; who started them writes the summary.
    def pytest_sessionfinish(self) -> None:
        if (output := getattr(self._config, "workeroutput", None)) is not None:
            output[_LEFT] = dict(self._left)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._left = Counter(getattr(node, "workeroutput", {}).get(_LEFT, self._left))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._left:
            terminalreporter.section("left to `make proof`")
        for name, count in sorted(self._left.items()):
            terminalreporter.write_line(f"{count:>5} of {name}")
        if self._left:
            terminalreporter.write_line(f"{self._left.total():>5} tests")


def _is_in_proofs(item: pytest.Item) -> bool:
    chosen = getattr(getattr(item, "callspec", None), "params", {})
    return any(mark.kwargs.items() <= chosen.items() for mark in item.iter_markers("in_proofs"))


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
