"""Which model a request asks for, as every JSON parser would read it. Pure."""

import json
import re

__all__ = ["BadRequestError", "asked_model"]

_SPACE = " \t\n\r"
_SPACES = re.compile(r"[ \t\n\r]*")
# A request has a dozen keys, and of values far fewer than these; to read more takes the service seconds.
_MOST_KEYS = 64
_MOST_VALUES = 2_000_000
_MOST_CHARACTERS = 128
_decode = json.JSONDecoder().raw_decode


class BadRequestError(Exception):
    """The body is no request to the Messages API; the text says why."""


def asked_model(body: bytes) -> str:
    """Raises BadRequestError, also for a body with two models: parsers differ in which one counts."""
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise BadRequestError(f"the body has more than {_MOST_VALUES} values")
    try:
        models = _models(body.decode("utf-8"))
    except (ValueError, IndexError, RecursionError):
        raise BadRequestError("the body is not a JSON object") from None
    if len(models) != 1 or not isinstance(models[0], str) or not models[0]:
        raise BadRequestError("model: should be one text")
    if len(models[0]) > _MOST_CHARACTERS or not models[0].isprintable():
        raise BadRequestError(f"model: should be at most {_MOST_CHARACTERS} printable characters")
    return models[0]


def _models(text: str) -> list[object]:
    """Every value of the key `model` on the top level, in one pass. Raises ValueError, IndexError."""
    found: list[object] = []
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
        if key.casefold() == "model":
            found.append(value)
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
