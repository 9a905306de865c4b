"""The filter names no call that the tables of numbers do not have: it would pass over it in silence."""

import re
from pathlib import Path

import pytest

from claude_agent_http.launcher import filter as filters
from claude_agent_http.launcher.calls import AUDIT_ARCH, NUMBERS

# What arm64 never had: newer calls do the same.
OLD = {"chmod", "chown", "lchown", "fork", "vfork", "utime", "utimes", "futimesat", "inotify_init"}


def named() -> set[str]:
    refused = {name for names in filters._REFUSED.values() for name in names}
    return refused | set(filters._rules()) | set(filters.ASKED)


@pytest.mark.parametrize("machine", NUMBERS)
def test_every_call_that_is_named_has_a_number(machine: str) -> None:
    missing = named() - set(NUMBERS[machine])
    assert missing == (OLD if machine == "aarch64" else set())


@pytest.mark.parametrize("machine", NUMBERS)
def test_no_number_stands_for_two(machine: str) -> None:
    numbers = NUMBERS[machine]
    assert len(set(numbers.values())) == len(numbers)
    assert machine in AUDIT_ARCH


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_the_numbers_are_the_kernels(machine: str, header: str) -> None:
    """As far as this machine's headers know them."""
    path = Path(header)
    text = path.read_text() if path.exists() else ""
    known = {name: int(number) for name, number in re.findall(r"__NR(?:3264)?_(\w+)\s+(\d+)", text)}
    wrong = {
        name: (number, known[name])
        for name, number in NUMBERS[machine].items()
        if known.get(name, number) != number
    }
    assert wrong == {}
