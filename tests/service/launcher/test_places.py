"""Where a jail begins and what it may change, while the user's other agents change what its path leads to."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.service.launcher.launched import Launched
from tests.service.launcher.prison import Prison
from tests.waiting import wait_until

pytestmark = pytest.mark.tier("landlock")

_LIBC = ctypes.CDLL(None)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_STARTS = 20
# As it would be if a path were opened as paths are.
_FOLLOWING = (
    "import posix; from claude_agent_http.launcher import kernel; "
    "kernel.open_without_links = lambda path: posix.open(path, posix.O_PATH | posix.O_CLOEXEC); "
)
_LOOK = "#!/bin/bash\ncat {other}/file 2> /dev/null; echo x > {other}/planted; echo ended\n"


@pytest.mark.parametrize("given", ["cwd", "writes", "reads"])
@pytest.mark.parametrize("below", ["", "/folder"])
def test_a_link_on_the_way_starts_nothing(prison: Prison, given: str, below: str) -> None:
    (prison.other / "folder").mkdir()
    (prison.own / "sub").symlink_to(prison.other)
    path = f"{prison.own}/sub{below}"
    code, output, errors = prison.runs("echo here", **{given: path if given == "cwd" else (path,)})
    assert (code, output) == (126, "")
    assert errors == f"cannot jail the agent process: a symbolic link stands on the way to {path}\n"


def test_a_folder_that_is_gone_starts_nothing(prison: Prison) -> None:
    code, output, _ = prison.runs("echo here", cwd=str(prison.own / "gone"))
    assert (code, output) == (126, "")


def test_it_begins_in_its_folder_wherever_its_launcher_does(prison: Prison, folder: Path) -> None:
    (prison.own / "sub").mkdir()
    assert _run(folder, "#!/bin/sh\npwd\n", prison, cwd=str(prison.own / "sub")) == f"{prison.own}/sub\n"


def test_its_folder_stays_its_own_where_another_one_takes_its_place(prison: Prison) -> None:
    """What the launcher changes for it lies in that very folder."""
    for name in ("sub", "new"):
        (prison.own / name).mkdir()
        (prison.own / name / "file").touch(mode=0o600)
    os.rename(prison.own / "new", prison.other / "new")
    wait = "cd sub; touch ready; until [ -e moved ]; do sleep 0.01; done"
    change = f"chmod 640 file && echo mine; chmod 640 {prison.own}/sub/file"
    prison.starts(f"{wait}; {change}", cwd=str(prison.own / "sub"))
    wait_until((prison.own / "sub" / "ready").exists)
    os.rename(prison.own / "sub", prison.own / "elsewhere")
    os.rename(prison.other / "new", prison.own / "sub")
    (prison.own / "elsewhere" / "moved").touch()
    code, output, _ = prison.ends()
    assert (code, output) == (1, "mine\n")
    modes = [(prison.own / name / "file").stat().st_mode & 0o777 for name in ("elsewhere", "sub")]
    assert modes == [0o640, 0o600]


def test_a_folder_that_is_now_a_link_leads_no_start_out(prison: Prison, folder: Path) -> None:
    """The way round a check before the start: exchange the folder and a link, again and again."""
    said = _race(prison, folder, "")
    assert "secret" not in said
    assert "ended" in said, "no start found the folder"
    assert "symbolic link" in said, "no start found the link"
    assert not (prison.other / "planted").exists()


def test_without_the_look_at_links_that_way_leads_out(prison: Prison, folder: Path) -> None:
    assert "secret" in _race(prison, folder, _FOLLOWING)
    assert (prison.other / "planted").exists()


def _race(prison: Prison, folder: Path, before: str) -> str:
    """All that starts said while their folder was exchanged for a link to another's."""
    (prison.own / "sub").mkdir()
    (prison.own / "link").symlink_to(prison.other)
    look = _LOOK.format(other=prison.other)
    with _exchanging(prison.own / "sub", prison.own / "link"):
        return "".join(
            _run(folder, look, prison, before, cwd=str(prison.own / "sub")) for _ in range(_STARTS)
        )


@contextmanager
def _exchanging(one: Path, other: Path) -> Iterator[None]:
    over = threading.Event()

    def exchange() -> None:
        while not over.wait(0.0007):
            _LIBC.renameat2(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _RENAME_EXCHANGE)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _run(folder: Path, script: str, prison: Prison, before: str = "", **changes: str) -> str:
    launched = Launched(folder)
    try:
        launched.start(script, jail=prison.jail(**changes), before=before)
        _, output, errors = launched.end()
    finally:
        launched.clean()
    return output + errors
