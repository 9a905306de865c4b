"""What the claims of a token say about its bearer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import NotAuthenticatedError
from claude_agent_http.domain.user_id import USER_ID_FORM, is_user_id

__all__ = ["ClaimRule", "ClaimRules"]

_SHOWN = 100


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """`CLAIM=VALUE`: the claim is that text, or a list that holds it; `CLAIM`: it is true. A claim inside
    another is named with dots, unless one has that very name."""

    text: str

    def holds(self, claims: Mapping[str, Any]) -> bool:
        name, equals, value = self.text.partition("=")
        found = _claim(claims, name)
        if not equals:
            return found is True
        return found == value or (isinstance(found, list) and value in found)


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """`user` names the claim that is the user's id."""

    user: str
    admin: ClaimRule | None = None
    act_as: ClaimRule | None = None

    def caller(self, claims: Mapping[str, Any]) -> Caller:
        """Raises NotAuthenticatedError for who is no user, no admin, and acts for nobody."""
        acts_for_any = self.act_as is not None and self.act_as.holds(claims)
        is_admin = self.admin is not None and self.admin.holds(claims)
        user = _claim(claims, self.user)
        user_id = user if isinstance(user, str) and is_user_id(user) else None
        if user_id is None and not acts_for_any and not is_admin:
            raise NotAuthenticatedError(
                f"the token's claim {self.user!r} is no user's id ({USER_ID_FORM}); "
                "name another claim by auth.oidc_user_claim, or have the issuer add one"
            )
        return Caller(user_id, acts_for_any, is_admin, credential=f"oidc:{_printable(claims.get('sub'))}")


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    found: Any = claims
    for part in (name,) if name in claims else name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _printable(subject: Any) -> str:
    """For logs and the audit."""
    text = subject if isinstance(subject, str) else ""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_SHOWN])
