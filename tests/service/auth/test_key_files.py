"""Keys in files: what a file may say, and that a change of the folder is seen."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.waiting import until

from claude_agent_http.auth import KeyFiles
from claude_agent_http.auth.key_file import KeyFileError, parse_key_file
from claude_agent_http.domain.api_key import digest_of
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import NotAuthenticatedError

KEY, OTHER = "k" * 24, "o" * 24


@pytest.mark.parametrize(
    ("content", "caller"),
    [
        (KEY, Caller(acts_for_any=True)),
        (f"  {KEY}\n", Caller(acts_for_any=True)),
        ({"key": KEY, "user_id": "alice"}, Caller("alice")),
        ({"sha256": digest_of(KEY).upper(), "act_as": True}, Caller(acts_for_any=True)),
        ({"key": KEY, "admin": True}, Caller(is_admin=True)),
        ({"key": KEY, "user_id": "alice", "admin": True, "act_as": False}, Caller("alice", is_admin=True)),
    ],
)
async def test_what_a_file_may_say(tmp_path, clock, content, caller):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "ci").write_text(text)
    files = KeyFiles(tmp_path, clock)
    files.read()
    found = await files.recognize(KEY)
    assert found == Caller(caller.user_id, caller.acts_for_any, caller.is_admin, credential="file:ci")
    assert await files.recognize(OTHER) is None
    assert await files.recognize("\ud800") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "at least 24"),
        (b"short", "at least 24"),
        (b"with space " * 5, "without spaces"),
        ("\u00e4".encode() * 30, "printable ASCII"),
        (b"\xff" * 30, "UTF-8"),
        (b"{", "is none"),
        (b'{"key": "' + b"[" * 100_000, "is none"),
        (json.dumps({"key": KEY}).encode(), "user_id"),
        (json.dumps({"user_id": "alice"}).encode(), "`key`, a text, or `sha256`"),
        (json.dumps({"key": 1, "user_id": "alice"}).encode(), "`key`, a text, or `sha256`"),
        (json.dumps({"key": KEY, "sha256": "0" * 64, "user_id": "alice"}).encode(), "not both"),
        (json.dumps({"sha256": "0" * 63, "user_id": "alice"}).encode(), "64 hexadecimal"),
        (json.dumps({"key": KEY, "user_id": "../bob"}).encode(), "user_id"),
        (json.dumps({"key": KEY, "user_id": 1}).encode(), "user_id"),
        (json.dumps({"key": KEY, "user_id": "alice", "act_as": True}).encode(), "user_id: leave it out"),
        (json.dumps({"key": KEY, "admin": "yes"}).encode(), "admin: should be true or false"),
        (json.dumps({"key": KEY, "user": "alice"}).encode(), r"unknown fields \['user'\]"),
        (json.dumps({"key": KEY, "admin": True, "expires": "soon"}).encode(), "expires"),
        (json.dumps({"key": KEY, "admin": True, "expires": 5}).encode(), "expires"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_its_key(content, said):
    with pytest.raises(KeyFileError, match=said) as caught:
        parse_key_file("ci", content)
    assert KEY not in str(caught.value)


async def test_a_key_expires(tmp_path, clock):
    moment = (clock.now() + timedelta(hours=1)).replace(tzinfo=None).isoformat()
    (tmp_path / "ci").write_text(json.dumps({"key": KEY, "admin": True, "expires": moment}))
    files = KeyFiles(tmp_path, clock)
    files.read()
    assert await files.recognize(KEY)
    clock.advance(3600)
    with pytest.raises(NotAuthenticatedError, match="'ci' expired"):
        await files.recognize(KEY)


async def test_a_wrong_file_opens_nothing_and_the_others_do(tmp_path, clock, caplog):
    (tmp_path / "bad").write_text("{")
    (tmp_path / "big").write_text("x" * 20_000)
    (tmp_path / "good").write_text(KEY)
    (tmp_path / ".hidden").write_text(OTHER)
    (tmp_path / "folder").mkdir()
    files = KeyFiles(tmp_path, clock)
    files.read()
    assert len(files) == 1
    assert (await files.recognize(KEY)).credential == "file:good"
    assert await files.recognize(OTHER) is None


async def test_a_change_is_seen_without_a_restart(tmp_path, clock):
    (tmp_path / "one").write_text(KEY)
    files = KeyFiles(tmp_path, clock, poll_seconds=0.01)

    async def opens(key):
        return await files.recognize(key) is not None

    async with files.followed():
        assert await opens(KEY)
        (tmp_path / "two").write_text(OTHER)
        await until(lambda: opens(OTHER))
        (tmp_path / "one").write_text("n" * 24)
        await until(lambda: opens("n" * 24))
        assert not await opens(KEY)
        (tmp_path / "two").unlink()
        await until(lambda: _closed(opens, OTHER))


async def _closed(opens, key):
    return not await opens(key)


async def test_a_secret_that_kubernetes_swaps_is_seen(tmp_path, clock):
    """It renames a link to a folder, behind which every file is new."""

    def publish(name: str, key: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "ci").write_text(key)
        (tmp_path / "..new").symlink_to(name)
        os.replace(tmp_path / "..new", tmp_path / "..data")

    publish("..2026_01", KEY)
    (tmp_path / "ci").symlink_to(Path("..data") / "ci")
    files = KeyFiles(tmp_path, clock)
    files.read()
    assert (await files.recognize(KEY)).credential == "file:ci"
    publish("..2026_02", OTHER)
    files.read()
    assert await files.recognize(OTHER)
    assert await files.recognize(KEY) is None


async def test_a_folder_that_goes_takes_its_keys_along(tmp_path, clock):
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "ci").write_text(KEY)
    files = KeyFiles(folder, clock)
    files.read()
    (folder / "ci").unlink()
    folder.rmdir()
    files.read()
    assert await files.recognize(KEY) is None
