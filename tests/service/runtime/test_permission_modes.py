"""What the real CLI asks about in each of its modes, and what it does by itself."""

import json
from typing import Any

import pytest
from tests.service.runtime.conftest import REPORT, Runtimes, User, bash, run_turn, script

pytestmark = pytest.mark.tier("cli")


def write(runtimes: Runtimes) -> dict[str, Any]:
    return {"tool": "Write", "input": {"file_path": str(runtimes.workspace / "made"), "content": "x"}}


def asked(user: User) -> list[str]:
    return [tool.name for tool in user.asked]


@pytest.fixture
def user() -> User:
    user = User()
    user.go.set()
    return user


@pytest.mark.parametrize(
    ("mode", "about", "is_made"),
    [
        ("default", ["Write"], True),
        ("acceptEdits", [], True),
        ("plan", ["Write"], True),
        ("bypassPermissions", [], True),
        ("dontAsk", [], False),
    ],
)
async def test_a_mode_asks_about_what_it_leaves_open(runtimes: Runtimes, user: User, mode, about, is_made):
    async with runtimes.open(ask=user, permission_mode=mode) as runtime:
        await run_turn(runtime, script(write(runtimes), REPORT))
    assert (asked(user), (runtimes.workspace / "made").exists()) == (about, is_made)


async def test_what_only_reads_is_not_asked_about_and_the_gate_sees_it_all_the_same(
    runtimes: Runtimes, user: User
):
    (runtimes.workspace / "notes").write_text("here")
    read = {"tool": "Read", "input": {"file_path": str(runtimes.workspace / "notes")}}
    outside = {"tool": "Read", "input": {"file_path": "/etc/hostname"}}
    async with runtimes.open(ask=user, permission_mode="default") as runtime:
        turn = await run_turn(runtime, script(read, bash("ls"), outside, REPORT))
    assert [name for _, name, _ in runtimes.gate.asked] == ["Read", "Bash", "Read"]
    assert [tool.input for tool in user.asked] == [{"file_path": "/etc/hostname"}]
    assert "outside" in (user.asked[0].reason or "")
    assert [event["is_error"] for event in turn.of("agent.tool_result")] == [False, False, False]


@pytest.mark.parametrize("rule", ["Bash", "Bash(touch:*)"])
async def test_what_is_allowed_is_not_asked_about(runtimes: Runtimes, user: User, rule):
    options = {"permission_mode": "default", "allowed_tools": [rule]}
    async with runtimes.open(ask=user, **options) as runtime:  # type: ignore[arg-type]
        await run_turn(runtime, script(bash("touch made"), write(runtimes), REPORT))
    assert asked(user) == ["Write"]


async def test_a_tool_for_questions_is_taken_away(runtimes: Runtimes, demo, user: User):
    async with runtimes.open(ask=user, permission_mode="default") as runtime:
        await run_turn(runtime, script({"text": "which tools?"}))
    [request] = demo.requests("which tools?")
    assert "Bash" in json.dumps(request)
    assert "AskUserQuestion" not in json.dumps(request)
