"""Requests in two minds about where they end: none reaches the model, and no second one hides in a first."""

import asyncio
import re

import pytest
from tests.service.gateway.conftest import Model, Rig

HEAD = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nX-Api-Key: {token}\r\nContent-Type: application/json\r\n"
HIDDEN = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nX-Api-Key: {token}\r\nContent-Length: 2\r\n\r\n{{}}"


async def said(rig: Rig, text: bytes) -> bytes:
    """What the gateway answers on a bare connection until it closes it, or has nothing more to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(rig.url.rpartition(":")[2]))
    try:
        writer.write(text)
        writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 2\r\nContent-Length: 60\r\n",
        "Content-Length: 2, 60\r\n",
        "Content-Length: -2\r\n",
        "Content-Length: 0x2\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-Folded: a\r\n b\x00\r\nContent-Length: 2\r\n",
        "Bad Name: x\r\n",
    ],
)
async def test_a_request_with_two_ends_is_refused(rig: Rig, model: Model, headers: str):
    await rig.start()
    async with rig.agent() as agent:
        text = (HEAD + headers + "\r\n{{}}" + HIDDEN).format(token=agent.token)
        answer = await said(rig, text.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answer)) == 1
    assert model.seen == []


async def test_chunks_beat_a_length_and_the_rest_is_no_request_of_a_stranger(rig: Rig, model: Model):
    """RFC 9112 lets a server take chunks where both stand; nothing behind them may pass without a token."""
    await rig.start()
    async with rig.agent() as agent:
        both = "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        smuggled = HIDDEN.replace("{token}", "gw-stolen")
        answer = await said(rig, (HEAD + both + smuggled).format(token=agent.token).encode())
    assert [seen.body for seen in model.seen] in ([], [b"{}"])
    for seen in model.seen:
        assert seen.values("transfer-encoding") == []
        assert seen.values("content-length") == ["2"]
    assert b"HTTP/1.1 200" not in answer.partition(b"HTTP/1.1 401")[2]


async def test_headers_without_end_are_cut_off(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as agent:
        text = HEAD.format(token=agent.token) + "X-Long: " + "a" * 1_000_000
        try:
            answer = await said(rig, text.encode())
        except ConnectionError:  # closed while we still wrote
            answer = b"HTTP/1.1 431 "
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert model.seen == []
