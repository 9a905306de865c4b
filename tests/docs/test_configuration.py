"""docs/configuration.md lists every setting, with its variables and its true default."""

import re

import pytest
from tests.docs.markdown import DOCS, blocks

from claude_agent_http.settings import load_settings
from claude_agent_http.settings.names import CONFIG_VARIABLE, CONTAINER_VARIABLE, fields, variables

PAGE = DOCS / "configuration.md"
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.+?) \| (.+?) \| (.+) \|$", re.M)


def rows() -> dict[str, tuple[str, str]]:
    """Key to its variables and default, as they stand in the page."""
    return {key: (names, default) for key, names, default, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def test_every_setting_is_listed_once_in_order():
    assert [found[0] for found in ROW.findall(PAGE.read_text(encoding="utf-8"))] == list(fields())


@pytest.mark.parametrize("key", fields())
def test_a_row_names_the_variables_and_the_default(key: str):
    names, default = rows()[key]
    assert re.findall(r"`(\w+)`", names) == list(variables(key))
    assert default == shown(fields()[key].default)


@pytest.mark.parametrize("key", fields())
def test_a_meaning_begins_as_everywhere_else(key: str):
    meaning = next(found[3] for found in ROW.findall(PAGE.read_text(encoding="utf-8")) if found[0] == key)
    assert meaning.replace("`", "").lower().startswith(str(fields()[key].description).lower())


@pytest.mark.parametrize("name", [CONFIG_VARIABLE, CONTAINER_VARIABLE])
def test_a_variable_without_a_key_is_named(name: str):
    assert f"| `{name}` |" in PAGE.read_text(encoding="utf-8")


def test_the_example_of_servers_and_plugins_is_taken(tmp_path):
    example = next(block.text for block in blocks(PAGE) if block.language == "yaml")
    (tmp_path / "plugins" / "review").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(example)
    loaded = load_settings({}, tmp_path)
    assert set(loaded.settings.mcp_servers) == {"files", "search"}


def shown(default: object) -> str:
    if default is None:
        return "unset"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
