"""A folder for each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.launcher.prison import Prison


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a UNIX socket's path has a limit."""
    path = Path(tempfile.mkdtemp(prefix="jail-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def prison(folder: Path) -> Iterator[Prison]:
    made = Prison(folder)
    yield made
    made.close()
