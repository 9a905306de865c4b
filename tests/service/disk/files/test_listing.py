"""Lists of a workspace's files: whole, by pages, and of what is too much."""

import os

import pytest
from tests.service.disk.files.asked import listed, paths

from claude_agent_http.disk import entries


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_joined_are_the_whole_list(files, session, work, limit):
    for name in ("b/z", "b/a/deep", "b.txt", "a", "c/1", "c/10", "c/2", ".hidden", "B"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).touch()
    (work / "empty").mkdir()
    whole = await paths(files, session)
    assert whole == sorted(whole, key=lambda path: path.split("/"))
    assert set(whole) == {str(path.relative_to(work)) for path in work.rglob("*")}
    joined, after = [], None
    while True:
        page = await listed(files, session, limit=limit, after=after)
        joined += [entry.path for entry in page.entries]
        after = page.next_after
        if after is None:
            break
        assert len(page.entries) == limit
    assert joined == whole


async def test_pages_go_on_though_what_they_ended_at_is_gone(files, session, work):
    for number in range(5):
        (work / f"{number}").touch()
    page = await listed(files, session, limit=2)
    (work / "1").unlink()
    (work / "2").unlink()
    assert await paths(files, session, after=page.next_after) == ["3", "4"]


async def test_a_folder_that_is_too_large_or_too_deep_is_listed_in_part(files, session, work, monkeypatch):
    for number in range(20):
        (work / f"{number:02}").mkdir()
        (work / f"{number:02}" / "file").touch()
    monkeypatch.setattr(entries, "_MOST_SEEN", 25)
    page = await listed(files, session)
    assert 0 < len(page.entries) < 40
    assert page.next_after is not None
    joined = [entry.path for entry in page.entries]
    while page.next_after is not None:
        page = await listed(files, session, after=page.next_after)
        joined += [entry.path for entry in page.entries]
    assert len(joined) == 40
    monkeypatch.setattr(entries, "_MOST_NAMES", 10)
    page = await listed(files, session, recursive=False)
    assert (len(page.entries), page.truncated) == (10, True)
    monkeypatch.undo()
    monkeypatch.setattr(entries, "_MOST_PATH_BYTES", 3)
    page = await listed(files, session)
    assert (len(page.entries), page.truncated) == (20, True)
    monkeypatch.undo()
    monkeypatch.setattr(entries, "_MOST_DEPTH", 1)
    page = await listed(files, session)
    assert (len(page.entries), page.truncated) == (20, True)


async def test_whatever_times_and_names_an_agent_gives_are_listed(files, session, work):
    os.close(os.open(os.fsencode(work) + b"/\xff", os.O_CREAT))
    for name, seconds in (("future", 2**40), ("past", -(2**40))):
        (work / name).touch()
        os.utime(work / name, (seconds, seconds))
    assert await paths(files, session) == ["future", "past", "\udcff"]
