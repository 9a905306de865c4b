"""A stand-in for the agent's CLI."""

from pathlib import Path

import pytest
from tests.service.commands.set_up import script


@pytest.fixture
def cli(tmp_path: Path) -> Path:
    return script(tmp_path, "echo '9.9.9 (Stand-in)'")
