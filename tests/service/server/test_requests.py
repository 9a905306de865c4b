"""What is no plain HTTP/1.1 request is refused, and nothing of it reaches the application."""

import json

import pytest
from tests.service.server.conftest import Echo

HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + HIDDEN,
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": HEAD + b"Content-Length: 2, 40\r\n\r\n{}" + HIDDEN,
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\n{}",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "an endless length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "a length and chunks": HEAD
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "chunks and a length": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "chunks twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "another coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks before 1.1": b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a folded header": HEAD + b"X-Folded: a\r\n b\r\n\r\n",
    "a folded length": HEAD + b"X: a\r\n\tContent-Length: 40\r\n\r\n" + HIDDEN,
    "lone line feeds": HEAD.replace(b"\r\n", b"\n") + b"\n",
    "one lone line feed": b"GET /a HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "a lone carriage return": b"GET /a HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
    "a zero byte": b"GET /a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "a space in a name": b"GET /a HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
    "no name": b"GET /a HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
    "no host": b"GET /a HTTP/1.1\r\nX: y\r\n\r\n",
    "two hosts": b"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "HTTP/0.9": b"GET /a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the address": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100a5010000a1"),
}
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "a lone line feed": CHUNKS + b"2\n{}\r\n0\r\n\r\n" + HIDDEN,
    "a lone line feed in an extension": CHUNKS + b"2;\n{}\r\n0\r\n\r\n" + HIDDEN,
    "0x": CHUNKS + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a sign": CHUNKS + b"+2\r\n{}\r\n0\r\n\r\n",
    "a space": CHUNKS + b"2 \r\n{}\r\n0\r\n\r\n",
    "an endless size": CHUNKS + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "more than was said": CHUNKS + b"2\r\n{}XX0\r\n\r\n" + HIDDEN,
    "a trailer": CHUNKS + b"2\r\n{}\r\n0\r\nX-Api-Key: another\r\n\r\n",
    "an endless extension": CHUNKS + b"2;" + b"x" * 1_000_000,
    "an endless trailer": CHUNKS + b"2\r\n{}\r\n0\r\nX: " + b"x" * 1_000_000,
}


def refusal(answer: bytes, status: int = 400) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"connection: close" in head
    problem: dict[str, object] = json.loads(body)
    assert problem["status"] == status
    return problem


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
async def test_what_can_be_read_in_two_ways_is_not_read_at_all(serve, sent: bytes):
    app = Echo()
    async with serve(app) as served:
        refusal(await served.says(sent))
    assert app.asked == []


@pytest.mark.parametrize("sent", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_bad_chunks_end_the_request_and_the_connection(serve, sent: bytes):
    app = Echo()
    async with serve(app) as served:
        refusal(await served.says(sent))
    assert [one["path"] for one in app.asked] == ["/a"]
    assert all(name != b"x-api-key" for name, _ in app.asked[0]["headers"])


async def test_bad_bytes_in_the_middle_of_an_answer_are_not_answered_there(serve):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    async with serve(app) as served, served.raw() as raw:
        await raw.send(CHUNKS + b"2\r\n{}\r\n")
        assert (await raw.taken(b"ab")).startswith(b"HTTP/1.1 200 ")
        await raw.send(b"not a chunk\r\n")
        assert await raw.rest() == b""


async def test_nothing_behind_the_last_request_is_one(serve):
    app = Echo()
    async with serve(app) as served:
        await served.says(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + HIDDEN)
    assert [one["path"] for one in app.asked] == ["/a"]


async def test_good_requests_one_after_another_in_one_packet(serve):
    app = Echo()
    good = HEAD + b"Content-Length: 2\r\n\r\n{}" + CHUNKS + b"2;x=y\r\n{}\r\n0\r\n\r\n"
    async with serve(app) as served, served.raw() as raw:
        await raw.send(good)
        for _ in range(2):
            assert (await raw.response()).endswith(b"\r\n\r\n{}")
    assert len(app.asked) == 2


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(90))
        + b"\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5_000_000,
        b"GET /a HTTP/1.1\r\nHost: x\r\n" + b"a" * 5_000_000,
    ],
    ids=["address", "value", "together", "many", "endless value", "endless name"],
)
async def test_a_head_that_is_too_large_or_has_too_many_headers(serve, head: bytes):
    app = Echo()
    async with serve(app) as served:
        assert "headers" in str(refusal(await served.says(head), 431)["detail"])
    assert app.asked == []


async def test_a_large_head_within_the_limits_is_taken(serve):
    app = Echo()
    headers = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 600) for n in range(99))
    async with serve(app) as served, served.raw() as raw:
        await raw.send(b"GET /a HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        assert (await raw.response()).startswith(b"HTTP/1.1 200 ")


UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize(
    "body", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_the_body_of_an_upgrade_is_refused_and_not_lost(serve, body: bytes):
    """Clients that would rather speak HTTP/2 ask so; the parser would take the body for what comes after."""
    app = Echo()
    async with serve(app) as served:
        assert "HTTP/1.1 alone" in str(refusal(await served.says(HEAD + UPGRADE + body + HIDDEN))["detail"])
    assert app.asked == []


async def test_an_upgrade_without_body_is_answered_as_if_it_were_none(serve):
    app = Echo()
    async with serve(app) as served:
        answer = await served.says(b"GET /a HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n" + HIDDEN)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert [one["path"] for one in app.asked] == ["/a"]


WHOLE = [
    ("http://x/a", "x", True),
    ("http://X:80/a?b", "x", True),
    ("http://x/", "x:80", True),
    ("http://evil/a", "x", False),
    ("http://x:8000/a", "x", False),
    ("http://evil@x/a", "x", False),
    ("HTTPS://evil/a", "x", False),
    ("http://evil?/a", "x", False),
]


@pytest.mark.parametrize(("target", "host", "taken"), WHOLE)
async def test_a_whole_address_names_the_host_that_is_beside_it(serve, target: str, host: str, taken: bool):
    app = Echo()
    async with serve(app) as served, served.raw() as raw:
        await raw.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await raw.rest()
    if taken:
        assert answer.startswith(b"HTTP/1.1 200 ")
    else:
        refusal(answer)
    assert len(app.asked) == taken
