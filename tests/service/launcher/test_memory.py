"""The limit of a session's memory, where the kernel is asked for it: launcher and kernel, no CLI."""

import pytest
from tests.service.launcher.prison import PYTHON, Prison
from tests.waiting import wait_until

pytestmark = pytest.mark.tier("landlock")

# Holds 400 MiB until it is killed.
_HOG = "import threading; x = bytearray(400 * 2**20); threading.Event().wait()"

# One byte read of each 2 MiB: every one needs a table of 4 KiB.
_TABLES = """
import ctypes, mmap, threading
size = 100_000 * 2**21
private, nobody, no_reserve, no_huge_pages = 2, 0x20, 0x4000, 15
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *3 * [ctypes.c_int], ctypes.c_long]
start = libc.mmap(None, size, mmap.PROT_READ, private | nobody | no_reserve, -1, 0)
libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), no_huge_pages)
for place in range(start, start + size, 2**21):
    ctypes.c_char.from_address(place).value
threading.Event().wait()  # until it is killed
"""

# Says how its three children ended: by themselves, or by a signal.
_FAMILY = """
import os, time
x = bytearray(b'x') * (100 * 2**20)
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        pass
        time.sleep(3.5)  # The launcher looks each second, and tells nobody when.
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], flush=True)
"""


def test_a_process_that_takes_too_much_memory_is_killed_and_the_others_go_on(prison: Prison) -> None:
    hog = f"{PYTHON} -c '{_HOG}'"
    code, output, errors = prison.runs(f"{hog}; echo $?", memory_bytes=200 * 2**20)
    assert (code, output) == (0, "137\n")
    assert "the session's limit of 200 MiB of memory was reached" in errors


def test_memory_that_is_in_tables_of_pages_counts(prison: Prison) -> None:
    """One page of zeros, which is nobody's, seen 100,000 times."""
    (prison.own / "tables.py").write_text(_TABLES)
    output, errors = prison.runs(f"{PYTHON} tables.py; echo $?", memory_bytes=200 * 2**20)[1:]
    assert output == "137\n"
    assert "the session's limit of 200 MiB of memory was reached" in errors


def test_memory_that_processes_share_counts_once(prison: Prison) -> None:
    """Four hold 100 MiB that one of them filled, for longer than the launcher takes to look twice."""
    (prison.own / "family.py").write_text(_FAMILY)
    assert prison.runs(f"{PYTHON} family.py", memory_bytes=200 * 2**20) == (0, "[0, 0, 0]\n", "")


def test_a_family_that_is_too_large_is_killed(prison: Prison) -> None:
    """What each of them filled itself counts for each."""
    (prison.own / "family.py").write_text(_FAMILY.replace("pass", "y = bytearray(b'y') * (100 * 2**20)"))
    output, errors = prison.runs(f"{PYTHON} family.py", memory_bytes=200 * 2**20)[1:]
    assert output != "[0, 0, 0]\n"
    assert "the session's limit of 200 MiB of memory was reached" in errors


# Says how many pieces of 50 MiB it could have to share; two times, all being gone between.
_SHARED = """
import mmap, time
def some():
    pieces = []
    try:
        for _ in range(10):
            pieces.append(mmap.mmap(-1, 50 * 2**20))
    except OSError as error:
        print(len(pieces), error.strerror, flush=True)
    return pieces
first = some()
kept = first.pop()
del first
time.sleep(1.1)  # What was found to be used up is looked at again after a second.
some()
del kept
time.sleep(1.1)  # as above
some()
"""


def test_memory_to_share_has_an_end_until_none_is_left(prison: Prison) -> None:
    """Of one piece that is left nobody could tell how much is behind it."""
    (prison.own / "shared.py").write_text(_SHARED)
    output = prison.runs(f"{PYTHON} shared.py", memory_bytes=200 * 2**20)[1]
    none = "Cannot allocate memory"
    assert output.splitlines() == [f"4 {none}", f"0 {none}", f"4 {none}"]


def test_without_a_limit_memory_to_share_has_none(prison: Prison) -> None:
    (prison.own / "shared.py").write_text(_SHARED)
    assert prison.runs(f"{PYTHON} shared.py")[:2] == (0, "")


def test_a_launcher_does_not_wait_for_who_reads_its_errors(prison: Prison) -> None:
    """The agent fills the pipe of errors, which both have, and takes too much memory then."""
    fill = "import os; os.set_blocking(2, False)\nwhile True: os.write(2, b'x' * 4096)"
    prison.starts(
        f'{PYTHON} -c "{fill}" 2>&2; touch full; {PYTHON} -c "{_HOG}"; touch killed', memory_bytes=200 * 2**20
    )
    wait_until((prison.own / "killed").exists, 20)
