"""`audit`, as people run it beside a service that has the database open."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from tests.service.commands.program import run, run_in_terminal
from tests.service.store.values import START
from typer.testing import CliRunner

from claude_agent_http.commands.cli import app
from claude_agent_http.domain.audit import AuditEntry, CallerKind
from claude_agent_http.store import sqlite_store
from claude_agent_http.system import SystemClock

ROUTE = "/api/v1/sessions/{session_id}"


def entry(
    number: int, status: int = 200, user: str = "alice", credential: str | None = "key:1"
) -> AuditEntry:
    return AuditEntry(
        f"aud_{number:05}",
        START + timedelta(hours=number),
        CallerKind.ANY_USER,
        credential,
        user,
        "DELETE",
        ROUTE,
        f"s{number}",
        None,
        status,
        "req_1",
        "::1",
    )


@asynccontextmanager
async def service_with(tmp_path: Path, *entries: AuditEntry) -> AsyncIterator[dict[str, str]]:
    """A service's store that holds these, open; yields the environment that names it."""
    store = sqlite_store(tmp_path / "agents.db", SystemClock())
    await store.open()
    await store.audit.add(entries)
    yield {"HOME": str(tmp_path), "CLAUDE_AGENT_SESSION_SQLITE_PATH": str(tmp_path / "agents.db")}
    await store.close()


def rows(env: dict[str, str], *arguments: str) -> list[dict[str, object]]:
    """In this process, for there are many."""
    ended = CliRunner().invoke(app, ["audit", "--json", *arguments], env=env)
    assert ended.exit_code == 0, ended.output
    found: list[dict[str, object]] = json.loads(ended.stdout)
    return found


async def test_every_filter_of_the_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLAUDE_AGENT_CONTAINER", "no")
    entries = (entry(1), entry(2, 404, "bob"), entry(3, 503, credential="file:ci"), entry(4, 422))
    async with service_with(tmp_path, *entries) as env:
        for arguments, wanted in (
            ([], [4, 3, 2, 1]),
            (["--user", "bob"], [2]),
            (["--session", "s3"], [3]),
            (["--credential", "file:ci"], [3]),
            (["--result", "denied"], [2]),
            (["--result", "refused"], [4]),
            (["--since", "2026-01-02T06:04:05.678901+01:00"], [4, 3, 2]),
            (["--until", "2026-01-02T05:04:05.678901Z", "--user", "alice"], [1]),
            (["--limit", "2"], [4, 3]),
            (["--user", "nobody"], []),
        ):
            found = await asyncio.to_thread(rows, env, *arguments)
            assert [row["id"] for row in found] == [f"aud_{number:05}" for number in wanted], arguments
        [one] = await asyncio.to_thread(rows, env, "--user", "bob")
    assert (one["result"], one["status"], one["route"], one["caller"]) == ("denied", 404, ROUTE, "any_user")
    assert one["at"] == (START + timedelta(hours=2)).isoformat()


async def test_more_than_a_page_is_read_once_and_a_pipe_gets_lines(tmp_path: Path) -> None:
    hostile = entry(2000, 401, credential="token:\x1b[2Jx\ty\n")
    async with service_with(tmp_path, hostile, *map(entry, range(1500))) as env:
        arguments = ("audit", "--limit", "1400")
        ended = await asyncio.to_thread(run, *arguments, cwd=tmp_path, env=env)
    head, *lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert head[:3] == ["at", "result", "status"]
    assert [line[7] for line in lines] == ["s2000", *(f"s{number}" for number in range(1499, 100, -1))]
    assert lines[0][1:5] == ["denied", "401", "any_user", "token:?[2Jx?y?"]
    assert "\x1b" not in ended.stdout


async def test_a_terminal_gets_a_table_in_colour(tmp_path: Path) -> None:
    async with service_with(tmp_path, entry(1, 500)) as env:
        text = await asyncio.to_thread(run_in_terminal, "audit", cwd=tmp_path, env=env, columns=200)
    assert "\x1b[1;31mfailed" in text
    assert f"DELETE {ROUTE}" in text
    assert "\t" not in text


@pytest.mark.parametrize(
    ("arguments", "env", "code", "said"),
    [
        (["--since", "2026-01-31"], {}, 2, "should be a time with its zone"),
        (["--until", "12"], {}, 2, "should be a time with its zone"),
        (["--result", "bad"], {}, 2, "'bad'"),
        (["--limit", "0"], {}, 2, "--limit"),
        ([], {}, 1, "it does not exist yet; the service makes it"),
        ([], {"CLAUDE_AGENT_SESSION_STORAGE": "memory"}, 1, "GET /api/v1/admin/audit"),
    ],
)
def test_what_cannot_be_shown_is_told(
    arguments: list[str], env: dict[str, str], code: int, said: str, tmp_path: Path
) -> None:
    ended = run("audit", *arguments, cwd=tmp_path, env={"HOME": str(tmp_path)} | env)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr
    assert list(tmp_path.iterdir()) == []
