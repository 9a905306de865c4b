"""Where the model is and what it takes: from texts, and from files that change."""

import os
from pathlib import Path

import pytest
from tests.service.gateway.conftest import Model, Rig

from claude_agent_http.gateway import SecretFile, UpstreamSource
from claude_agent_http.gateway.upstream import UpstreamUnknownError

SECRET = "sk-ant-hush-0123456789"


def mounted(folder: Path, version: str, **files: str) -> None:
    """As Kubernetes mounts a Secret: a folder a version, and a link that is renamed to the newest one."""
    data = folder / version
    data.mkdir()
    for name, text in files.items():
        (data / name.replace("_", "-")).write_text(text)
        if not (folder / name.replace("_", "-")).is_symlink():
            (folder / name.replace("_", "-")).symlink_to(Path("..data") / name.replace("_", "-"))
    (folder / "..new").symlink_to(version)
    os.replace(folder / "..new", folder / "..data")


def bound(folder: Path) -> UpstreamSource:
    parts = {
        name.replace("-", "_"): SecretFile(folder / name, may_miss=True)
        for name in ("api-key", "auth-token", "base-url")
    }
    return UpstreamSource(**parts)


def test_without_an_address_it_is_anthropics():
    upstream = UpstreamSource(api_key=SECRET)()
    assert upstream.address == "api.anthropic.com"
    assert upstream.target("/v1/messages", b"") == "https://api.anthropic.com/v1/messages"


def test_a_secret_that_is_replaced_is_used_from_then_on(tmp_path: Path):
    mounted(tmp_path, "v1", api_key="key-1\n", base_url="http://one:1")
    source = bound(tmp_path)
    assert (source().headers, source().address) == (((b"x-api-key", b"key-1"),), "one:1")
    mounted(tmp_path, "v2", api_key="key-2", base_url="http://two:2")
    assert (source().headers, source().address) == (((b"x-api-key", b"key-2"),), "two:2")


def test_a_secret_may_turn_from_a_key_to_a_token(tmp_path: Path):
    mounted(tmp_path, "v1", api_key="key-1")
    source = bound(tmp_path)
    mounted(tmp_path, "v2", auth_token="token-2")
    assert source().headers == ((b"authorization", b"Bearer token-2"),)


async def test_a_file_that_is_rewritten_is_read_again(rig: Rig, model: Model, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("key-one")
    rig.source = UpstreamSource(api_key=SecretFile(file), base_url=model.url)
    await rig.start()
    async with rig.agent() as agent:
        await agent.ask()
        file.write_text("key-second")
        await agent.ask()
        file.unlink()
        failed = await agent.ask()
    assert [seen.values("x-api-key") for seen in model.seen] == [["key-one"], ["key-second"]]
    assert failed.status_code == 503
    assert f"{file} does not exist" in failed.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"two words", "should be one line of printable ASCII"),
        (b"a\nb", "should be one line"),
        (b"\xff\xfe", "is not text"),
        (b"x" * 70_000, "is too large"),
    ],
)
def test_a_file_that_is_no_secret_is_told_of_without_its_content(tmp_path: Path, content: bytes, why: str):
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(UpstreamUnknownError, match=why) as told:
        UpstreamSource(api_key=SecretFile(file))()
    assert "two words" not in str(told.value)


@pytest.mark.parametrize("url", ["ftp://x", "model.example", "http://", "http://a b", "http://x:port"])
def test_a_file_that_is_no_url_is_told_of(tmp_path: Path, url: str):
    (tmp_path / "base-url").write_text(url)
    with pytest.raises(UpstreamUnknownError, match="https://host:port/path"):
        bound(tmp_path)()


def test_nothing_of_a_credential_is_shown():
    source = UpstreamSource(api_key=SECRET, auth_token=f"{SECRET}-2", base_url=f"https://u:{SECRET}-3@h")
    assert SECRET not in f"{source!r} {source()!r} {source().target('/v1', b'')}"
