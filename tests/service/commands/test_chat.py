"""The terminal client as a process, against a small real server on loopback."""

import asyncio
import json
import os
import pty
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.service.commands.program import LIMIT_SECONDS, command, environment, run

SESSION = "5d0c2a9e-6f1e-4d0e-9f41-0a4b7f0c1d2e"


@dataclass
class StandIn:
    """What the service would say to each message, and what it was asked."""

    url: str = ""
    messages: list[str] = field(default_factory=list)
    users: list[str | None] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    interrupts: list[str] = field(default_factory=list)
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    shown: list[str | None] = field(default_factory=list)
    """The Authorization of each request that it had to know."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/v1/sessions", self.create, methods=["POST"]),
                Route("/api/v1/sessions/{id}", self.get),
                Route("/api/v1/sessions/{id}/interrupt", self.interrupt, methods=["POST"]),
                Route("/api/v1/chat/stream", self.stream, methods=["POST"]),
            ]
        )

    async def create(self, request: Request) -> Response:
        user = (await request.json()).get("user_id")
        self.users.append(user)
        self.shown.append(request.headers.get("authorization"))
        if self.shown[-1] == "Bearer wrong":
            return JSONResponse({"detail": "the credential is not known"}, 401)
        if user == "full":
            return JSONResponse({"detail": "no room for user full"}, 429)
        return JSONResponse({"session_id": SESSION}, 201)

    async def get(self, request: Request) -> Response:
        known = request.path_params["id"] == SESSION
        return JSONResponse(
            {"session_id": SESSION} if known else {"detail": "no such session"}, 200 if known else 404
        )

    async def interrupt(self, request: Request) -> Response:
        self.interrupts.append(request.path_params["id"])
        self.interrupted.set()
        return JSONResponse({})

    async def stream(self, request: Request) -> Response:
        self.shown.append(request.headers.get("authorization"))
        asked = await request.json()
        message = asked["message"].strip()
        self.messages.append(message)
        self.timeouts.append(asked["timeout"])
        if message == "busy":
            return JSONResponse({"detail": "a turn runs already"}, 429)
        if message == "proxy":
            return PlainTextResponse("Bad gateway", 502)
        return StreamingResponse(self.chunks(message), media_type="text/event-stream")

    async def chunks(self, message: str) -> AsyncIterator[bytes]:
        yield b": ping\r\n\r\n"
        if message == "cut":
            yield data({"type": "text_delta", "text": "half"})
            return
        if message == "garbage":
            yield b"data: {nonsense\n\n"
            return
        if message == "fail":
            yield data({"type": "error", "error": "the model is away"})
            return
        if message == "ask":
            asked = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "approval_id": "sevt_1"}
            yield data({"type": "approval_required", **asked})
            yield data({"type": "of a later version"})
            yield data({"type": "done"})
            return
        if message in {"wait", "hang"}:
            yield data({"type": "text_delta", "text": "waiting"})
            await (self.interrupted.wait() if message == "wait" else asyncio.sleep(LIMIT_SECONDS))
            yield data({"type": "done"})
            return
        whole = data({"type": "text_delta", "text": f"echo\u2028{message} \x1b[31m"})
        yield whole[:25]
        yield whole[25:]
        yield data({"type": "tool_use", "tool_name": "Bash", "tool_input": {"command": "ls"}})
        yield data({"type": "text_delta", "text": "bye"})
        yield data({"type": "done"})


def data(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n".encode()


@pytest.fixture
def service() -> Iterator[StandIn]:
    stand_in = StandIn()
    config = uvicorn.Config(stand_in.app(), log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    stand_in.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield stand_in
    server.should_exit = True
    thread.join(LIMIT_SECONDS)
    listener.close()


def test_one_message(service: StandIn, tmp_path: Path):
    ended = run("chat", "--url", service.url, "--user", "alice", "--once", "hi", cwd=tmp_path)
    assert ended.returncode == 0
    assert ended.stdout == "echo\u2028hi \x1b[31m\nbye\n"
    assert '[Bash] {"command": "ls"}' in ended.stderr
    assert f"session {SESSION}" in ended.stderr
    assert (service.users, service.messages) == (["alice"], ["hi"])


def test_a_tool_that_waits_is_told_and_what_is_not_known_is_passed_over(service: StandIn, tmp_path: Path):
    ended = run("chat", "--url", service.url, "--once", "ask", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert f"/api/v1/sessions/{SESSION}/approvals/sevt_1" in ended.stderr


@pytest.mark.parametrize("user", [None, "alice"])
def test_a_key_is_shown_and_says_who_the_user_is(service: StandIn, tmp_path: Path, user: str | None):
    env = {"HOME": str(tmp_path), "CLAUDE_AGENT_API_KEY": "cah_1_2"}
    whose = ["--user", user] if user else []
    ended = run("chat", "--url", service.url, "--once", "hi", *whose, cwd=tmp_path, env=env)
    assert ended.returncode == 0
    assert (service.users, service.shown) == ([user], ["Bearer cah_1_2"] * 2)
    assert "cah_1_2" not in ended.stdout + ended.stderr
    run("chat", "--url", service.url, "--once", "hi", "--api-key", "other", cwd=tmp_path, env=env)
    assert service.shown[-1] == "Bearer other"


def test_without_a_key_none_is_shown_and_a_refusal_says_how(service: StandIn, tmp_path: Path):
    env = {"HOME": str(tmp_path), "CLAUDE_AGENT_API_KEY": ""}
    assert run("chat", "--url", service.url, "--once", "hi", cwd=tmp_path, env=env).returncode == 0
    assert (service.users, service.shown) == (["me"], [None, None])
    for key, said in (("wrong", "CLAUDE_AGENT_API_KEY"), ("two words", "without spaces")):
        ended = run("chat", "--url", service.url, "--once", "hi", "--api-key", key, cwd=tmp_path)
        assert ended.returncode == 1
        assert said in ended.stderr
        assert key not in ended.stderr


@pytest.mark.parametrize(("given", "asked"), [([], 600), (["--timeout", "7"], 7)])
def test_an_answer_may_take_as_long_as_it_is_given(
    service: StandIn, tmp_path: Path, given: list[str], asked: float
):
    assert run("chat", "--url", service.url, "--once", "hi", *given, cwd=tmp_path).returncode == 0
    assert service.timeouts == [asked]


def test_messages_through_a_pipe(service: StandIn, tmp_path: Path):
    ended = run("chat", "--url", service.url, cwd=tmp_path, given="one\n\n  \ntwo")
    assert ended.returncode == 0
    assert service.messages == ["one", "two"]
    assert "echo\u2028two" in ended.stdout
    again = f"-m claude_agent_http chat --url {service.url} --session {SESSION}"
    assert again in ended.stderr


def test_an_old_session_goes_on(service: StandIn, tmp_path: Path):
    ended = run("chat", "--url", service.url, "--session", SESSION, "--once", "again", cwd=tmp_path)
    assert (ended.returncode, service.users, service.messages) == (0, [], ["again"])


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--session", "none", "--once", "x"], "error: no such session"),
        (["--session", "../x?y", "--once", "x"], "error: "),
        (["--user", "full"], "error: no room for user full"),
        (["--once", "busy"], "error: a turn runs already"),
        (["--once", "proxy"], "error: the service answered 502 Bad Gateway"),
        (["--once", "fail"], "error: the model is away"),
        (["--once", "cut"], "error: the stream ended before the turn did"),
        (["--once", "garbage"], "sent a stream that is not ours"),
    ],
)
def test_what_goes_wrong_is_said_and_ends_with_1(
    arguments: list[str], wanted: str, service: StandIn, tmp_path: Path
):
    ended = run("chat", "--url", service.url, *arguments, cwd=tmp_path)
    assert ended.returncode == 1
    assert wanted in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_refused_message_does_not_end_a_conversation(service: StandIn, tmp_path: Path):
    ended = run("chat", "--url", service.url, cwd=tmp_path, given="busy\nhi\n")
    assert (ended.returncode, service.messages) == (1, ["busy", "hi"])
    assert "bye" in ended.stdout


def test_no_service_there(tmp_path: Path):
    ended = run("chat", "--url", "http://127.0.0.1:1", "--once", "x", cwd=tmp_path)
    assert ended.returncode == 1
    assert "-m claude_agent_http serve`" in ended.stderr


@pytest.mark.parametrize("url", ["", "localhost:1", "127.0.0.1:1", "http://", "http://[", "ftp://x"])
def test_what_is_no_address_of_a_service_is_not_asked(url: str, tmp_path: Path):
    ended = run("chat", "--url", url, "--once", "x", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: --url should be like http://127.0.0.1:8000, but ")
    assert "serve" not in ended.stderr


@pytest.mark.parametrize("locale", ["C.UTF-8", "C", "POSIX"])
def test_a_line_that_is_no_text_costs_no_other_line(locale: str, service: StandIn, tmp_path: Path):
    ended = subprocess.run(
        command("chat", "--url", service.url),
        cwd=tmp_path,
        env=environment({"HOME": str(tmp_path), "LANG": locale}),
        input=b"one\n" + "zwölf\n".encode("latin-1") + "zwölf\n".encode(),
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (ended.returncode, service.messages) == (1, ["one", "zwölf"])
    assert b"error: the message is no text in UTF-8" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_an_argument_that_is_no_text(service: StandIn, tmp_path: Path):
    ended = subprocess.run(
        [*command("chat", "--url", service.url, "--once"), b"zw\xf6lf"],
        cwd=tmp_path,
        env=environment({"HOME": str(tmp_path)}),
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (ended.returncode, service.users) == (1, [])
    assert ended.stderr.startswith(b"error: the message is no text in UTF-8")


def test_interrupt_ends_the_turn_at_the_service(service: StandIn, tmp_path: Path):
    with program(service, tmp_path, "wait") as chat:
        assert chat.stdout is not None
        assert chat.stdout.read(7) == b"waiting"
        chat.send_signal(signal.SIGINT)
        _, errors = chat.communicate(timeout=LIMIT_SECONDS)
    assert chat.returncode == 0
    assert b"interrupting" in errors
    assert service.interrupts == [SESSION]


def test_a_second_interrupt_leaves(service: StandIn, tmp_path: Path):
    with program(service, tmp_path, "hang") as chat:
        assert chat.stdout is not None
        assert chat.stderr is not None
        assert chat.stdout.read(7) == b"waiting"
        chat.send_signal(signal.SIGINT)
        while b"interrupting" not in chat.stderr.readline():
            assert chat.poll() is None
        chat.send_signal(signal.SIGINT)
        chat.communicate(timeout=LIMIT_SECONDS)
    assert chat.returncode == 130


def test_an_answer_cannot_drive_the_terminal(service: StandIn, tmp_path: Path):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("chat", "--url", service.url, "--once", "hi"),
        cwd=tmp_path,
        env=environment({"HOME": str(tmp_path), "TERM": "dumb"}),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ) as chat:
        os.close(theirs)
        chat.wait(LIMIT_SECONDS)
        shown = os.read(ours, 10_000)
    os.close(ours)
    assert b"hi [31m" in shown
    assert b"\x1b" not in shown


def program(service: StandIn, cwd: Path, message: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("chat", "--url", service.url, "--once", message),
        cwd=cwd,
        env=environment({"HOME": str(cwd), "PYTHONUNBUFFERED": "1"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
