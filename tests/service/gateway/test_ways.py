"""The way to the model API: TLS, proxies before it, and connections that are kept."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.certificates import self_signed
from tests.service.gateway.conftest import KEY, Model, Rig

from claude_agent_http.gateway import UpstreamSource

SAID = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 18\r\n\r\n{"type":"message"}'


@asynccontextmanager
async def tls_model(folder: Path, name: str) -> AsyncIterator[tuple[int, Path]]:
    """Its port, and the file of the authority that it shows."""
    authority, key = self_signed(folder, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, key)

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SAID)
        writer.close()

    async with await asyncio.start_server(answers, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1], authority


@asynccontextmanager
async def tunnel(port: int, status: str = "200 OK") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A proxy whose every CONNECT leads to `port` of this machine: its own port, and the heads it got."""
    heads: list[bytes] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status.startswith("200"):
            inner, outer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(carry(reader, outer), carry(inner, writer), return_exceptions=True)
        writer.close()

    async with await asyncio.start_server(answers, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heads


async def test_a_model_whose_certificate_is_not_trusted_is_told_apart(rig: Rig, tmp_path: Path):
    async with tls_model(tmp_path, "localhost") as (port, _):
        rig.source = UpstreamSource(api_key=KEY, base_url=f"https://localhost:{port}")
        await rig.start()
        with capture_logs() as logs:
            async with rig.agent() as agent:
                answer = await agent.ask()
    assert answer.status_code == 502
    assert "cannot be trusted (TLS)" in answer.json()["error"]["message"]
    assert [one["reason"] for one in logs] == ["tls"]


async def test_a_model_of_an_extra_authority_is_asked(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with tls_model(tmp_path, "localhost") as (port, authority):
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(authority))
        rig.source = UpstreamSource(api_key=KEY, base_url=f"https://localhost:{port}")
        await rig.start()
        async with rig.agent() as agent:
            assert (await agent.ask()).json() == {"type": "message"}


async def test_a_proxy_carries_tls_and_gets_only_its_own_credential(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with tls_model(tmp_path, "model.invalid") as (port, authority), tunnel(port) as (proxy, heads):
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(authority))
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass@127.0.0.1:{proxy}")
        rig.source = UpstreamSource(api_key=KEY, base_url="https://model.invalid")
        await rig.start()
        monkeypatch.delenv("HTTPS_PROXY")
        async with rig.agent() as agent:
            assert (await agent.ask()).json() == {"type": "message"}
    (head,) = heads
    assert head.startswith(b"CONNECT model.invalid:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:pass") in head
    assert KEY.encode() not in head


async def test_a_proxy_that_refuses_is_told_apart(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    async with tunnel(0, "407 Proxy Authentication Required") as (proxy, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
        rig.source = UpstreamSource(api_key=KEY, base_url="https://model.invalid")
        await rig.start()
        monkeypatch.delenv("HTTPS_PROXY")
        with capture_logs() as logs:
            async with rig.agent() as agent:
                answer = await agent.ask()
    assert answer.status_code == 502
    assert "the proxy before the model API at model.invalid refused" in answer.json()["error"]["message"]
    assert [one["reason"] for one in logs] == ["proxy"]


async def test_a_proxy_of_a_kind_that_is_not_spoken_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    rig.source = UpstreamSource(api_key=KEY, base_url="https://model.invalid")
    await rig.start()
    monkeypatch.delenv("ALL_PROXY")
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert answer.status_code == 502
    assert "is a socks5 proxy" in answer.json()["error"]["message"]


async def test_a_netrc_adds_no_credential(
    rig: Rig, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password of-another-service\n")
    monkeypatch.setenv("NETRC", str(netrc))
    await rig.start()
    async with rig.agent() as agent:
        await agent.ask()
    assert model.seen[0].values("authorization") == []


async def test_headers_are_passed_on_to_the_byte_and_none_is_added(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as agent:
        given = {"anthropic-metadata": "Käse ☃".encode(), "user-agent": b"claude-cli/2"}
        await agent.ask(headers=given)
    (seen,) = model.seen
    names = {name for name, _ in seen.headers}
    assert names <= {
        *("host", "accept", "accept-encoding", "content-type", "content-length"),
        *("user-agent", "x-api-key", "anthropic-metadata"),
    }
    assert seen.values("anthropic-metadata") == ["Käse ☃"]
    assert seen.values("user-agent") == ["claude-cli/2"]


async def test_cookies_of_the_model_api_are_not_kept(rig: Rig, model: Model):
    model.headers = [("content-type", "application/json"), ("set-cookie", "a=b; Path=/")]
    await rig.start()
    async with rig.agent() as agent:
        for _ in range(2):
            assert (await agent.ask()).status_code == 200
    assert model.seen[1].values("cookie") == []


async def test_the_environment_says_whom_to_trust_instead(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with tls_model(tmp_path, "localhost") as (port, authority):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        rig.source = UpstreamSource(api_key=KEY, base_url=f"https://localhost:{port}")
        await rig.start()
        monkeypatch.delenv("SSL_CERT_FILE")
        async with rig.agent() as agent:
            assert (await agent.ask()).status_code == 200
