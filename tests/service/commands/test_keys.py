"""`keys`, as people run it."""

import json
import os
import re
from pathlib import Path

import pytest
from tests.service.commands.program import run, run_in_terminal


def make(tmp_path: Path, *arguments: str) -> str:
    ended = run("keys", "create", *arguments, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_a_key_is_all_that_stands_on_stdout(tmp_path: Path):
    ended = run("keys", "create", "ci", "--user", "alice", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    [key] = ended.stdout.splitlines()
    assert key.startswith("cah_")
    assert f"key {key.split('_')[1]} (ci)" in ended.stderr
    assert key not in ended.stderr
    assert key not in run("keys", "list", "--json", cwd=tmp_path).stdout
    database = next((tmp_path / "data").rglob("*.db"))
    assert key.split("_")[2].encode() not in b"".join(
        file.read_bytes() for file in database.parent.iterdir() if file.is_file()
    )


def test_the_list_says_what_each_key_may_do(tmp_path: Path):
    assert run("keys", "list", "--json", cwd=tmp_path).stdout == "[]\n"
    one = make(tmp_path, "one", "--user", "alice", "--days", "30").split("_")[1]
    two = json.loads(make(tmp_path, "two", "--act-as", "--admin", "--json"))
    assert two["key"].startswith(f"cah_{two['id']}_")
    head, *rows = [row.split("\t") for row in run("keys", "list", cwd=tmp_path).stdout.splitlines()]
    assert head[:4] == ["id", "name", "for", "admin"]
    assert [row[:4] for row in rows] == [[two["id"], "two", "any user", "yes"], [one, "one", "alice", "-"]]
    assert [row[-1] for row in rows] == ["open", "open"]
    assert rows[0][5] == "-" != rows[1][5]
    listed = json.loads(run("keys", "list", "--json", cwd=tmp_path).stdout)
    assert [(key["id"], key["user_id"], key["act_as"], key["admin"]) for key in listed] == [
        (two["id"], None, True, True),
        (one, "alice", False, False),
    ]


def test_a_terminal_gets_a_table(tmp_path: Path):
    make(tmp_path, "one", "--user", "alice")
    text = run_in_terminal("keys", "list", cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert "alice" in text
    assert "last used" in text
    assert "\t" not in text


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_terminal_of_any_width_shows_the_ids_whole(tmp_path: Path, columns: int):
    long = make(tmp_path, "a-name-of-many-letters", "--user", f"user-{59 * 'x'}", "--days", "30").split("_")[
        1
    ]
    short = make(tmp_path, "one", "--act-as", "--admin").split("_")[1]
    env = {"HOME": str(tmp_path)}
    text = run_in_terminal("keys", "list", cwd=tmp_path, env=env, columns=columns)
    assert long in text
    assert short in text
    assert "…" not in text
    assert ("created" in text) == (columns == 200)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= columns


def test_revoke_by_the_id_or_by_what_begins_like_the_key(tmp_path: Path):
    keys = [make(tmp_path, name, "--act-as") for name in ("one", "two")]
    ids = [key.split("_")[1] for key in keys]
    for given in (ids[0], f"cah_{ids[1]}"):
        ended = run("keys", "revoke", given, cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (0, "")
        assert "is revoked" in ended.stderr
    states = [row.split("\t")[-1] for row in run("keys", "list", cwd=tmp_path).stdout.splitlines()[1:]]
    assert states == ["revoked", "revoked"]
    ended = run("keys", "revoke", "unknown", cwd=tmp_path)
    assert ended.returncode == 1
    assert "there is no API key 'unknown'" in ended.stderr


def test_what_is_done_to_keys_here_stands_in_the_audit(tmp_path: Path):
    asks = {"HOME": str(tmp_path), "CLAUDE_AGENT_AUTH": "api-keys"}
    key_id = run("keys", "create", "ci", "--user", "alice", cwd=tmp_path, env=asks).stdout.split("_")[1]
    assert run("keys", "create", "ci", "--user", "../bob", cwd=tmp_path, env=asks).returncode == 1
    assert run("keys", "revoke", key_id, cwd=tmp_path, env=asks).returncode == 0
    assert run("keys", "list", cwd=tmp_path, env=asks).returncode == 0
    for env in ({"HOME": str(tmp_path)}, asks | {"CLAUDE_AGENT_AUDIT_ENABLED": "false"}):
        assert run("keys", "create", "unheard", "--act-as", cwd=tmp_path, env=env).returncode == 0
    revoked, made = json.loads(run("audit", "--json", cwd=tmp_path, env=asks).stdout)
    for entry, route, status in ((made, "keys create", 201), (revoked, "keys revoke", 204)):
        assert (entry["caller"], entry["credential"]) == ("cli", f"uid:{os.getuid()}")
        assert (entry["route"], entry["status"], entry["result"]) == (route, status, "done")
        assert (entry["key_id"], entry["user_id"]) == (key_id, "alice")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ci"], "user_id: say whose key it is"),
        (["ci", "--user", "alice", "--act-as"], "user_id: leave it out"),
        (["ci", "--user", "../bob"], "user_id: should be 1 to 64"),
        ([" ", "--act-as"], "name: should be"),
    ],
)
def test_a_bad_key_is_not_made(tmp_path: Path, arguments: list[str], said: str):
    ended = run("keys", "create", *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in ended.stderr
    assert run("keys", "list", "--json", cwd=tmp_path).stdout == "[]\n"


def test_memory_keeps_no_keys_and_says_what_does(tmp_path: Path):
    env = {"CLAUDE_AGENT_SESSION_STORAGE": "memory", "HOME": str(tmp_path)}
    ended = run("keys", "create", "ci", "--act-as", cwd=tmp_path, env=env)
    assert ended.returncode == 1
    assert "auth.keys_dir" in ended.stderr
    assert "Traceback" not in ended.stderr
