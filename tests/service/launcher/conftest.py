"""A folder for each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a UNIX socket's path has a limit."""
    path = Path(tempfile.mkdtemp(prefix="jail-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
