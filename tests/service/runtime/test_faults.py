"""A model and a CLI that misbehave: what the turn says, how soon, and that no process is left."""

import asyncio
import shutil
import sys
import time
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from tests.service.runtime import stand_in_cli
from tests.service.runtime.conftest import SECRET, Runtimes, bash, run_turn, script

from claude_agent_http.domain.errors import RuntimeDiedError, RuntimeStartError
from claude_agent_http.domain.turn import ErrorKind, StopReason
from claude_agent_http.ports import AgentRuntime

FAULTS: dict[ErrorKind, list[dict[str, Any]]] = {
    ErrorKind.MODEL_RATE_LIMITED: [{"status": 429}],
    ErrorKind.MODEL_OVERLOADED: [{"status": 529}],
    ErrorKind.MODEL_AUTHENTICATION: [{"status": 401}, {"status": 403}],
    ErrorKind.MODEL_REQUEST_FAILED: [
        {"status": 400},
        {"status": 500},
        {"garbage": True},
        {"cut": 2, "text": "a b c d"},
        {"hang": 0.1},
    ],
}


@pytest.mark.tier("cli")
async def test_each_failure_of_the_model_has_its_error_and_the_session_goes_on(runtimes: Runtimes) -> None:
    async with runtimes.open(model_retries=0) as runtime:
        for kind, steps in FAULTS.items():
            for step in steps:
                turn = await run_turn(runtime, script(step))
                assert turn.end.error is not None, step
                assert (turn.end.error.kind, turn.end.stop_reason) == (kind, StopReason.RETRIES_EXHAUSTED), (
                    step
                )
                assert SECRET not in turn.end.error.message
                assert "agent.message" not in turn.types, step
                ends = turn.of("span.model_request_end")
                assert [end["is_error"] for end in ends] == [True] * len(ends), step
                assert len(turn.of("span.model_request_start")) == len(ends) > 0
        assert (await run_turn(runtime, script({"text": "fine"}))).text == "fine"


@pytest.mark.tier("cli")
async def test_a_failure_that_passes_is_retried(runtimes: Runtimes) -> None:
    async with runtimes.turn(
        script({"status": 529, "times": 1, "text": "got there"}), model_retries=2
    ) as turn:
        assert turn.text == "got there"
        assert turn.end.error is None


@pytest.mark.tier("cli")
async def test_a_model_that_falls_silent_is_given_up(runtimes: Runtimes) -> None:
    began = time.monotonic()
    limits = {"model_retries": 0, "model_silence_seconds": 10}
    once = {"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1"}
    async with runtimes.turn(script({"stall": 60}), **limits, extra_env=once) as turn:
        assert turn.end.error is not None
        assert turn.end.error.kind is ErrorKind.MODEL_REQUEST_FAILED
    assert time.monotonic() - began < 20


@pytest.mark.tier("cli")
async def test_an_idle_cli_closes_within_a_second(runtimes: Runtimes) -> None:
    async with runtimes.open() as runtime:
        await run_turn(runtime, "hello")
        began = time.monotonic()
    assert time.monotonic() - began < 1


@pytest.mark.tier("cli", "linux")
async def test_closing_in_the_middle_of_a_tool_leaves_no_process(runtimes: Runtimes) -> None:
    command = "setsid sleep 4242 & setsid sh -c 'sleep 4243; :' & sleep 4244"

    async def serve() -> None:
        async with runtimes.open() as runtime:
            await run_turn(runtime, script(bash(command)))

    serving = asyncio.create_task(serve())
    async with asyncio.timeout(20):
        while len(running("sleep\x00424")) < 3:  # noqa: ASYNC110 - another program's processes
            await asyncio.sleep(0.01)
    began = time.monotonic()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert time.monotonic() - began < 8
    assert running("sleep\x00424") == []


def running(text: str) -> list[str]:
    """The command lines of living processes that hold this text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text(errors="replace"))
    return [command for command in found if text in command]


class StandIns:
    """Runtimes over the stand-in CLI, which misbehaves as it is told."""

    def __init__(self, runtimes: Runtimes, folder: Path) -> None:
        self._runtimes = runtimes
        self.folder = folder / "stand-in"
        self.folder.mkdir()
        text = Path(stand_in_cli.__file__).read_text()
        self._cli = self.folder / "claude"
        self._cli.write_text(f"#!{sys.executable}\n{text}")
        self._cli.chmod(0o755)

    def open(self, how: str, **changes: Any) -> AbstractAsyncContextManager[AgentRuntime]:
        (self.folder / "how").write_text(how)
        return self._runtimes.open(cli_path=self._cli, **changes)

    def left(self) -> list[str]:
        return running(str(self.folder))


@pytest.fixture
def stand_ins(runtimes: Runtimes, folder: Path) -> StandIns:
    return StandIns(runtimes, folder)


linux = pytest.mark.tier("linux")


@linux
async def test_a_line_of_5_mb_passes(stand_ins: StandIns) -> None:
    async with stand_ins.open("floods") as runtime:
        turn = await run_turn(runtime, "hi")
        assert len(turn.text) == 5_000_000
        assert turn.end.stop_reason is StopReason.END_TURN


@linux
async def test_a_line_of_millions_of_values_is_a_death_and_keeps_nobody_waiting(stand_ins: StandIns) -> None:
    """To parse it takes seconds of the service's loop, in which all other agents stand still."""
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)  # any task that wants its turn
            longest = max(longest, time.monotonic() - began)

    async with stand_ins.open("nests") as runtime:
        looking = asyncio.create_task(look())
        with pytest.raises(RuntimeDiedError, match="more than 100000 values"):
            await run_turn(runtime, "hi")
        looking.cancel()
    assert longest < 1
    assert stand_ins.left() == []


@linux
async def test_output_that_is_no_message_is_passed_over(stand_ins: StandIns) -> None:
    async with stand_ins.open("noise") as runtime:
        assert (await run_turn(runtime, "hi")).text == "hello"


@linux
async def test_what_belongs_to_another_turn_neither_shows_nor_ends_ours(stand_ins: StandIns) -> None:
    async with stand_ins.open("strays") as runtime:
        turn = await run_turn(runtime, "hi")
    assert turn.text == "yours"


@linux
@pytest.mark.parametrize("how", ["cuts", "garbage", "malformed", "leaves"])
async def test_output_without_sense_or_end_is_a_death(stand_ins: StandIns, how: str) -> None:
    async with stand_ins.open(how) as runtime:
        with pytest.raises(RuntimeDiedError, match="in the middle of the turn") as died:
            await run_turn(runtime, "hi")
    assert "stand-in starts" in str(died.value)
    assert SECRET not in str(died.value)
    assert "this is no JSON" not in str(died.value)
    assert stand_ins.left() == []


@linux
async def test_a_cli_that_exits_at_once_is_told_with_its_last_words_and_no_key(stand_ins: StandIns) -> None:
    with pytest.raises(RuntimeStartError, match=r"exit code 9.*stand-in starts: exits") as failed:
        async with stand_ins.open("exits"):
            pass
    assert SECRET not in str(failed.value)


@linux
async def test_a_cli_that_never_gets_ready_is_ended_in_time(stand_ins: StandIns) -> None:
    began = time.monotonic()
    with pytest.raises(RuntimeStartError, match=r"not ready within 0.5 s"):
        async with stand_ins.open("silent", start_timeout=0.5):
            pass
    assert time.monotonic() - began < 3
    assert stand_ins.left() == []


@linux
async def test_a_cli_that_does_not_leave_is_ended_in_time(stand_ins: StandIns) -> None:
    async with stand_ins.open("stays", close_grace=0.5) as runtime:
        assert (await run_turn(runtime, "hi")).text == "hello"
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert stand_ins.left() == []


@linux
async def test_an_error_in_the_body_still_ends_the_process(stand_ins: StandIns) -> None:
    with pytest.raises(ZeroDivisionError):
        async with stand_ins.open("answers"):
            _ = 1 / 0
    assert stand_ins.left() == []


@linux
async def test_a_missing_workspace_is_a_start_error(runtimes: Runtimes) -> None:
    shutil.rmtree(runtimes.workspace)
    with pytest.raises(RuntimeStartError, match=r"[Ww]orking directory does not exist"):
        async with runtimes.open():
            pass


async def test_a_state_folder_that_cannot_be_made_is_a_start_error(runtimes: Runtimes, folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(RuntimeStartError):
        async with runtimes.open(state_dir=folder / "file" / "state"):
            pass


async def test_forgetting_removes_the_sessions_folder_only(stand_ins: StandIns, runtimes: Runtimes) -> None:
    async with stand_ins.open("answers"):
        pass
    state = runtimes.config.state_dir
    other = state / "0b8ce4b6-7a5e-4b0e-9c53-1c4f1b2a3d4e"
    other.mkdir()
    assert (state / runtimes.session.id).stat().st_mode & 0o777 == 0o700
    await runtimes.factory().forget(runtimes.session)
    await runtimes.factory().forget(runtimes.session)
    assert not (state / runtimes.session.id).exists()
    assert other.exists()
    with pytest.raises(ValueError, match="UUID"):
        await runtimes.factory().forget(replace(runtimes.session, id="../.."))


async def test_what_a_start_leaves_is_found_by_its_user(stand_ins: StandIns, runtimes: Runtimes) -> None:
    async with stand_ins.open("answers"):
        pass
    folder = runtimes.config.state_dir / runtimes.session.id
    await runtimes.factory().forget_user("bob")
    assert folder.exists()
    await runtimes.factory().forget_user(runtimes.session.user_id)
    assert not folder.exists()


async def test_what_cannot_be_forgotten_is_told_in_the_log(runtimes: Runtimes) -> None:
    runtimes.config.state_dir.touch()  # a file, where a folder should be
    with structlog.testing.capture_logs() as logged:
        await runtimes.factory().forget(runtimes.session)
    assert [(line["log_level"], line["session_id"]) for line in logged] == [("error", runtimes.session.id)]
    assert "Not a directory" in logged[0]["reason"]
