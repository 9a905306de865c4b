"""Answers to what is no request: they never reach the application, and say what is wrong as it would."""

import json
from dataclasses import dataclass
from http import HTTPStatus

__all__ = [
    "BAD_REQUEST",
    "BODY_OF_AN_UPGRADE",
    "HEAD_TOO_LARGE",
    "HEAD_TOO_SLOW",
    "TOO_MANY_CONNECTIONS",
    "Refusal",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Ends its connection."""

    status: HTTPStatus
    detail: str

    @property
    def text(self) -> bytes:
        """The whole response."""
        kind = self.status.phrase.lower().replace(" ", "_")
        problem = {
            "type": f"urn:claude-agent-http:problem:{kind}",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        body = json.dumps(problem).encode()
        head = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "content-type: application/problem+json",
            f"content-length: {len(body)}",
            "connection: close",
            *(["retry-after: 5"] if self.status is HTTPStatus.SERVICE_UNAVAILABLE else []),
        ]
        return "\r\n".join([*head, "", ""]).encode() + body


BAD_REQUEST = Refusal(
    HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request, or one that can be read in two ways"
)
BODY_OF_AN_UPGRADE = Refusal(
    HTTPStatus.BAD_REQUEST,
    "the service speaks HTTP/1.1 alone; set the client to that, so that it sends no `Upgrade` with a body",
)
HEAD_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the address and the headers are too large or too many; send fewer or shorter ones",
)
HEAD_TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "the headers did not come whole in time; send them again")
TOO_MANY_CONNECTIONS = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open; close some, or try again later"
)
