"""Texts that name the program name it as it was called, so that they can be typed as they stand."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.service.commands.program import LIMIT_SECONDS, environment

NAME = "claude-agent-http"
START = f"#!{sys.executable}\nfrom claude_agent_http.__main__ import main\nmain()\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Installed in `venv/bin` of the folder, as pip does it."""
    place = tmp_path / "venv" / "bin" / NAME
    place.parent.mkdir(parents=True)
    place.write_text(START)
    place.chmod(0o755)
    return place


def said(*command: str | Path, cwd: Path, path: str | Path = "/usr/bin:/bin") -> str:
    """How it tells to start the service, when it finds none."""
    ended = subprocess.run(
        [*command, "chat", "--url", "http://127.0.0.1:1", "--once", "x"],
        cwd=cwd,
        env=environment({"HOME": str(cwd), "PATH": str(path)}),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    return ended.stderr.partition("`")[2].partition("`")[0]


def test_by_its_name_where_path_leads_to_it(program: Path, tmp_path: Path):
    assert said(program, cwd=tmp_path, path=program.parent) == f"{NAME} serve"


def test_by_its_path_below_this_folder(program: Path, tmp_path: Path):
    assert said(f"venv/bin/{NAME}", cwd=tmp_path) == f"venv/bin/{NAME} serve"
    assert said(program, cwd=tmp_path) == f"venv/bin/{NAME} serve"
    assert said(f"./{NAME}", cwd=program.parent) == f"./{NAME} serve"


def test_by_its_whole_path_from_elsewhere(program: Path, tmp_path: Path):
    (tmp_path / "else where").mkdir()
    assert said(program, cwd=tmp_path / "else where") == f"{program} serve"


def test_another_program_of_that_name_is_not_named(program: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / NAME).symlink_to("/bin/true")
    assert said(program, cwd=tmp_path, path=tmp_path / "other") == f"venv/bin/{NAME} serve"


def test_as_a_module_of_the_python_that_ran_it(tmp_path: Path):
    python = Path(sys.executable)
    asked = said(python, "-m", "claude_agent_http", cwd=tmp_path, path=python.parent)
    assert asked == f"{python.name} -m claude_agent_http serve"
    asked = said(python, "-m", "claude_agent_http", cwd=tmp_path, path="/nowhere")
    assert asked == f"{python} -m claude_agent_http serve"
