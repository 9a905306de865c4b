"""The files of a workspace, in which an agent may have made anything, and goes on making it."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.service.disk.files.asked import content, listed, paths, pieces
from tests.waiting import until

from claude_agent_http.disk import workspace_files
from claude_agent_http.disk.entries import list_entries
from claude_agent_http.domain.errors import (
    BusyError,
    FileExistsAlreadyError,
    FileRefusedError,
    FilesElsewhereError,
    InvalidInputError,
    NoSuchFileError,
    StorageFullError,
)


async def test_what_is_written_can_be_listed_read_and_deleted(files, session, work):
    big = os.urandom(600_000)
    written = await files.write(session, "a/b/c.bin", pieces(big[:1], b"", big[1:]), overwrite=True)
    assert (written.is_new, written.entry.path, written.entry.size) == (True, "a/b/c.bin", 600_000)
    assert await content(files, session, "a/b/c.bin") == big
    assert await paths(files, session) == ["a", "a/b", "a/b/c.bin"]
    await files.delete(session, "a/b/c.bin")
    assert await paths(files, session, "a") == ["a/b"]
    await files.delete(session, "a/b")
    assert os.listdir(work / "a") == []


async def test_a_file_is_replaced_whole_and_keeps_its_permissions(files, session, work):
    script = work / "run.sh"
    script.write_text("old")
    script.chmod(0o755)
    with script.open() as before:
        written = await files.write(session, "run.sh", pieces(b"new"), overwrite=True)
        assert before.read() == "old"
    assert (written.is_new, script.read_text(), script.stat().st_mode & 0o777) == (False, "new", 0o755)
    assert [written.entry] == list((await listed(files, session)).entries)


async def test_what_is_there_is_not_overwritten_unless_asked_for(files, session, work):
    (work / "a").write_text("old")
    with pytest.raises(FileExistsAlreadyError):
        await files.write(session, "a", pieces(b"new"), overwrite=False)

    async def meanwhile() -> AsyncIterator[bytes]:
        yield b"mine"
        (work / "b").write_text("the agent's")

    with pytest.raises(FileExistsAlreadyError):
        await files.write(session, "b", meanwhile(), overwrite=False)
    await files.write(session, "c", pieces(b"new"), overwrite=False)
    assert {path.name: path.read_text() for path in work.iterdir()} == {
        "a": "old",
        "b": "the agent's",
        "c": "new",
    }


async def test_an_upload_that_breaks_off_leaves_nothing(files, session, work):
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        assert len(os.listdir(work)) == 1
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await files.write(session, "a", broken(), overwrite=True)
    assert os.listdir(work) == []


async def test_an_upload_whose_client_is_gone_leaves_nothing(files, session, work):
    never = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield b"half"
        await never.wait()

    writing = asyncio.create_task(files.write(session, "a", silent(), overwrite=True))

    async def begun() -> bool:
        return any(path.stat().st_size for path in work.iterdir())

    await until(begun)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert os.listdir(work) == []


@pytest.mark.parametrize(
    "kind",
    [
        *("link to a file", "link to a folder", "fifo", "socket", "folder"),
        pytest.param("device", marks=pytest.mark.tier("root")),
    ],
)
async def test_nothing_but_a_regular_file_is_read_or_replaced(files, session, work, tmp_path, kind, request):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    odd = work / "odd"
    match kind:
        case "link to a file":
            odd.symlink_to(outside / "secret")
        case "link to a folder":
            odd.symlink_to(outside)
        case "fifo":
            os.mkfifo(odd)
        case "socket":
            bound = socket.socket(socket.AF_UNIX)
            request.addfinalizer(bound.close)
            bound.bind(str(odd))
        case "folder":
            odd.mkdir()
        case "device":
            os.mknod(odd, 0o020666, os.makedev(1, 5))
    async with asyncio.timeout(5):
        with pytest.raises(FileRefusedError):
            await content(files, session, "odd")
        with pytest.raises(FileRefusedError):
            await files.write(session, "odd", pieces(b"x"), overwrite=True)
        for way in ("odd/secret", "odd/new/file"):
            if kind != "folder":
                with pytest.raises(FileRefusedError):
                    await content(files, session, way)
                with pytest.raises(FileRefusedError):
                    await files.write(session, way, pieces(b"x"), overwrite=True)
                with pytest.raises(FileRefusedError):
                    await paths(files, session, way)
        assert await paths(files, session) == ["odd"]
        await files.delete(session, "odd")
    assert (os.listdir(work), os.listdir(outside)) == ([], ["secret"])


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../bob/file",
        "a/../../bob",
        "/etc/passwd",
        "a//b",
        ".",
        "a/./b",
        "nul\0byte",
        "x" * 1001,
        "a/" * 40 + "b",
    ],
)
async def test_a_path_that_could_lead_out_is_refused_everywhere(files, session, work, path):
    for attempt in (
        content(files, session, path),
        files.write(session, path, pieces(b"x"), overwrite=True),
        files.delete(session, path),
        paths(files, session, path),
    ):
        with pytest.raises(InvalidInputError, match="path"):
            await attempt
    assert os.listdir(work) == []


@pytest.mark.parametrize(
    "path", ["a\\b", "a/\u2024\u2024/b", "new\nline", "tail. ", "a.", "\u202etxt", "x" * 256]
)
async def test_only_safe_names_are_made_but_any_that_is_there_can_be_read(files, session, work, path):
    with pytest.raises(InvalidInputError, match="path"):
        await files.write(session, path, pieces(b"x"), overwrite=True)
    if len(path) < 256 and "/" not in path:
        (work / path).write_text("the agent's")
        assert await content(files, session, path) == b"the agent's"
        await files.delete(session, path)


async def test_what_is_missing_is_told(files, session, work):
    for attempt in (
        content(files, session, "a"),
        files.delete(session, "a/b"),
        paths(files, session, "a"),
    ):
        with pytest.raises(NoSuchFileError):
            await attempt
    (work / "full").mkdir()
    (work / "full" / "file").touch()
    with pytest.raises(FileRefusedError, match="something in it"):
        await files.delete(session, "full")


async def test_a_folder_that_is_not_on_this_disk_is_elsewhere(files, session, work, base):
    moved = replace(session, cwd="/elsewhere/alice/work")
    with pytest.raises(FilesElsewhereError):
        await paths(files, moved)
    work.rmdir()
    with pytest.raises(FilesElsewhereError, match=session.id):
        await files.write(session, "a", pieces(b"x"), overwrite=True)
    (base / "bob").mkdir()
    work.symlink_to(base / "bob")
    with pytest.raises(FilesElsewhereError):
        await files.write(session, "a", pieces(b"x"), overwrite=True)
    assert os.listdir(base / "bob") == []


async def test_a_file_that_shrinks_or_grows_meanwhile_never_gives_more_than_it_said(files, session, work):
    for change, most in ((0, 999_999), (2_000_000, 1_000_000)):
        (work / "a").write_bytes(b"x" * 1_000_000)
        file = await files.open(session, "a")
        chunks = file.chunks()
        taken = len(await anext(chunks))
        os.truncate(work / "a", change)
        taken += sum([len(chunk) async for chunk in chunks])
        await file.close()
        assert file.entry.size == 1_000_000
        assert taken <= most


async def test_a_renamed_folder_leads_nowhere_else(files, session, work, tmp_path):
    """The agent swaps a folder for a link to the outside, and back, all the time."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    real, hidden, link = work / "dir", work / "hidden", work / "link"
    real.mkdir()
    (real / "file").write_text("mine")
    link.symlink_to(outside)
    stop = threading.Event()

    def put(there: Path) -> None:
        while True:
            try:
                return os.rename(there, real)
            except OSError:  # an upload has made the missing folder
                shutil.rmtree(real, ignore_errors=True)

    def swap() -> None:
        while not stop.is_set():
            os.rename(real, hidden)
            put(link)
            os.rename(real, link)
            put(hidden)

    swapping = threading.Thread(target=swap)
    swapping.start()
    outcomes: dict[str, int] = {}
    try:
        for number in range(400):
            try:
                assert await content(files, session, "dir/file") == b"mine"
                await files.write(session, f"dir/new{number}", pieces(b"x"), overwrite=True)
                outcomes["done"] = outcomes.get("done", 0) + 1
            except (FileRefusedError, NoSuchFileError) as error:
                outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
    finally:
        stop.set()
        swapping.join()
    assert outcomes.get("done", 0) > 0
    assert len(outcomes) > 1, "the race was never met"
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "secret"


@pytest.fixture
def small_disk(work: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", work], check=True)
    yield
    subprocess.run(["umount", "-l", work], check=True)


@pytest.mark.tier("tmpfs")
@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk_is_told_and_nothing_is_left(files, session, work):
    with pytest.raises(StorageFullError):
        await files.write(session, "big", pieces(*[b"x" * 1_000_000] * 20), overwrite=True)
    assert os.listdir(work) == []
    await files.write(session, "small", pieces(b"x"), overwrite=True)


async def test_too_many_at_once_are_sent_away(make_files, session, work):
    files = make_files(most=2)
    (work / "a").write_text("x")
    first, second = [await files.open(session, "a") for _ in range(2)]
    with pytest.raises(BusyError):
        await files.open(session, "a")
    await first.close()
    await first.close()
    assert await content(files, session, "a") == b"x"
    with pytest.raises(NoSuchFileError):
        await files.open(session, "b")
    await (await files.open(session, "a")).close()
    await second.close()


async def test_one_user_cannot_take_the_places_of_all(make_files, session, base):
    files = make_files(most=4, of_one_user=2)
    bob = replace(session, id="bob-1", user_id="bob", subdir=None, cwd=str(base / "bob"))
    (base / "bob").mkdir()
    never, begun = asyncio.Event(), 0

    async def slow() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        yield b"x"
        await never.wait()

    uploads = [
        asyncio.create_task(files.write(session, f"slow{n}", slow(), overwrite=True)) for n in range(2)
    ]

    await until(lambda: begun == 2)
    for attempt in (files.open(session, "a"), files.write(session, "b", pieces(b"x"), overwrite=True)):
        with pytest.raises(BusyError, match="2 files that are read or written of one user"):
            await attempt
    await files.write(bob, "b", pieces(b"y"), overwrite=True)
    assert await content(files, bob, "b") == b"y"
    for each, name in ((session, "mine"), (bob, "b")):
        (Path(each.cwd) / name).touch()
        assert name in await paths(files, each)
        await files.delete(each, name)
    for upload in uploads:
        upload.cancel()
    await asyncio.gather(*uploads, return_exceptions=True)
    await files.write(session, "again", pieces(b"x"), overwrite=True)


async def test_lists_of_a_slow_disk_are_bounded_for_each_user(make_files, session, work, monkeypatch):
    files = make_files(most=4, of_one_user=2)
    let_go = threading.Event()

    def slow(*given: Any, **options: Any) -> Any:
        let_go.wait(10)
        return list_entries(*given, **options)

    monkeypatch.setattr(workspace_files, "list_entries", slow)
    lists = [asyncio.create_task(paths(files, session)) for _ in range(2)]
    await asyncio.sleep(0)
    (work / "a").touch()
    with pytest.raises(BusyError, match="2 folders that are listed"):
        await files.delete(session, "a")
    assert await content(files, session, "a") == b""
    let_go.set()
    assert await asyncio.gather(*lists) == [["a"], ["a"]]
    await files.delete(session, "a")


async def test_no_descriptor_stays_open(files, session, work):
    (work / "d").mkdir()
    os.mkfifo(work / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await files.write(session, "d/e/f", pieces(b"x"), overwrite=True)
        await content(files, session, "d/e/f")
        await paths(files, session)
        for attempt in (
            content(files, session, "fifo"),
            content(files, session, "d"),
            files.write(session, "fifo", pieces(b"x"), overwrite=True),
            files.write(session, "d/e/f/g", pieces(b"x"), overwrite=True),
        ):
            with pytest.raises(FileRefusedError):
                await attempt
    assert len(os.listdir("/proc/self/fd")) == before
