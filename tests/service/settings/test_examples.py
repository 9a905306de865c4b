"""config.example.yaml and .env.example name every setting, with its true default."""

import re
from pathlib import Path

import pytest
import yaml

from claude_agent_http.settings import Settings, load_settings
from claude_agent_http.settings.names import CONFIG_VARIABLE, CONTAINER_VARIABLE, fields, variables

ROOT = Path(__file__).parents[3]
VARIABLE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", re.M)


def test_the_example_file_says_the_defaults(tmp_path: Path):
    example = load_settings({}, tmp_path, ROOT / "config.example.yaml")
    assert example.settings == load_settings({}, tmp_path).settings


def test_the_example_file_has_every_key():
    content = yaml.safe_load((ROOT / "config.example.yaml").read_text(encoding="utf-8"))
    keys = {
        f"{name}.{key}"
        for name, section in content.items()
        if section and isinstance(section, dict)
        for key in section
    }
    keys |= {name for name in content if name in Settings.model_fields and not content[name]}
    assert keys == set(fields())


@pytest.mark.parametrize("key", fields())
def test_the_example_environment_has_a_variable_of_every_key(key: str):
    assert set(variables(key)) & set(example_variables())


def test_the_example_environment_says_the_defaults(tmp_path: Path):
    known = {CONFIG_VARIABLE, CONTAINER_VARIABLE, *(name for key in fields() for name in variables(key))}
    environ = {name: value for name, value in example_variables().items() if name in known}
    loaded = load_settings(environ, tmp_path)
    assert loaded.settings == load_settings({}, tmp_path).settings
    assert loaded.warnings == ()


def test_both_examples_taken_whole_leave_a_container_its_defaults(tmp_path: Path):
    example = load_settings({}, tmp_path, ROOT / "config.example.yaml", in_container=True)
    assert example.settings == load_settings({}, tmp_path, in_container=True).settings


@pytest.mark.parametrize("key", fields())
def test_the_example_file_describes_a_key_as_the_settings_do(key: str):
    section, _, name = key.rpartition(".")
    lines = (ROOT / "config.example.yaml").read_text(encoding="utf-8").splitlines()
    start = lines.index(f"{section}:") if section else 0
    place = next(at for at in range(start, len(lines)) if lines[at].strip().startswith(f"{name}:"))
    assert described(lines[:place]).startswith(str(fields()[key].description))


@pytest.mark.parametrize("key", fields())
def test_the_example_environment_describes_a_variable_as_the_settings_do(key: str):
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    given = next(at for at, line in enumerate(lines) if line.lstrip("#").partition("=")[0] in variables(key))
    assert described(lines[:given]).startswith(str(fields()[key].description))


def test_the_example_environment_has_no_unknown_variable_of_ours(tmp_path: Path):
    assert load_settings(example_variables(), tmp_path).warnings == ()


def described(lines: list[str]) -> str:
    """The first line of the comment that stands at the end of `lines`."""
    above = [line.strip() for line in lines]
    start = next(at for at in range(len(above), 0, -1) if not above[at - 1].startswith("# "))
    return above[start].removeprefix("# ")


def example_variables() -> dict[str, str]:
    return dict(VARIABLE.findall((ROOT / ".env.example").read_text(encoding="utf-8")))
