"""Every setting as a row for people: secrets are covered."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, SecretStr

from claude_agent_http.settings.load import Loaded
from claude_agent_http.settings.names import fields

__all__ = ["COVER", "Row", "covered_url", "report"]

COVER = "********"


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
        case BaseModel():
            return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case tuple() | list():
            return [_plain(inner) for inner in value]
        case Path():
            return str(value)
        case str() if value.startswith(("http://", "https://")):
            return covered_url(value)
        case _:
            return value


def covered_url(url: str) -> str:
    """Without the user information and the query, where keys are often put."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{COVER}@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, netloc, parts.path, COVER if parts.query else "", parts.fragment))
