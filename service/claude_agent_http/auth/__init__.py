"""Who calls, by what a request shows: everything that implements `ports.Authenticator`.

What knows JSON Web Tokens is in `auth.openid`, which only a service that takes them imports."""

from claude_agent_http.auth.callers import Callers
from claude_agent_http.auth.fake import KnownCallers
from claude_agent_http.auth.key_files import CheckedFile, KeyFiles, checked_files
from claude_agent_http.auth.key_use import KeyUse
from claude_agent_http.auth.stored_keys import StoredKeys

__all__ = [
    "Callers",
    "CheckedFile",
    "KeyFiles",
    "KeyUse",
    "KnownCallers",
    "StoredKeys",
    "checked_files",
]
