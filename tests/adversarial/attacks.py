"""The attacks of attacks.yaml as uses of tools."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ATTACKS", "STARTS", "Attack"]

STARTS = "starts of sessions"
"""In the place of a tool: its command is run in each."""

_PYTHON = """
import ctypes, fcntl, os, resource, select, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""
_BODY = '{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'
_ANSWERED = '"type": ?"message"'


@dataclass(frozen=True, slots=True)
class Attack:
    """See attacks.yaml. `given` is the tool's input."""

    group: str
    name: str
    tool: str
    given: dict[str, Any]
    proof: str
    by: str = ""
    planted: str = ""
    control: str = ""
    without: str = ""
    remains: str = ""


def _load() -> tuple[Attack, ...]:
    groups = yaml.safe_load(Path(__file__).with_name("attacks.yaml").read_text())
    return tuple(_attack(group, fields) for group, attacks in groups.items() for fields in attacks)


def _attack(group: str, fields: dict[str, Any]) -> Attack:
    texts = {
        key: fields[key]
        for key in ("name", "by", "planted", "control", "without", "remains")
        if key in fields
    }
    tool, given = _use(fields)
    if "model" in fields:
        texts["control"] = _request({"token": "$ANTHROPIC_API_KEY"})
    proof = fields.get("proof", _ANSWERED if "model" in fields else "DONE")
    return Attack(group, tool=tool, given=given, proof=proof, **texts)


def _use(fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:  # noqa: PLR0911
    match fields:
        case {"bash": command}:
            return "Bash", {"command": f"{{ {command}; }} && echo DONE" if "proof" not in fields else command}
        case {"python": code}:
            return "Bash", {"command": f"@python@ -c {shlex.quote(_PYTHON + code)} && echo DONE"}
        case {"starts": command}:
            return STARTS, {"command": command}
        case {"model": request}:
            return "Bash", {"command": _request(request)}
        case {"read": path}:
            return "Read", {"file_path": path}
        case {"write": path}:
            return "Write", {"file_path": path, "content": "x"}
        case {"fetch": url}:
            return "WebFetch", {"url": url, "prompt": "What does it say?"}
        case {"mcp": path}:
            return "mcp__files__read", {"path": path}
    raise ValueError(f"an attack of no known kind: {fields}")


def _request(given: dict[str, str]) -> str:
    url = f"$ANTHROPIC_BASE_URL{given.get('path', '/v1/messages')}"
    headers = f'-H "x-api-key: {given["token"]}" -H "content-type: application/json"'
    return f"curl -s -m 5 --path-as-is {url} {headers} -d {shlex.quote(_BODY)}"


ATTACKS = _load()
