"""What single values cannot tell: paths that must exist, keys that contradict each other."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from claude_agent_http.settings.model import Settings
from claude_agent_http.settings.problems import Problem

__all__ = ["contradictions", "hints", "with_absolute_paths"]

_OF_ONE_PROCESS = {
    "sqlite": "an SQLite file belongs to one process",
    "memory": "memory belongs to one process",
}
_UNCHECKED = ("disable", "allow", "prefer")


def with_absolute_paths(settings: Settings, environ: Mapping[str, str], cwd: Path) -> Settings:
    """Relative paths stand under `cwd`; `~` is HOME; a bare `cli_path` not there is sought on PATH."""

    def absolute(path: Path) -> Path:
        home = environ.get("HOME")
        at_home = bool(home) and path.parts[:1] == ("~",)
        place = Path(home or "", *path.parts[1:]) if at_home else path
        return Path(os.path.normpath(cwd / place))

    def command(path: Path) -> Path:
        if len(path.parts) == 1 and not absolute(path).exists():
            path = Path(shutil.which(path, path=environ.get("PATH", os.defpath)) or path)
        return absolute(path)

    cli, certificate = settings.defaults.cli_path, settings.session.pg_sslrootcert
    keys, binding = settings.auth.keys_dir, settings.model.binding_dir
    read = tuple(absolute(path) for path in settings.isolation.read)
    return settings.model_copy(
        update={
            "user": settings.user.model_copy(update={"base_dir": absolute(settings.user.base_dir)}),
            "session": settings.session.model_copy(
                update={
                    "sqlite_path": absolute(settings.session.sqlite_path),
                    "pg_sslrootcert": absolute(certificate) if certificate else None,
                }
            ),
            "model": settings.model.model_copy(
                update={"binding_dir": absolute(binding) if binding else None}
            ),
            "auth": settings.auth.model_copy(update={"keys_dir": absolute(keys) if keys else None}),
            "defaults": settings.defaults.model_copy(update={"cli_path": command(cli) if cli else None}),
            "isolation": settings.isolation.model_copy(update={"read": read}),
            "plugins": tuple(
                plugin.model_copy(update={"path": absolute(plugin.path)}) for plugin in settings.plugins
            ),
        }
    )


def contradictions(settings: Settings, origins: Mapping[str, str]) -> Iterator[Problem]:
    yield from _paths(settings, origins)
    yield from _replicas(settings, origins)
    if settings.auth.mode == "oidc":
        yield from _issuer(settings, origins)
    if settings.session.storage == "postgresql":
        yield from _certificates(settings, origins)
    if settings.model.demo == "on" and settings.has_model_access:
        keys = [
            f"model.{name}"
            for name in ("api_key", "auth_token", "base_url", "binding_dir")
            if getattr(settings.model, name)
        ]
        given = " and ".join(f"{key} (from {origins[key]})" for key in keys)
        message = f"with {given} set the demo model is never used; remove one or the other"
        yield Problem("model.demo", origins["model.demo"], message)
    yield from _binding(settings, origins)
    api, metrics = settings.api, settings.metrics
    if metrics.enabled and api.port == metrics.port != 0:
        message = f"should be another than api.port (from {origins['api.port']}), but both are {api.port}"
        yield Problem("metrics.port", origins["metrics.port"], message)


def _issuer(settings: Settings, origins: Mapping[str, str]) -> Iterator[Problem]:
    auth, origin = settings.auth, origins["auth.mode"]
    if auth.oidc_issuer is None:
        yield Problem(
            "auth.oidc_issuer", origin, "is missing; auth.mode oidc needs to know whose tokens to take"
        )
    if not auth.oidc_audience:
        message = "is missing; without it a token that was made for another service would do"
        yield Problem("auth.oidc_audience", origin, message)


def hints(settings: Settings) -> tuple[str, ...]:
    """What is no mistake, but surely not what was wanted."""
    if not settings.has_model_access and not settings.uses_demo_model:
        return (
            "no model is configured: the service starts, but every turn will fail; set ANTHROPIC_API_KEY, or "
            "CLAUDE_AGENT_MODEL_DEMO=on for the scripted demo model",
        )
    return ()


def _replicas(settings: Settings, origins: Mapping[str, str]) -> Iterator[Problem]:
    count, storage = settings.api.replicas, settings.session.storage
    if count > 1 and (reason := _OF_ONE_PROCESS.get(storage)):
        given = f"session.storage {storage} (from {origins['session.storage']})"
        message = f"should be 1 with {given}, but is {count}: {reason}; for more use postgresql"
        yield Problem("api.replicas", origins["api.replicas"], message)


def _binding(settings: Settings, origins: Mapping[str, str]) -> Iterator[Problem]:
    """A credential has one source; what the folder holds may come and go while the service runs."""
    model = settings.model
    if model.binding_dir is None:
        return
    source = origins["model.binding_dir"]
    if not model.binding_dir.is_dir():
        yield Problem("model.binding_dir", source, f"{model.binding_dir} is no folder")
    for name in ("api_key", "auth_token"):
        if getattr(model, name):
            given = f"model.{name} (from {origins[f'model.{name}']})"
            yield Problem("model.binding_dir", source, f"holds the credential, and so does {given}; keep one")


def _certificates(settings: Settings, origins: Mapping[str, str]) -> Iterator[Problem]:
    mode, root = settings.session.pg_sslmode, settings.session.pg_sslrootcert
    if mode == "verify-ca" and root is None:
        message = "needs session.pg_sslrootcert: every public CA would do; or use verify-full"
        yield Problem("session.pg_sslmode", origins["session.pg_sslmode"], message)
    if root is not None and not root.is_file():
        yield Problem("session.pg_sslrootcert", origins["session.pg_sslrootcert"], f"{root} is no file")
    if root is not None and mode in _UNCHECKED:
        given = f"session.pg_sslmode {mode} (from {origins['session.pg_sslmode']})"
        message = f"with {given} no certificate is checked; use verify-full, or remove this"
        yield Problem("session.pg_sslrootcert", origins["session.pg_sslrootcert"], message)


def _paths(settings: Settings, origins: Mapping[str, str]) -> Iterator[Problem]:
    base, database, cli = settings.user.base_dir, settings.session.sqlite_path, settings.defaults.cli_path
    if (file := _file_on_the_way(base)) is not None:
        yield Problem("user.base_dir", origins["user.base_dir"], f"should be a folder, but {file} is a file")
    if settings.session.storage == "sqlite":
        source = origins["session.sqlite_path"]
        if database.is_dir():
            yield Problem("session.sqlite_path", source, f"should be a file, but {database} is a folder")
        elif (file := _file_on_the_way(database.parent)) is not None:
            yield Problem("session.sqlite_path", source, f"should lie in a folder, but {file} is a file")
    if cli is not None and not (cli.is_file() and os.access(cli, os.X_OK)):
        what = "is no file that can be run" if cli.exists() else "does not exist"
        yield Problem("defaults.cli_path", origins["defaults.cli_path"], f"{cli} {what}")
    keys = settings.auth.keys_dir
    if keys is not None and not keys.is_dir():
        yield Problem("auth.keys_dir", origins["auth.keys_dir"], f"{keys} is no folder")
    for index, plugin in enumerate(settings.plugins):
        if not plugin.path.is_dir():
            yield Problem(f"plugins.{index}.path", origins["plugins"], f"{plugin.path} is no folder")


def _file_on_the_way(folder: Path) -> Path | None:
    """The part of the path that exists and is no folder."""
    for part in (folder, *folder.parents):
        try:
            if part.is_dir():
                return None
            if part.exists():
                return part
        except OSError:
            return None
    return None
