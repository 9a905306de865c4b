"""Requests for every operation of an OpenAPI document, with the values that a test wants in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "Operation", "operations"]

_ANY = {"string": "x", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True)
class Asked:
    """The parts of one request."""

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    json: dict[str, Any] | None = None
    content: bytes | None = None

    def sent(self) -> dict[str, Any]:
        """As httpx takes it."""
        body = {"json": self.json} if self.json is not None else {"content": self.content}
        return {"method": self.method, "url": self.path, "params": self.params, **body}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    described: Mapping[str, Any]
    schemas: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def access(self) -> str | None:
        return self.described.get("x-access")

    def names(self, value: str) -> bool:
        """Whether a request has to, or can, say this value, in its path, its query or its body."""
        return value in self._parameters() or value in self._body().get("properties", {})

    def requires(self, value: str) -> bool:
        places = [one for one in self.described.get("parameters", []) if one["name"] == value]
        return any(one.get("required") for one in places) or value in self._body().get("required", [])

    def asked(self, given: Mapping[str, Any]) -> Asked:
        """A good request that says all of `given` that it can, and else only what it has to."""
        path, params = self.path, {}
        for one in self.described.get("parameters", []):
            name = one["name"]
            if one["in"] == "path":
                path = path.replace(f"{{{name}}}", str(given.get(name, _example(one["schema"]))))
            elif one["in"] == "query" and (name in given or one.get("required")):
                params[name] = given.get(name, _example(one["schema"]))
        body = self._body()
        if not body:
            return Asked(self.method, path, params, content=b"x" if "requestBody" in self.described else None)
        names = [name for name in body["properties"] if name in given or name in body.get("required", [])]
        values = {name: given.get(name, _example(body["properties"][name])) for name in names}
        return Asked(self.method, path, params, json=values)

    def _parameters(self) -> set[str]:
        return {one["name"] for one in self.described.get("parameters", [])}

    def _body(self) -> Mapping[str, Any]:
        content = self.described.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        found: Mapping[str, Any] = self.schemas[name] if name else schema
        return found


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            yield Operation(method.upper(), path, described, document["components"]["schemas"])


def _example(schema: Mapping[str, Any]) -> Any:
    if schema.get("examples"):
        return schema["examples"][0]
    return schema.get("default") or schema.get("enum", [None])[0] or _ANY[schema.get("type", "string")]
