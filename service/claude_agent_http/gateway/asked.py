"""What a request asks for, as every JSON parser would read it. Pure."""

import json
import re
from dataclasses import dataclass

__all__ = ["Asked", "BadRequestError", "asked_for"]

_SPACE = " \t\n\r"
_SPACES = re.compile(r"[ \t\n\r]*")
# A request has a dozen keys, and of values far fewer than these; to read more takes the service seconds.
_MOST_KEYS = 64
_MOST_VALUES = 2_000_000
_MOST_CHARACTERS = 128
_KEYS = ("model", "stream", "max_tokens")
_decode = json.JSONDecoder().raw_decode


class BadRequestError(Exception):
    """The body is no request to the Messages API; the text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`size`: of the request, in bytes. `max_tokens`: how long its answer may be, 0 where it says nothing."""

    model: str
    size: int
    streams: bool = False
    max_tokens: int = 0


def asked_for(body: bytes) -> Asked:
    """Raises BadRequestError, also for a body with two models: parsers differ in which one counts."""
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise BadRequestError(f"the body has more than {_MOST_VALUES} values")
    try:
        given = _given(body.decode("utf-8"))
    except (ValueError, IndexError, RecursionError):
        raise BadRequestError("the body is not a JSON object") from None
    models = given["model"]
    if len(models) != 1 or not isinstance(models[0], str) or not models[0]:
        raise BadRequestError("model: should be one text")
    if len(models[0]) > _MOST_CHARACTERS or not models[0].isprintable():
        raise BadRequestError(f"model: should be at most {_MOST_CHARACTERS} printable characters")
    longest = max((one for one in given["max_tokens"] if type(one) is int and 0 < one < 2**31), default=0)
    return Asked(
        models[0], len(body), streams=[one is True for one in given["stream"]] == [True], max_tokens=longest
    )


def _given(text: str) -> dict[str, list[object]]:
    """Every value of our keys on the top level, in one pass. Raises ValueError, IndexError."""
    found: dict[str, list[object]] = {key: [] for key in _KEYS}
    at = _skip(text, _expect(text, _skip(text, 0), "{"))
    more = text[at] != "}"
    keys = 0
    while more:
        keys += 1
        if keys > _MOST_KEYS:
            raise ValueError
        _expect(text, at, '"')
        key, at = _decode(text, at)
        value, at = _decode(text, _skip(text, _expect(text, _skip(text, at), ":")))
        # Some parsers do not mind the case of a key.
        if (name := key.casefold()) in found:
            found[name].append(value)
        at = _skip(text, at)
        more = text[at] == ","
        at = _skip(text, at + 1) if more else at
    if text[_expect(text, at, "}") :].strip(_SPACE):
        raise ValueError
    return found


def _expect(text: str, at: int, character: str) -> int:
    if text[at] != character:
        raise ValueError
    return at + 1


def _skip(text: str, at: int) -> int:
    """Raises IndexError at the text's end."""
    found = _SPACES.match(text, at)
    at = found.end() if found else at
    if at == len(text):
        raise IndexError
    return at
