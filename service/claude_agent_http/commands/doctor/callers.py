"""Who may call, and whether anybody can."""

import asyncio
from contextlib import suppress
from pathlib import Path

from claude_agent_http.auth import CheckedFile, checked_files
from claude_agent_http.authentication import keys_folder
from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.commands.storage import open_keys
from claude_agent_http.commands.terminal import this_program
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.settings import SessionSettings, Settings, covered_url, insecurity, refusal

__all__ = ["check_callers"]

_NAME = "callers"
_SECONDS = 15
_SHOWN = 5


def check_callers(settings: Settings) -> Finding:
    if settings.auth.mode == "none":
        return _nobody_is_asked(settings)
    folder = keys_folder(settings.auth)
    files = checked_files(folder)
    if (finding := _bad_files(folder, files)) is not None:
        return finding
    stored = asyncio.run(_has_keys(settings.session))
    if settings.auth.mode == "oidc":
        return ok(_NAME, f"asked for a token of {covered_url(str(settings.auth.oidc_issuer))}, or an API key")
    if not stored and not files:
        found = "asked for an API key, and there is none yet: every request is refused"
        return warn(_NAME, found, f"make one: `{this_program()} keys create`")
    where = ["the database"] * stored + [f"{len(files)} files in {folder}"] * bool(files)
    return ok(_NAME, f"asked for an API key; there are some in {' and '.join(where)}")


def _nobody_is_asked(settings: Settings) -> Finding:
    if (reason := refusal(settings)) is not None:
        what, _, advice = reason.partition(". ")
        return fail(_NAME, what, advice)
    if (warning := insecurity(settings)) is not None:
        what, _, advice = warning.partition("; ")
        return warn(_NAME, what, advice)
    return ok(_NAME, "nobody is asked who they are, and only this machine reaches the service")


def _bad_files(folder: Path, files: list[CheckedFile]) -> Finding | None:
    """Those that open nothing; without such, those that others can read."""
    if faults := [f"{file.name} {file.fault}" for file in files if file.fault is not None]:
        return warn(_NAME, f"files in {folder} that open nothing: {_few(faults)}", "mend or remove them")
    if exposed := [f"{file.name} ({file.exposure})" for file in files if file.exposure is not None]:
        advice = "take that right away (chmod 600; defaultMode 0440 of a Secret's volume) and change the keys"
        return warn(_NAME, f"keys in {folder} that others can read: {_few(exposed)}", advice)
    return None


def _few(texts: list[str]) -> str:
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


async def _has_keys(session: SessionSettings) -> bool:
    """A database that does not answer is the finding of another line."""
    with suppress(StorageError, TimeoutError):
        async with asyncio.timeout(_SECONDS), open_keys(session, prepare=False) as keys:
            return bool(await keys.page(limit=1))
    return False
