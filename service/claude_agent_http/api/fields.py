"""The values that requests carry, each with its limits."""

import difflib
import json
import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.user_id import USER_ID_FORM, USER_ID_MAX, USER_ID_PATTERN

__all__ = [
    "Day",
    "EventTypeName",
    "Message",
    "Metadata",
    "Moment",
    "Position",
    "Reason",
    "Seq",
    "Subdir",
    "Timeout",
    "UserId",
]

_METADATA_BYTES = 16_384
_METADATA_DEPTH = 16
_MAX_SEQ = 2**53 - 1
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
# What `_not_blank` wants, for readers of the schema: something that is no white space.
_VISIBLE = r"[^\s\u0000-\u0020\u007f-\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ufeff]"


def _no_number(value: object) -> object:
    """Pydantic would take a number for seconds since 1970, which the schema does not tell of."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("is no time with its zone, such as 2026-01-31T09:30:00Z")
    return value


def _no_moment(value: object) -> object:
    """Pydantic would take a number, and a time that is midnight, for a day."""
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise ValueError("is no day, such as 2026-01-31")
    return value


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is in UTC before the year 1 or after the year 9999") from None


def _not_blank(text: str) -> str:
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        raise ValueError("is blank; write something")
    return text


def _small_json(value: dict[str, Any]) -> dict[str, Any]:
    if _depth(value) > _METADATA_DEPTH:
        raise ValueError(f"is nested deeper than {_METADATA_DEPTH} levels")
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError:
        raise ValueError("holds text that is not valid Unicode (a lone surrogate)") from None
    except ValueError:
        raise ValueError("holds NaN or an infinite number, which JSON does not have") from None
    if size > _METADATA_BYTES:
        raise ValueError(f"takes {size} bytes as JSON; the limit is {_METADATA_BYTES}")
    return value


def _depth(value: object) -> int:
    """Levels of objects and arrays. The parser has bounded them to what a recursion can take."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _event_type(name: object) -> object:
    known = [kind.value for kind in EventType]
    if not isinstance(name, str) or name in known:
        return name
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise ValueError(f"{name[:64]!r} is no event type; the nearest is {nearest[0]!r}")


Day = Annotated[date, BeforeValidator(_no_moment)]
Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_utc)]
UserId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=USER_ID_MAX,
        pattern=USER_ID_PATTERN,
        description=f"Who owns the session: {USER_ID_FORM}.",
        examples=["alice"],
    ),
]
Subdir = Annotated[
    str,
    Field(
        max_length=200,
        description="A folder below the user's home, relative and without `..`; made when missing.",
        examples=["projects/website"],
    ),
]
Metadata = Annotated[
    dict[str, Any],
    Field(
        description="Any JSON object of yours, up to 16 KB and 16 levels; returned as it came.",
        examples=[{"ticket": 42}],
    ),
    AfterValidator(_small_json),
]
Message = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100_000,
        description="What to say to the agent: 1 to 100,000 characters, not all of them blank or invisible.",
        examples=["Write a haiku about the sea."],
        json_schema_extra={"pattern": _VISIBLE},
    ),
    AfterValidator(_not_blank),
]
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="Why; the agent is told when it is denied.",
        examples=["Not on a Friday."],
        json_schema_extra={"pattern": _VISIBLE},
    ),
    AfterValidator(_not_blank),
]
Timeout = Annotated[
    float,
    Field(
        ge=1,
        le=600,
        allow_inf_nan=False,
        description="Seconds the turn may take; then it is interrupted, and the answer is 504.",
    ),
]
Seq = Annotated[int, Field(ge=0, le=_MAX_SEQ)]
Position = Seq | Literal["latest"]
EventTypeName = Annotated[EventType, BeforeValidator(_event_type)]
