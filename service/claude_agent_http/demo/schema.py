"""The part of Anthropic's request schema whose violation is a 400."""

from collections.abc import Mapping
from typing import Any

__all__ = ["InvalidRequestError", "check_count_request", "check_request"]

_ROLES = ("user", "assistant", "system")


class InvalidRequestError(ValueError):
    """The request body is refused; the text is for the caller."""


def check_request(body: Any) -> Mapping[str, Any]:
    """`body` itself when it is a Messages request, else InvalidRequestError."""
    checked = check_count_request(body)
    limit = checked.get("max_tokens")
    counts = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1
    _require(counts, "max_tokens: must be 1 or more")
    _require(isinstance(checked.get("stream", False), bool), "stream: must be a boolean")
    return checked


def check_count_request(body: Any) -> Mapping[str, Any]:
    """As `check_request`, for a body that counts tokens only."""
    if not isinstance(body, dict):
        raise InvalidRequestError("body: must be a JSON object")
    _require(isinstance(body.get("model"), str) and body["model"] != "", "model: field required")
    messages = body.get("messages")
    _require(isinstance(messages, list) and messages != [], "messages: at least one message is required")
    for index, message in enumerate(body["messages"]):
        _check_message(index, message)
    _check_optional(body)
    return body


def _check_message(index: int, message: Any) -> None:
    where = f"messages.{index}"
    _require(isinstance(message, dict), f"{where}: must be an object")
    _require(message.get("role") in _ROLES, f"{where}.role: must be one of {', '.join(_ROLES)}")
    _check_content(f"{where}.content", message.get("content"))


def _check_content(where: str, content: Any) -> None:
    if isinstance(content, str):
        return
    _require(isinstance(content, list), f"{where}: must be a string or a list of blocks")
    for number, block in enumerate(content):
        typed = isinstance(block, dict) and isinstance(block.get("type"), str)
        _require(typed, f"{where}.{number}.type: field required")
        _require(isinstance(block.get("text", ""), str), f"{where}.{number}.text: must be a string")
        if block["type"] == "tool_result":
            _check_content(f"{where}.{number}.content", block.get("content", ""))


def _check_optional(body: Mapping[str, Any]) -> None:
    tools, metadata = body.get("tools"), body.get("metadata")
    _require(
        tools is None or (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)),
        "tools: must be a list of objects",
    )
    _require(metadata is None or isinstance(metadata, dict), "metadata: must be an object")
    if body.get("system") is not None:
        _check_content("system", body["system"])


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidRequestError(message)
