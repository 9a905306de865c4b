"""Column types that bring back what went in, equal on every database."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Dialect, Text, Tuple, literal, tuple_
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Postgres stores no NUL and no driver sends a lone surrogate: both are written as \xxxx.
_UNSTORABLE = re.compile("[\\\\\x00\ud800-\udfff]")
_ESCAPED = re.compile(r"\\([0-9a-f]{4})")


def encode(value: Any) -> str:
    """JSON in pure ASCII, so NUL and lone surrogates are escapes that any text column can hold."""
    return json.dumps(value, separators=(",", ":"))


def decode(text: str) -> Any:
    return json.loads(text)


class ExactText(TypeDecorator[str]):
    """Text of any Python string, compared and sorted by code point."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # Not by `type_descriptor`: asyncpg's would make it a VARCHAR.
        return Text(collation="C") if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return _UNSTORABLE.sub(lambda match: f"\\{ord(match[0]):04x}", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or "\\" not in value:
            return value
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)


class Name(TypeDecorator[Any]):
    """A member of a StrEnum, as its value. `told` makes one of what is read, where a newer version may have
    written what this one does not know."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[StrEnum], told: Callable[[str], StrEnum] | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.told = told or kind

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.told(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.told(value)


class Json(TypeDecorator[Any]):
    """A JSON value as text; what comes out is a new object, deep-equal to what went in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else decode(value)


class UtcMicroseconds(TypeDecorator[datetime]):
    """An aware datetime as whole microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + value * _MICROSECOND


def row_of(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> Tuple:
    """Of as many values as columns, each stored as its column's are, to be compared with them."""
    return tuple_(*(literal(value, column.type) for column, value in zip(columns, values, strict=True)))


def to_microseconds(moment: datetime) -> int:
    """Since 1970 UTC."""
    return (moment - _EPOCH) // _MICROSECOND
