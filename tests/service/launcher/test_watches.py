"""The watches of epoll that a session may have: the kernel counts them for all of a uid."""

import os

import pytest
from tests.service.launcher.prison import PYTHON, Prison

pytestmark = pytest.mark.tier("landlock")

_EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
_ADD = """
import errno, os, select, socket, subprocess, sys
def added(most, epolls=None):
    'As many watches as can be, of one thing by many epolls.'
    count, thing = 0, os.pipe()[0]
    try:
        while count < most:
            one = select.epoll()
            one.register(thing)
            (kept if epolls is None else epolls).append(one)
            count += 1
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    return count
kept = []
"""


def _said(prison: Prison, code: str, watches: int = 500) -> list[int]:
    (prison.own / "add.py").write_text(_ADD + code)
    exit_code, output, errors = prison.runs(f"exec {PYTHON} add.py", watches=watches)
    assert exit_code == 0, errors
    return list(map(int, output.split()))


def test_there_are_no_more_than_it_may_have(prison: Prison) -> None:
    assert _said(prison, "print(added(1000), added(1000))") == [500, 0]


def test_all_its_processes_have_them_together(prison: Prison) -> None:
    """The first has taken most when the other begins."""
    another = "if len(sys.argv) < 2: subprocess.run([sys.executable, 'add.py', 'again'])"
    code = f"print(added(400), flush=True)\n{another}"
    assert _said(prison, code) == [400, 100]


def test_those_that_are_closed_can_be_had_again(prison: Prison) -> None:
    again = "print([added(300, []) for _ in range(9)].count(300))"
    assert _said(prison, again) == [9]


def test_to_change_and_remove_one_costs_none(prison: Prison) -> None:
    code = (
        "one, (thing, _) = select.epoll(), os.pipe()\none.register(thing)\n"
        "for _ in range(2000): one.modify(thing, select.EPOLLIN)\none.unregister(thing)\nprint(added(1000))"
    )
    assert _said(prison, code) == [500]


# Ways to keep epolls where a look at processes does not find them; and how many it gets then.
_HIDDEN = {
    "in a process that cannot be looked into": (
        "import ctypes; print(added(1000)); ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print(added(1000))",
        [500, 0],
    ),
    "under way in a socket": (
        "print(added(200)); pair = socket.socketpair()\n"
        "socket.send_fds(pair[0], [b'x'], [one.fileno() for one in kept]); kept.clear(); print(added(1000))",
        [200, 300],
    ),
    "in a thread that outlives the first": (
        "import ctypes, threading; print(added(1000), flush=True)\n"
        "def rest():\n"
        "    while open('/proc/self/stat').read().split()[2] != 'Z': pass\n"
        "    os.write(1, b'%d' % added(1000)); os._exit(0)\n"
        f"threading.Thread(target=rest).start(); ctypes.CDLL(None).syscall({_EXIT}, 0)",
        [500, 0],
    ),
}


@pytest.mark.parametrize("way", _HIDDEN)
def test_hidden_ones_make_no_room(prison: Prison, way: str) -> None:
    code, expected = _HIDDEN[way]
    assert _said(prison, code) == expected
