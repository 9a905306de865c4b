"""Every setting as a row for people: secrets are covered."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from claude_agent_http.settings.cover import COVER, covered_arguments, covered_url
from claude_agent_http.settings.load import Loaded
from claude_agent_http.settings.mcp import StdioServer
from claude_agent_http.settings.names import fields

__all__ = ["Row", "report"]


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    value: Any
    """Made of JSON's types; None where nothing is set."""
    source: str


def report(loaded: Loaded) -> list[Row]:
    return list(_rows(loaded))


def _rows(loaded: Loaded) -> Iterator[Row]:
    for key in fields():
        value: Any = loaded.settings
        for part in key.split("."):
            value = getattr(value, part)
        yield Row(key, _plain(value), loaded.origins[key])


def _plain(value: Any) -> Any:  # noqa: PLR0911
    match value:
        case SecretStr():
            return COVER
        case StdioServer():
            return _fields(value) | {"args": covered_arguments(value.args)}
        case BaseModel():
            return _fields(value)
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case tuple() | list():
            return [_plain(inner) for inner in value]
        case Decimal():
            return float(value)
        case Path():
            return str(value)
        case str() if value.startswith(("http://", "https://")):
            return covered_url(value)
        case _:
            return value


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: _plain(getattr(model, name)) for name in type(model).model_fields}
