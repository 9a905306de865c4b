"""Every place of a request where a client may write something, from the OpenAPI document."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

__all__ = ["Place", "places"]

_METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Place:
    """`where` is path, query, header, json (a field of the body) or raw (all of the body); `required` are the
    other fields that the body must have."""

    method: str
    path: str
    where: str
    name: str
    required: tuple[str, ...] = ()

    def request(self, text: str, known: dict[str, Any]) -> dict[str, Any]:
        """For `httpx`; `known` has good values by the names of path parameters and required fields."""
        url = self.path
        for name in (part[1:-1] for part in self.path.split("/") if part.startswith("{")):
            given = text if (self.where, self.name) == ("path", name) else known[name]
            url = url.replace(f"{{{name}}}", quote(given, safe=""))
        return {"method": self.method.upper(), "url": url, **self._rest(text, known)}

    def _rest(self, text: str, known: dict[str, Any]) -> dict[str, Any]:
        match self.where:
            case "query":
                return {"params": {self.name: text}}
            case "header":  # A header cannot hold more: what ends a line ends the header.
                return {"headers": {self.name: text.encode("unicode_escape")}}
            case "raw":
                return {"content": text.encode()}
            case "json":
                value = {text: [text]} if self.name == "metadata" else text
                body = {name: known[name] for name in self.required} | {self.name: value}
                return {"content": json.dumps(body), "headers": {"Content-Type": _JSON}}
        return {}

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path} {self.where} {self.name}"


def places(document: dict[str, Any]) -> Iterator[Place]:
    for path, operations in document["paths"].items():
        for method in _METHODS & operations.keys():
            operation = operations[method]
            for one in operation.get("parameters", ()):
                yield Place(method, path, one["in"], one["name"])
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                yield from _of_body(method, path, kind, content["schema"], document)
            yield Place(method, path, "header", "X-Request-Id")
            yield Place(method, path, "query", f"unknown-{uuid4().hex[:4]}")


def _of_body(
    method: str, path: str, kind: str, schema: dict[str, Any], document: dict[str, Any]
) -> Iterator[Place]:
    if kind != _JSON:
        yield Place(method, path, "raw", "")
        return
    model = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    required = tuple(model.get("required", ()))
    for name in model["properties"]:
        yield Place(method, path, "json", name, tuple(one for one in required if one != name))
