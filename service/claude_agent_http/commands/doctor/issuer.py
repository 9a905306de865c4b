"""Whether the OpenID issuer tells the keys that its tokens are checked with."""

import asyncio

from claude_agent_http.authentication import usable_issuer_keys
from claude_agent_http.commands.doctor.finding import Finding, fail, ok
from claude_agent_http.domain.errors import IssuerError
from claude_agent_http.settings import AuthSettings, covered_url

__all__ = ["check_issuer"]

_NAME = "issuer"
_WHERE = "auth.oidc_issuer and auth.oidc_jwks_url"


def check_issuer(auth: AuthSettings) -> Finding:
    """It is asked just as the service does it."""
    issuer = covered_url(str(auth.oidc_issuer))
    try:
        usable = asyncio.run(usable_issuer_keys(auth))
    except IssuerError as error:
        advice = f"the service starts, and takes no token until the issuer answers; see to it, or to {_WHERE}"
        return fail(_NAME, str(error), advice)
    if not usable:
        found = f"{issuer} has no key for a way of signing that is allowed; every token is refused"
        return fail(_NAME, found, f"see to {_WHERE}, or allow its way of signing by auth.oidc_algorithms")
    return ok(_NAME, f"{issuer} has {usable} key{'' if usable == 1 else 's'} for its tokens")
