"""A session's workspace and its files."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.service.runtime.conftest import make_session

from claude_agent_http.disk import FolderFiles
from claude_agent_http.domain.session import Session


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path)) / "users"


@pytest.fixture
def work(base: Path) -> Path:
    folder = base / "alice" / "work"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def session(work: Path) -> Session:
    return replace(make_session(work), subdir="work")


@pytest.fixture
def make_files(base: Path) -> Iterator[Callable[..., FolderFiles]]:
    """`make_files(most=2)`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(FolderFiles(base, **options)))


@pytest.fixture
def files(make_files: Callable[..., FolderFiles]) -> FolderFiles:
    return make_files()
