"""The way to the model that the settings choose: always through the gateway, whichever model it is."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from claude_agent_http.domain.usage import MICRO_USD, Budget, BudgetLimits
from claude_agent_http.engine import Budgets
from claude_agent_http.gateway import (
    CLAUDE_PRICES,
    Gateway,
    Price,
    Prices,
    Rules,
    SecretFile,
    UpstreamSource,
    why_refused,
)
from claude_agent_http.ports import ModelAccess
from claude_agent_http.server import ConnectionLimits, Holders, held_protocol, part_of_descriptors
from claude_agent_http.settings import GatewaySettings, Settings
from claude_agent_http.system import LoopbackServer

__all__ = ["budget_limits", "configured_model_access", "gateway_server", "why_default_model_fails"]

# Of an agent that waits for the user: a new connection would cost its next request time.
_IDLE_SECONDS = 600
# Names that the CLI has for its models.
_ALIASES = frozenset({"sonnet", "opus", "haiku", "fable", "mythos", "best", "default", "opusplan"})
_MOST_OF_AN_AGENT = 40  # Above the requests that one may have under way, which are refused in better words.
_MOST_STRANGERS = 128


@asynccontextmanager
async def configured_model_access(
    settings: Settings, secret_files: Mapping[str, Path], budgets: Budgets
) -> AsyncIterator[ModelAccess]:
    """`secret_files` names the file that a secret of the settings came from, by its key."""
    async with AsyncExitStack() as stack:
        source = await _source(settings, secret_files, stack)
        gateway = await stack.enter_async_context(Gateway(source, _rules(settings.gateway, budgets)))
        server = await stack.enter_async_context(gateway_server(gateway))
        yield gateway.access(server.url)


def gateway_server(
    gateway: Gateway, *, strangers: int = _MOST_STRANGERS, limits: ConnectionLimits | None = None
) -> LoopbackServer:
    """Every agent reaches its port, whatever else the jail forbids, and may mean it ill."""
    if limits is None:
        limits = ConnectionLimits(part_of_descriptors(4), 0, reader_seconds=gateway.times.silence)
    holders = Holders(gateway.holder_of, each=_MOST_OF_AN_AGENT, strangers=strangers)
    return LoopbackServer(
        gateway.app, grace_seconds=0, idle_seconds=_IDLE_SECONDS, protocol=held_protocol(limits, holders)
    )


def budget_limits(settings: GatewaySettings) -> BudgetLimits:
    def budget(usd: Decimal | None, tokens: int | None) -> Budget:
        return Budget(None if usd is None else int(usd * MICRO_USD), tokens)

    return BudgetLimits(
        budget(settings.session_budget_usd, settings.session_budget_tokens),
        budget(settings.user_day_budget_usd, settings.user_day_budget_tokens),
        budget(settings.service_day_budget_usd, settings.service_day_budget_tokens),
    )


def why_default_model_fails(settings: Settings) -> str | None:
    """Why every turn will be refused its model; None when none will, or only the CLI knows which it is."""
    model = re.sub(r"\[\w+\]$", "", settings.defaults.model or "")
    if not model or model.lower() in _ALIASES:
        return None
    gateway = settings.gateway
    money = budget_limits(gateway).count_money
    return why_refused(model, _prices(gateway), gateway.allowed_models, counts_money=money)


def _rules(settings: GatewaySettings, budgets: Budgets) -> Rules:
    return Rules(budgets, _prices(settings), settings.allowed_models)


def _prices(settings: GatewaySettings) -> Prices:
    """What the user says of a price stands before what we know."""
    given = [
        (pattern, Price(price.input, price.output, price.cache_read, price.cache_write))
        for pattern, price in settings.prices.items()
    ]
    return Prices((*given, *CLAUDE_PRICES))


async def _source(
    settings: Settings, secret_files: Mapping[str, Path], stack: AsyncExitStack
) -> UpstreamSource:
    if settings.uses_demo_model:
        # Imported here: who has a model of their own need not carry this one.
        from claude_agent_http.demo.app import create_demo_model  # noqa: PLC0415

        demo = LoopbackServer(create_demo_model(), grace_seconds=0, idle_seconds=_IDLE_SECONDS)
        return UpstreamSource(api_key="demo", base_url=(await stack.enter_async_context(demo)).url)
    model = settings.model
    if model.binding_dir is not None:
        return _bound(model.binding_dir, model.base_url)
    return UpstreamSource(
        api_key=_secret("model.api_key", model.api_key, secret_files),
        auth_token=_secret("model.auth_token", model.auth_token, secret_files),
        base_url=model.base_url,
    )


def _bound(folder: Path, base_url: str | None) -> UpstreamSource:
    """A mounted Secret has a key or a token, and where its model is not at `base_url`, an address."""

    def file(name: str) -> SecretFile:
        return SecretFile(folder / name, may_miss=True)

    return UpstreamSource(
        api_key=file("api-key"), auth_token=file("auth-token"), base_url=base_url or file("base-url")
    )


def _secret(key: str, value: SecretStr | None, files: Mapping[str, Path]) -> str | SecretFile | None:
    if key in files:
        return SecretFile(files[key])
    return value.get_secret_value() if value else None
