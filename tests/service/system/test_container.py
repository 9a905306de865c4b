"""Whether a container is recognised by what its engine leaves in it."""

from pathlib import Path

import pytest

from claude_agent_http.system import in_container


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_file_tells(mark: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / mark).touch()
    assert in_container({}, tmp_path)


@pytest.mark.parametrize("environ", [{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {"container": "podman"}])
def test_a_variable_tells(environ: dict[str, str], tmp_path: Path) -> None:
    assert in_container(environ, tmp_path)


@pytest.mark.parametrize("environ", [{}, {"container": ""}, {"CONTAINER": "x"}])
def test_without_either_it_is_none(environ: dict[str, str], tmp_path: Path) -> None:
    assert not in_container(environ, tmp_path)
