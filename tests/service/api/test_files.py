"""The files of a session over HTTP."""

import asyncio
import errno
import os
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.service.api.rig import Service, problem, serving
from tests.waiting import until

from claude_agent_http.disk import files as disk_files
from claude_agent_http.system.loopback import LoopbackServer

SESSIONS = "/api/v1/sessions"


@pytest.fixture
def at(session_id: str):
    """The address of a file."""
    return lambda path="": f"{SESSIONS}/{session_id}/files" + (f"/{path}" if path else "")


async def test_a_file_goes_up_is_listed_comes_down_and_goes(client, service: Service, at):
    text = b"# Notes\n" * 1000
    made = await client.put(at("docs/a%20b.md"), content=text, headers={"Content-Type": "text/html"})
    assert made.status_code == 201
    view = made.json()
    assert (view["path"], view["type"], view["size"]) == ("docs/a b.md", "file", len(text))
    assert (service.folder / "alice" / "docs" / "a b.md").read_bytes() == text

    listed = (await client.get(at(), params={"recursive": True})).json()
    assert [one["path"] for one in listed["data"]] == ["docs", "docs/a b.md"]
    assert listed["data"][1] == view
    assert (listed["next_page"], listed["truncated"]) == (None, False)
    assert [one["path"] for one in (await client.get(at())).json()["data"]] == ["docs"]
    assert (await client.get(at(), params={"path": "docs"})).json()["data"] == [view]

    got = await client.get(at("docs/a%20b.md"))
    assert (got.status_code, got.content) == (200, text)
    assert got.headers["etag"] == made.headers["etag"]
    assert (await client.put(at("docs/a%20b.md"), content=b"x")).status_code == 200
    assert (await client.get(at("docs/a%20b.md"))).headers["etag"] != made.headers["etag"]
    assert (await client.delete(at("docs/a%20b.md"))).status_code == 204
    problem(await client.get(at("docs/a%20b.md")), 404, "file_not_found")


async def test_a_download_is_never_shown_as_a_page(client, service, at):
    (service.folder / "alice" / 'é".html').write_text("<script>alert(1)</script>")
    got = await client.get(at("%C3%A9%22.html"))
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9%22.html"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]
    assert got.headers["content-length"] == str(len(got.content)) == "25"
    assert parsedate_to_datetime(got.headers["last-modified"])


async def test_pages_of_files(client, service, at):
    for number in range(5):
        (service.folder / "alice" / f"{number}").touch()
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while query:
        page = (await client.get(at(), params=query)).json()
        found += [one["path"] for one in page["data"]]
        query = {"limit": 2, "page": page["next_page"]} if page["next_page"] else {}
    assert found == ["0", "1", "2", "3", "4"]
    problem(await client.get(at(), params={"page": "!"}), 422, "invalid_input")
    problem(await client.get(at(), params={"limit": 1001}), 422, "invalid_input")


async def test_a_page_can_end_at_the_longest_path_that_is_listed(client, service, at):
    folder = service.folder / "alice" / "/".join(["\u00e9" * 120] * 12)
    folder.mkdir(parents=True)
    found, query = [], {"limit": 1, "recursive": True}
    while query:
        answer = await client.get(at(), params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [one["path"] for one in page["data"]]
        query = {**query, "page": page["next_page"]} if page["next_page"] else {}
    assert found[-1] == str(folder.relative_to(service.folder / "alice"))


async def test_only_what_is_not_there_yet_is_made_on_demand(client, service, at):
    once = {"If-None-Match": "*"}
    assert (await client.put(at("a"), content=b"1", headers=once)).status_code == 201
    problem(await client.put(at("a"), content=b"2", headers=once), 412, "file_exists")
    assert (service.folder / "alice" / "a").read_text() == "1"
    other = await client.put(at("a"), content=b"2", headers={"If-None-Match": '"etag"'})
    assert problem(other, 422)["errors"][0]["field"] == "If-None-Match"


@pytest.mark.parametrize(
    "path", ["%2e%2e/bob/file", "a/%2e%2e/%2e%2e/bob/file", "%2Fetc%2Fpasswd", "a%2F%2Fb", ""]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_no_path_leads_out(client, create, service, at, path, method):
    await create(client, user_id="bob")
    (service.folder / "bob" / "file").write_text("bob's")
    answer = await client.request(method, f"{at()}/{path}", content=b"x" if method == "PUT" else None)
    assert problem(answer, 422, "invalid_input")["errors"][0]["field"] == "path"
    assert (service.folder / "bob" / "file").read_text() == "bob's"


ODD = [
    *(b"a\nb.txt", b"\n", b"end\n", b"\xff.bin", b"\xfe\xff", b"q?h#&=.txt", b"pc%41", b"back\\slash"),
    *(b" x ", b"\xf0\x9f\x98\x80", b"caf\xe9/\xc3\xa9\n/\xed\xa0\x80", b"a;b+c"),
]


@pytest.mark.parametrize("name", ODD)
async def test_whatever_is_listed_can_be_had_and_removed(wire, create, service, name):
    """An agent names its files as it likes; a name that is no UTF-8 is listed with lone surrogates."""
    at = f"{SESSIONS}/{await create(wire)}/files"
    place = service.folder / "alice" / os.fsdecode(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"one " + name)
    twin = service.folder / "alice" / os.fsdecode(name.replace(b"\xff", b"\xef\xbf\xbd"))
    if twin != place:  # what it may be taken for
        twin.mkdir()
    listed = (await wire.get(at, params={"recursive": True})).json()["data"]
    [path] = [one["path"] for one in listed if one["type"] == "file"]
    assert os.fsencode(path) == name
    address = f"{at}/{quote(os.fsencode(path), safe='')}"
    assert (await wire.get(address)).content == b"one " + name
    if b"/" in name:
        folder = quote(os.path.dirname(name), safe="")
        inside = (await wire.get(f"{at}?path={folder}")).json()["data"]
        assert [one["path"] for one in inside] == [path]
    assert (await wire.delete(address)).status_code == 204
    assert not place.exists()
    problem(await wire.get(address), 404, "file_not_found")


@pytest.mark.parametrize("name", ["a%0Ab", "%FF", "a/%FF/b", "%ED%A0%80", "caf%E9"])
async def test_no_file_gets_a_name_that_is_no_text(wire, create, service, name):
    at = f"{SESSIONS}/{await create(wire)}/files"
    answer = await wire.put(f"{at}/{name}", content=b"x")
    assert problem(answer, 422, "invalid_input")["errors"][0]["field"] == "path"
    assert os.listdir(service.folder / "alice") == []


@pytest.mark.parametrize(
    ("asked", "content", "range_"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=7-99999999999999999", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", b"0123456789", "bytes 0-9/10"),
        ("bytes=0-1,3-4", None, None),
        ("bytes=4-2", None, None),
        ("bytes=-", None, None),
        ("bytes=a-b", None, None),
        ("lines=1-2", None, None),
    ],
)
async def test_a_part_of_a_file(wire, create, service, asked, content, range_):
    at = f"{SESSIONS}/{await create(wire)}/files/a"
    (service.folder / "alice" / "a").write_bytes(b"0123456789")
    got = await wire.get(at, headers={"Range": asked})
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers.get("content-range") == range_
    assert (got.status_code, got.content) == ((206, content) if content else (200, b"0123456789"))
    assert got.headers["content-length"] == str(len(got.content))


async def test_parts_of_a_file_in_order_are_the_file(wire, create, service):
    at = f"{SESSIONS}/{await create(wire)}/files/a"
    whole = os.urandom(700_000)
    (service.folder / "alice" / "a").write_bytes(whole)
    parts = [
        (await wire.get(at, headers={"Range": f"bytes={start}-{start + 299_999}"})).content
        for start in range(0, len(whole), 300_000)
    ]
    assert b"".join(parts) == whole


async def test_what_lies_behind_the_end_is_told(client, service, at):
    (service.folder / "alice" / "a").write_bytes(b"0123456789")
    (service.folder / "alice" / "empty").touch()
    for name, asked, size in (("a", "bytes=10-", 10), ("a", "bytes=-0", 10), ("empty", "bytes=-5", 0)):
        refused = await client.get(at(name), headers={"Range": asked})
        assert f"{size} bytes" in problem(refused, 416)["detail"]
        assert refused.headers["content-range"] == f"bytes */{size}"


async def test_a_part_of_another_version_is_none_of_this_one(client, service, at):
    (service.folder / "alice" / "a").write_bytes(b"0123456789")
    tag = (await client.get(at("a"))).headers["etag"]
    for shown, status in ((tag, 206), ('"other"', 200), ("Tue, 01 Dec 2026 00:00:00 GMT", 200)):
        got = await client.get(at("a"), headers={"Range": "bytes=0-0", "If-Range": shown})
        assert got.status_code == status


async def test_who_has_a_file_already_gets_none(wire, create, service):
    at = f"{SESSIONS}/{await create(wire)}/files/a"
    (service.folder / "alice" / "a").write_bytes(b"one")
    tag = (await wire.get(at)).headers["etag"]
    for ask in (wire.get, wire.head):
        for shown in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            known = await ask(at, headers={"If-None-Match": shown, "Range": "bytes=9-"})
            assert (known.status_code, known.content) == (304, b"")
            assert known.headers["etag"] == tag
        assert (await ask(at, headers={"If-None-Match": '"x"'})).status_code == 200
    (service.folder / "alice" / "a").write_bytes(b"another")
    assert (await wire.get(at, headers={"If-None-Match": tag})).content == b"another"


async def test_a_look_at_a_file_is_a_download_without_the_file(wire, create, service):
    at = f"{SESSIONS}/{await create(wire)}/files"
    (service.folder / "alice" / "a").write_bytes(b"0123456789")
    got, seen = [await ask(f"{at}/a") for ask in (wire.get, wire.head)]
    assert (seen.status_code, seen.content, seen.headers["content-length"]) == (200, b"", "10")
    own = {"date", "x-request-id"}
    assert {k: v for k, v in seen.headers.items() if k not in own} == {
        k: v for k, v in got.headers.items() if k not in own
    }
    problem(await wire.head(f"{at}/none"), 404)


async def test_answers_without_a_file_leave_none_open(client, service, at):
    (service.folder / "alice" / "a").write_bytes(b"one")
    tag = (await client.get(at("a"))).headers["etag"]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):  # more than one user may have open
        assert (await client.get(at("a"), headers={"If-None-Match": tag})).status_code == 304
        assert (await client.get(at("a"), headers={"Range": "bytes=9-"})).status_code == 416
        assert (await client.head(at("a"))).status_code == 200
    assert len(os.listdir("/proc/self/fd")) == before


async def test_neither_a_part_nor_what_is_packed_is_taken_for_a_file(client, service, at):
    (service.folder / "alice" / "a").write_bytes(b"0123456789")
    part = await client.put(at("a"), content=b"xx", headers={"Content-Range": "bytes 0-1/10"})
    assert "whole" in problem(part, 400)["detail"]
    packed = await client.put(at("a"), content=b"xx", headers={"Content-Encoding": "gzip"})
    problem(packed, 415)
    assert packed.headers["accept-encoding"] == "identity"
    assert (service.folder / "alice" / "a").read_bytes() == b"0123456789"
    plain = await client.put(at("a"), content=b"xx", headers={"Content-Encoding": "identity"})
    assert plain.status_code == 200


async def test_a_link_or_a_folder_is_refused_with_the_reason(client, service, at, tmp_path):
    work = service.folder / "alice"
    (work / "folder").mkdir()
    (work / "link").symlink_to(tmp_path)
    assert "lists it" in problem(await client.get(at("folder")), 409, "file_refused")["detail"]
    assert "link" in problem(await client.get(at("link")), 409, "file_refused")["detail"]
    kinds = {one["path"]: one["type"] for one in (await client.get(at())).json()["data"]}
    assert kinds == {"folder": "directory", "link": "symlink"}


async def test_unknown_sessions_and_those_elsewhere(client, service, at):
    unknown = f"{SESSIONS}/6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11/files"
    for address in (unknown, f"{unknown}/a"):
        problem(await client.get(address), 404, "session_not_found")
    problem(await client.put(f"{unknown}/a", content=b"x"), 404, "session_not_found")
    problem(await client.delete(f"{unknown}/a"), 404, "session_not_found")
    (service.folder / "alice").rmdir()
    problem(await client.get(at()), 503, "files_elsewhere")
    problem(await client.put(at("a"), content=b"x"), 503, "files_elsewhere")


async def test_a_file_may_be_larger_than_a_message_but_not_than_its_limit(tmp_path, create):
    async def streamed(size: int):
        for _ in range(size // 100_000):
            yield b"x" * 100_000

    async with (
        serving(tmp_path / "users", max_upload_bytes=3_000_000) as service,
        LoopbackServer(service.api) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        address = f"{SESSIONS}/{await create(client)}/files/big"
        assert (await client.put(address, content=streamed(3_000_000))).status_code == 201
        for too_much in (b"x" * 3_000_001, streamed(3_100_000)):
            refused = await client.put(address, content=too_much)
            assert "max_upload_mb" in problem(refused, 413)["detail"]
        assert os.listdir(service.folder / "alice") == ["big"]
        assert len((await client.get(address)).content) == 3_000_000


async def test_a_full_disk_is_507(client, service, at, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk_files.Writing, "write", full)
    problem(await client.put(at("a"), content=b"x"), 507, "storage_full")
    assert os.listdir(service.folder / "alice") == []


async def test_an_upload_that_breaks_off_leaves_nothing(wire, create, service):
    session_id = await create(wire)
    host, port = wire.base_url.host, wire.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"PUT {SESSIONS}/{session_id}/files/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode()
    )
    await writer.drain()
    folder = service.folder / "alice"

    async def begun() -> bool:
        return bool(os.listdir(folder))

    await until(begun)
    writer.close()

    async def tidied() -> bool:
        return not os.listdir(folder)

    await until(tidied)
    del reader
