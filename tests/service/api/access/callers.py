"""Who calls here, and what they show."""

from claude_agent_http.domain.caller import Caller

SESSIONS, CHAT, USERS = "/api/v1/sessions", "/api/v1/chat", "/api/v1/users"
CALLERS = {
    "alice": Caller("alice", credential="key:a"),
    "bob": Caller("bob", credential="key:b"),
    "backend": Caller(acts_for_any=True, credential="key:backend"),
    "admin": Caller(is_admin=True, credential="key:admin"),
}


def shown(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}
