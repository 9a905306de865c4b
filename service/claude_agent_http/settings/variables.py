"""What the environment gives."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_agent_http.domain.api_key import API_KEY_VARIABLE
from claude_agent_http.settings.given import Given
from claude_agent_http.settings.names import (
    CONFIG_VARIABLE,
    CONTAINER_VARIABLE,
    PREFIX,
    fields,
    is_list,
    is_secret,
    is_structure,
    variables,
)
from claude_agent_http.settings.problems import Problem, nearest

__all__ = ["Environment", "known_variables", "read_environment"]

# The SDK's own variables share our prefix.
_FOREIGN = "CLAUDE_AGENT_SDK_"
# With which people tell the CLI, elsewhere, where its model is.
_OF_THE_CLI = re.compile(
    "CLAUDE_CODE_USE_(BEDROCK|VERTEX|FOUNDRY)|CLAUDE_CODE_OAUTH_TOKEN|ANTHROPIC_(CUSTOM_HEADERS|SMALL_FAST_MODEL)"
    "|ANTHROPIC_DEFAULT_[A-Z]+_MODEL|ANTHROPIC_(BEDROCK|VERTEX|FOUNDRY)_[A-Z_]+"
)
_NOT_HANDED_ON = (
    "agents get no variable of the service's, and their model by ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN "
    "and ANTHROPIC_BASE_URL only; put a gateway that speaks the Messages API before any other provider"
)
_MAX_SECRET_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Environment:
    given: tuple[Given, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


class _BadVariable(Exception):
    pass


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Empty variables count as unset. An unknown variable warns; the rest of what is wrong are problems."""
    given: list[Given] = []
    problems: list[Problem] = []
    for key in fields():
        try:
            found = list(_values(key, environ))
            conflict = _conflict(key, found)
        except _BadVariable as error:
            problems.append(Problem(key, *error.args))
            continue
        if conflict:
            problems.append(conflict)
        given += found[:1]
    return Environment(tuple(given), tuple(problems), tuple(_unknown(environ)))


def known_variables() -> set[str]:
    """Every name that means something, `<NAME>_FILE` of secrets included."""
    known = {API_KEY_VARIABLE, CONFIG_VARIABLE, CONTAINER_VARIABLE}
    for key in fields():
        known |= set(variables(key))
        if is_secret(key):
            known |= {f"{name}_FILE" for name in variables(key)}
    return known


def _values(key: str, environ: Mapping[str, str]) -> Iterator[Given]:
    for name in variables(key):
        if text := environ.get(name, "").strip():
            yield Given(key, _decode(key, text, name), name)
        file_name = f"{name}_FILE"
        if is_secret(key) and (path := environ.get(file_name, "").strip()):
            yield Given(key, _read_secret(Path(path), file_name), file_name, Path(path))


def _conflict(key: str, found: list[Given]) -> Problem | None:
    for other in found[1:]:
        if other.value != found[0].value:
            both = f"{found[0].source} and {other.source}"
            return Problem(key, both, "they set the same key to different values; keep one of them")
    return None


def _decode(key: str, text: str, name: str) -> Any:
    if is_structure(key) or (is_list(key) and text.startswith("[")):
        return _json(text, name)
    return _split(text) if is_list(key) else text


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # The text itself may hold secrets: only the place is told.
        place = (
            f" (line {error.lineno} column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise _BadVariable(name, f"should be JSON, but does not parse{place}") from None


def _split(text: str) -> list[str]:
    """At commas, except those in parentheses: `Bash(git log, git show), Read` are two tools."""
    return [part for piece in re.split(r",(?![^()]*\))", text) if (part := piece.strip())]


def _read_secret(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
        text = content.decode("utf-8").strip()
    except OSError as error:
        raise _BadVariable(name, f"cannot read the file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _BadVariable(name, f"the file {path} is not text") from None
    if len(content) > _MAX_SECRET_BYTES:
        raise _BadVariable(name, f"the file {path} is too large for a secret")
    if not text:
        raise _BadVariable(name, f"the file {path} is empty")
    return text


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = known_variables()
    for name in sorted(environ):
        if name.startswith(PREFIX) and not name.startswith(_FOREIGN) and name not in known:
            yield f"the variable {name} is unknown and has no effect{nearest(name, known)}"
        elif environ[name] and _OF_THE_CLI.fullmatch(name) and name not in known:
            yield f"the variable {name} has no effect: {_NOT_HANDED_ON}"
