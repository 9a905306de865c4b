"""How callers show who they are, as the settings choose it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from claude_agent_http.auth import Callers, KeyFiles, KeyUse, StoredKeys
from claude_agent_http.auth.callers import Recognizer
from claude_agent_http.ports import ApiKeys, Authenticator, Clock
from claude_agent_http.settings import AuthSettings

__all__ = ["Authentication", "configured_authentication", "keys_folder", "usable_issuer_keys"]

_ALGORITHMS = ("RS256", "ES256")
_USUAL_FOLDER = Path("/bindings/api-keys")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Authentication:
    """`authenticator` is None where nobody is asked. `forget` is told of a key that was changed here."""

    authenticator: Authenticator | None = None
    forget: Callable[[str], None] | None = None


@asynccontextmanager
async def configured_authentication(
    auth: AuthSettings, keys: ApiKeys, clock: Clock
) -> AsyncIterator[Authentication]:
    """What it knows is kept up to date until the end."""
    if auth.mode == "none":
        yield Authentication()
        return
    async with AsyncExitStack() as stack:
        use = KeyUse(keys)
        await stack.enter_async_context(use.kept())
        files = KeyFiles(keys_folder(auth), clock)
        await stack.enter_async_context(files.followed())
        stored = StoredKeys(keys, clock, use.note)
        recognizers: list[Recognizer] = [files, stored]
        if auth.mode == "oidc":
            recognizers.append(await stack.enter_async_context(_tokens(auth, clock)))
        elif not len(files) and not await keys.page(limit=1):
            _log.warning("there is no API key yet; make one with `claude-agent-http keys create`")
        yield Authentication(Callers(recognizers), stored.forget)


def _tokens(auth: AuthSettings, clock: Clock) -> AbstractAsyncContextManager[Recognizer]:
    # Imported here: who takes no tokens need not carry what checks them.
    from claude_agent_http.auth.openid import ClaimRule, ClaimRules, openid_tokens  # noqa: PLC0415

    rules = ClaimRules(
        auth.oidc_user_claim,
        admin=ClaimRule(auth.oidc_admin_claim) if auth.oidc_admin_claim else None,
        act_as=ClaimRule(auth.oidc_act_as_claim) if auth.oidc_act_as_claim else None,
    )
    return openid_tokens(
        clock,
        rules,
        issuer=str(auth.oidc_issuer),
        audience=auth.oidc_audience,
        algorithms=auth.oidc_algorithms or _ALGORITHMS,
        keys_url=auth.oidc_jwks_url,
    )


async def usable_issuer_keys(auth: AuthSettings) -> int:
    """How many keys the issuer has for tokens that would be taken. Raises IssuerError."""
    from claude_agent_http.auth.openid import usable_keys  # noqa: PLC0415

    algorithms = auth.oidc_algorithms or _ALGORITHMS
    return await usable_keys(str(auth.oidc_issuer), auth.oidc_jwks_url, algorithms)


def keys_folder(auth: AuthSettings) -> Path:
    """Where the files of API keys are, if there are any."""
    return auth.keys_dir or _USUAL_FOLDER
