"""The small parts: the gate's order, the standard error's tail, the environment and the trampoline."""

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.service.runtime.conftest import make_session

from claude_agent_http.disk.owners import remove_folders
from claude_agent_http.runtime import RuntimeConfig
from claude_agent_http.runtime.folders import (
    SessionFolders,
    ensure_trampoline,
    make_folders,
    trampoline,
)
from claude_agent_http.runtime.options import cli_environment
from claude_agent_http.runtime.stderr import StderrTail
from claude_agent_http.runtime.toolgate import OrderedGate

GIVEN = {"tool_name": "Bash", "tool_input": {"command": "ls"}}


async def test_a_hook_that_overtakes_waits_for_its_message() -> None:
    asked: list[str] = []

    async def gate(use: str, _name: str, _given: dict[str, Any]) -> bool:
        asked.append(use)
        return True

    ordered = OrderedGate(gate)
    ordered.begin()
    hook = asyncio.create_task(ordered.hook(GIVEN, "t1", None))
    for _ in range(5):
        await asyncio.sleep(0)
    assert asked == []
    ordered.report("t1")
    assert await hook == {}
    assert asked == ["t1"]


async def test_a_hook_whose_message_never_comes_asks_all_the_same() -> None:
    async def gate(*_: Any) -> bool:
        return True

    ordered = OrderedGate(gate)
    ordered.begin()
    async with asyncio.timeout(5):
        assert await ordered.hook(GIVEN, "t1", None) == {}


@pytest.mark.parametrize("when", ["before", "waiting"])
async def test_outside_of_a_turn_every_tool_is_denied(when: str) -> None:
    async def gate(*_: Any) -> bool:
        raise AssertionError("must not be asked")

    ordered = OrderedGate(gate)
    if when == "waiting":
        ordered.begin()
    hook = asyncio.create_task(ordered.hook(GIVEN, "t1", None))
    await asyncio.sleep(0)
    ordered.end()
    assert (await hook)["hookSpecificOutput"]["permissionDecision"] == "deny"


def test_the_tail_is_bounded_and_holds_no_secret() -> None:
    tail = StderrTail({"hunter22", "hunter22-long"})
    for number in range(1000):
        tail.add(f"{number} hunter22-long " + "x" * 1000)
    message = tail.appended_to("failed with hunter22")
    assert "hunter22" not in message
    assert "999 [redacted]" in message
    assert len(message) < 4000
    assert StderrTail(()).appended_to("quiet") == "quiet"


def test_the_secrets_of_a_configuration() -> None:
    env = {"ANTHROPIC_API_KEY": "key-1", "ANTHROPIC_BASE_URL": "http://model"}
    config = RuntimeConfig(Path("/state"), extra_env={"AWS_SECRET_ACCESS_KEY": "key-2"})
    assert config.secrets(env) == {"key-1", "key-2"}


def test_the_environment_is_an_allow_list() -> None:
    folders = SessionFolders(Path("/state/s"))
    host = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "HTTPS_PROXY": "http://proxy",
        "SSL_CERT_FILE": "/ca",
        "HOME": "/root",
        "ANTHROPIC_API_KEY": "no",
        "DATABASE_URL": "no",
        "PYTHONPATH": "no",
        "CLAUDE_AGENT_X": "no",
    }
    config = RuntimeConfig(Path("/state"), extra_env={"EXTRA": "1"})
    env = cli_environment(config, folders, host, {"ANTHROPIC_AUTH_TOKEN": "t"}, root=True)
    assert "no" not in env.values()
    assert (env["PATH"], env["LC_ALL"], env["HTTPS_PROXY"], env["SSL_CERT_FILE"]) == (
        *("/bin", "C", "http://proxy", "/ca"),
    )
    assert (env["HOME"], env["TMPDIR"]) == ("/state/s/home", "/state/s/tmp")
    assert (env["ANTHROPIC_AUTH_TOKEN"], env["EXTRA"]) == ("t", "1")


@pytest.mark.parametrize(
    ("root", "mode", "said"),
    [(True, "bypassPermissions", True), (False, "bypassPermissions", False), (True, "plan", False)],
)
def test_root_may_bypass_permissions_only_when_it_says_it_is_a_sandbox(
    root: bool, mode: str, said: bool
) -> None:
    config = RuntimeConfig(Path("/state"), permission_mode=mode)
    assert ("IS_SANDBOX" in cli_environment(config, SessionFolders(Path("/s")), {}, {}, root=root)) is said


@pytest.mark.parametrize(
    ("host", "past"),
    [
        ({"HTTPS_PROXY": "http://p"}, "127.0.0.1"),
        ({"no_proxy": "intra.example"}, "intra.example,127.0.0.1"),
        ({"PATH": "/bin"}, None),
    ],
)
def test_no_proxy_stands_before_the_gateway(host: dict[str, str], past: str | None) -> None:
    env = cli_environment(RuntimeConfig(Path("/state")), SessionFolders(Path("/s")), host, {}, root=True)
    assert env.get("no_proxy") == past
    assert ("NO_PROXY" in env) is (past is not None)


def test_folders_are_private_and_a_start_begins_with_none_of_the_last_ones_files(tmp_path: Path) -> None:
    session_id = make_session(tmp_path).id
    folders = make_folders(tmp_path / "state", session_id)
    (folders.run / "old").touch()
    (folders.home / "kept").touch()
    again = make_folders(tmp_path / "state", session_id)
    for folder in (tmp_path / "state", again.root, again.home, again.config, again.tmp, again.run):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(again.run.iterdir()) == []
    assert (again.home / "kept").exists()


@pytest.fixture
def mortal(folder: Path) -> Iterator[Path]:
    """A folder to work in with no more rights than any user has: root may write where nobody may."""
    libc = ctypes.CDLL(None)
    folder.chmod(0o777)
    nobody = 65534 if os.getuid() == 0 else os.getuid()
    libc.setfsuid(nobody)  # of this thread only; drops root's rights over files with it
    assert libc.setfsuid(nobody) == nobody
    yield folder
    libc.setfsuid(os.getuid())


def test_read_only_folders_are_removed_and_nothing_that_a_link_points_to(mortal: Path) -> None:
    session_id = make_session(mortal).id
    folders = make_folders(mortal / "state", session_id)
    outside = mortal / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    outside.chmod(0o500)
    deep = folders.home / "go" / "pkg"
    deep.mkdir(parents=True)
    (deep / "module").touch()
    (deep / "link").symlink_to(outside)
    for folder in (deep, deep.parent):
        folder.chmod(0o500)
    with pytest.raises(PermissionError):
        (deep / "module").unlink()
    remove_folders(mortal / "state", session_id)
    assert not folders.root.exists()
    assert (outside / "kept").exists()
    assert outside.stat().st_mode & 0o777 == 0o500


@pytest.mark.parametrize("session_id", ["..", "", "../x", "0B8CE4B6-7A5E-4B0E-9C53-1C4F1B2A3D4E", "a/b"])
def test_an_id_that_is_no_uuid_makes_no_folder(tmp_path: Path, session_id: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        make_folders(tmp_path, session_id)
    assert list(tmp_path.iterdir()) == []


def test_two_that_write_the_trampoline_at_once_do_not_meet(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    both = threading.Barrier(2, timeout=20)

    def write(_: int) -> None:
        both.wait()
        ensure_trampoline(state)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(50):
            list(threads.map(write, range(2)))
            trampoline(state).unlink()
    assert list(state.iterdir()) == []


def test_secrets_are_what_is_named_so_what_a_url_hides_and_what_mcp_servers_get() -> None:
    config = RuntimeConfig(
        Path("/state"),
        extra_env={"LANG": "C.UTF-8", "HTTPS_PROXY": "http://[broken"},
        mcp_servers={
            "local": {"command": "npx", "env": {"ANY_NAME": "of-the-server", "SHORT": "on"}},
            "far": {"url": "https://mcp.example", "headers": {"X-Team": "of-the-header"}},
        },
    )
    model = {"ANTHROPIC_API_KEY": "gw-token", "ANTHROPIC_BASE_URL": "http://me:hunter2@proxy:1/x"}
    assert config.secrets(model) == {"gw-token", "hunter2", "of-the-server", "of-the-header"}


def test_the_trampoline_is_written_once_and_repaired(tmp_path: Path) -> None:
    state = tmp_path / "it's a state"
    state.mkdir()
    ensure_trampoline(state)
    path = trampoline(state)
    written = path.stat()
    ensure_trampoline(state)
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    path.write_text("broken")
    ensure_trampoline(state)
    assert path.stat().st_mode & 0o777 == 0o755
    failed = subprocess.run(
        [path], env={"SERVICE": "x"}, capture_output=True, text=True, timeout=20, check=False
    )
    assert "FileNotFoundError" in failed.stderr
    assert list(state.iterdir()) == [path]
    assert os.access(path, os.X_OK)


async def test_tools_without_end_are_denied() -> None:
    """Whoever writes to the CLI's output asks for as many as it likes."""

    async def gate(*_: Any) -> bool:
        return True

    ordered = OrderedGate(gate)
    ordered.begin()
    for number in range(10_000):
        ordered.report(f"t{number}")
    assert await ordered.hook(GIVEN, "t9999", None) == {}
    denied = await ordered.hook(GIVEN, "one more", None)
    assert "more than 10000 tools" in denied["hookSpecificOutput"]["permissionDecisionReason"]
