"""The launcher with stand-ins for the CLI: exit codes, environment, and that nothing of a tree is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.launcher.launched import Launched, alive, breeder
from tests.service.launcher.prison import PYTHON
from tests.waiting import wait_until

from claude_agent_http.launcher.command import command, script
from claude_agent_http.launcher.parameters import SET_BY_THE_SDK

pytestmark = pytest.mark.tier("linux")


@pytest.fixture
def launched(folder: Path) -> Iterator[Launched]:
    started = Launched(folder)
    yield started
    started.clean()


@pytest.mark.parametrize(
    ("then", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_the_exit_code_is_the_clis_and_nothing_of_its_tree_is_left(
    launched: Launched, then: str, code: int
) -> None:
    launched.start(breeder(then))
    tree = launched.tree()
    assert len(tree) == 5
    assert launched.end()[0] == code
    assert alive(tree) == set()


def test_a_sigterm_ends_a_cli_that_handles_it_at_once_with_its_tree(launched: Launched) -> None:
    launched.start(breeder("trap 'exit 5' TERM; while :; do sleep 0.01; done"))
    tree = launched.tree()
    assert launched.process is not None
    launched.process.send_signal(signal.SIGTERM)
    assert launched.end()[0] == 5
    assert alive(tree) == set()


def test_a_cli_that_ignores_sigterm_is_killed_after_three_seconds(launched: Launched) -> None:
    launched.start(breeder("trap '' TERM INT; while :; do sleep 0.01; done"))
    tree = launched.tree()
    assert launched.process is not None
    began = time.monotonic()
    launched.process.send_signal(signal.SIGTERM)
    assert launched.end()[0] == 137
    assert 2.9 < time.monotonic() - began < 5
    assert alive(tree) == set()


def test_a_closed_heartbeat_ends_the_tree_at_once(launched: Launched) -> None:
    launched.start(breeder("trap '' TERM; while :; do sleep 0.01; done"))
    tree = launched.tree()
    began = time.monotonic()
    os.close(launched.heartbeat)
    assert launched.end()[0] == 137
    assert time.monotonic() - began < 2
    assert alive(tree) == set()


def test_a_lease_that_is_renewed_lets_the_tree_live_and_one_that_is_not_ends_it(launched: Launched) -> None:
    launched.start(breeder("trap '' TERM; while :; do sleep 0.01; done"), lease=time.monotonic() + 30)
    tree = launched.tree()
    began = time.monotonic()
    launched.tell(began + 0.4)
    launched.tell(began + 0.6, began + 1.0)
    assert launched.end()[0] == 137
    assert 0.99 <= time.monotonic() - began < 3.0
    assert alive(tree) == set()


def test_a_lease_that_is_over_already_ends_the_tree_at_once(launched: Launched) -> None:
    launched.start("#!/bin/sh\nsleep 600\n", lease=time.monotonic() - 1)
    assert launched.end()[0] == 137


def test_a_service_that_is_killed_takes_the_tree_with_it(launched: Launched) -> None:
    service = launched.folder / "service.py"
    service.write_text(
        "import os, sys, subprocess\n"
        "path, heartbeat, former, *command = sys.argv[1:]\n"
        "text = open(path).read()\n"
        "open(path, 'w').write(text.replace(f'service={former}\\0', f'service={os.getpid()}\\0'))\n"
        "beat = os.open(heartbeat, os.O_RDWR | os.O_NONBLOCK)\n"
        "os.environ['CLAUDE_AGENT_LAUNCH'] = path\n"
        "subprocess.Popen(command).wait()\n"
    )
    parameters = launched.parameters(breeder("trap '' TERM; while :; do sleep 0.01; done"))
    given = (parameters, launched.folder / "heartbeat", os.getpid(), *command(sys.executable))
    launched.process = subprocess.Popen([sys.executable, str(service), *map(str, given)])
    tree = launched.tree()
    tree["launcher"] = int((launched.folder / "launcher.pid").read_text())
    os.close(launched.heartbeat)
    launched.process.kill()
    wait_until(lambda: alive(tree) == set())


def test_a_launcher_that_is_killed_takes_the_cli_with_it(launched: Launched) -> None:
    launched.start("#!/bin/sh\necho $$ > $(dirname $0)/cli.pid\nexec sleep 600\n")
    tree = launched.tree()
    assert launched.process is not None
    launched.process.kill()
    wait_until(lambda: alive(tree) == set())


def test_it_stays_in_the_services_session_but_out_of_its_terminals_reach(launched: Launched) -> None:
    launched.start("#!/bin/sh\necho $$ > $(dirname $0)/cli.pid\nexec sleep 600\n")
    cli = launched.tree()["cli"]
    assert launched.process is not None
    pid = launched.process.pid
    assert os.getsid(pid) == os.getsid(0)
    assert os.getpgid(pid) == pid
    assert (os.getsid(cli), os.getpgid(cli)) == (cli, cli)


def test_it_does_not_start_a_cli_for_a_service_that_is_already_gone(launched: Launched) -> None:
    launched.start("#!/bin/sh\ntouch $(dirname $0)/ran\n", service=1)
    assert launched.end()[0] == 143
    assert not (launched.folder / "ran").exists()


def test_the_environment_is_what_was_given_and_what_the_sdk_sets(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_MARKER", "must-not-leak")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "must-not-leak")
    monkeypatch.setenv("CLAUDE_CODE_ENTRYPOINT", "sdk-py")
    launched.start("#!/bin/sh\nexec env\n", env={"GIVEN": "yes"})
    _, output, _ = launched.end()
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert "must-not-leak" not in output
    assert (
        {"GIVEN", "CLAUDE_CODE_ENTRYPOINT", "PATH"}
        <= names
        <= {
            *("GIVEN", "PATH", "PWD", "_"),
            *SET_BY_THE_SDK,
        }
    )


def test_the_launcher_keeps_nothing_of_the_environment_that_it_was_started_with(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_MARKER", "must-not-leak")
    launched.start("#!/bin/sh\necho $$ > $(dirname $0)/cli.pid\nexec sleep 600\n")
    launched.tree()
    assert launched.process is not None
    assert Path(f"/proc/{launched.process.pid}/environ").read_bytes().strip(b"\0") == b""


@pytest.mark.parametrize("place", ["python", "a folder/python", 140 * "x" + "/python"])
def test_it_can_be_started_as_a_file_wherever_python_is(launched: Launched, place: str) -> None:
    """Straight by the kernel where that can read the path."""
    python = launched.folder / place
    python.parent.mkdir(exist_ok=True)
    python.symlink_to(PYTHON)
    start = launched.folder / "start"
    start.write_text(script(str(python)))
    start.chmod(0o755)
    parameters = launched.parameters("#!/bin/sh\necho $# $1\n")
    launched.process = subprocess.Popen(
        [start, "a b"], env={"CLAUDE_AGENT_LAUNCH": str(parameters)}, stdout=-1, stderr=-1
    )
    assert launched.end() == (0, "1 a b\n", "")
    assert start.read_text().startswith("#!/bin/sh") == (place != "python")


def test_arguments_and_pipes_pass_through(launched: Launched) -> None:
    launched.start('#!/bin/sh\nread line; echo "$1|$2|$line"; echo oops >&2\n', "a b", "--flag='x'")
    assert launched.process is not None
    output, errors = launched.process.communicate(b"hello\n", timeout=10)
    assert (output, errors) == (b"a b|--flag='x'|hello\n", b"oops\n")


def test_its_files_are_gone_once_it_runs(launched: Launched) -> None:
    launched.start("#!/bin/sh\nexit 0\n")
    launched.end()
    assert {path.name for path in launched.folder.iterdir()} == {"cli", "launcher.pid"}


def test_a_cli_that_cannot_be_started_gives_127_and_a_reason(launched: Launched) -> None:
    launched.start("#!/bin/sh\n", cli="/nowhere/claude")
    code, _, errors = launched.end()
    assert (code, errors) == (127, "cannot start /nowhere/claude: No such file or directory\n")


def test_moments_that_come_by_halves_are_heard_whole(launched: Launched) -> None:
    launched.start("#!/bin/sh\nsleep 600\n", lease=time.monotonic() + 30)
    later = time.monotonic() + 1.0
    # As a launcher reads them that was stopped for long: more than it takes at once, and cut in a line.
    launched.tell(*[later] * (4096 // 8))
    assert launched.end()[0] == 137
    assert time.monotonic() >= later - 0.01
