"""The isolation of agents that the settings choose, for app and commands, as far as the kernel can hold
it."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from claude_agent_http.domain.errors import IsolationError
from claude_agent_http.runtime.config import Isolation
from claude_agent_http.runtime.isolation import (
    LEAST_ABI,
    Kernel,
    certificates,
    exposed,
    given_away,
    readable,
)
from claude_agent_http.runtime.startfiles import bundled_cli
from claude_agent_http.settings import Loaded, Settings

__all__ = ["ConfiguredIsolation", "configured_isolation", "private_paths", "readable_paths", "watches_each"]

_BINDINGS = Path("/bindings")
_MIB = 1024 * 1024
_LEAST_WATCHES, _MOST_WATCHES = 1024, 65_536
_OFF = (
    "isolation.mode is off: agents can read and change all that the service can, other users' files among it"
)


@dataclass(frozen=True, slots=True)
class ConfiguredIsolation:
    """`jail` is None where agents run with all the rights of the service. `missing` says in words what they
    can do beyond what a jail is for; `landlock` is the kernel's ABI, 0 for none."""

    mode: str
    jail: Isolation | None
    landlock: int
    missing: tuple[str, ...]


def configured_isolation(
    loaded: Loaded, kernel: Kernel, environ: Mapping[str, str] = os.environ
) -> ConfiguredIsolation:
    """`environ` is the service's own. Raises IsolationError where what is required cannot be had, or agents
    could read what they must not."""
    settings = loaded.settings
    chosen = settings.isolation
    # Whatever the mode: a user's folder is reached over HTTP too.
    given = given_away(_own_paths(loaded), settings.user.base_dir)
    _refuse("what is the service's own would be a user's", given)
    if chosen.mode == "off":
        return ConfiguredIsolation(chosen.mode, None, kernel.landlock, (_OFF,))
    if chosen.mode == "required" and not kernel.suffices:
        raise IsolationError(_not_to_be_had(kernel))
    if not kernel.landlock:
        return ConfiguredIsolation(chosen.mode, None, 0, kernel.missing)
    _refuse(
        "agents could read what is the service's own",
        exposed(private_paths(loaded), readable_paths(settings, environ)),
    )
    return ConfiguredIsolation(chosen.mode, _isolation(settings, kernel), kernel.landlock, kernel.missing)


def readable_paths(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Files and folders that every agent may read, where it is in a jail."""
    plugins = [plugin.path for plugin in settings.plugins]
    extra = (*settings.isolation.read, *plugins, *certificates(environ))
    return readable(extra, settings.defaults.cli_path or bundled_cli())


def private_paths(loaded: Loaded) -> Mapping[str, Path]:
    """What no agent may see whole, by the name under which it was given."""
    settings = loaded.settings
    paths = {"user.base_dir": settings.user.base_dir, **loaded.secret_files}
    if settings.session.storage == "sqlite":
        paths["session.sqlite_path"] = settings.session.sqlite_path
    if settings.model.binding_dir is not None:
        paths["model.binding_dir"] = settings.model.binding_dir
    if settings.auth.keys_dir is not None:
        paths["auth.keys_dir"] = settings.auth.keys_dir
    if loaded.config_file is not None:
        paths["the configuration"] = loaded.config_file
    if _BINDINGS.exists():
        paths["the bindings"] = _BINDINGS
    return paths


def watches_each(settings: Settings, kernel: Kernel) -> int:
    """Of epoll for one session: all sessions together leave half of the kernel's to the service."""
    share = kernel.watches // 2 // settings.api.max_sessions
    return max(_LEAST_WATCHES, min(_MOST_WATCHES, share))


def _own_paths(loaded: Loaded) -> Mapping[str, Path]:
    """What no user may have below the own folder."""
    private = {key: path for key, path in private_paths(loaded).items() if key != "user.base_dir"}
    return {**private, "the service's program": Path(__file__).parent, "its Python": Path(sys.prefix)}


def _refuse(why: str, found: Iterable[str]) -> None:
    if told := "; ".join(found):
        raise IsolationError(f"{why}: {told}")


def _not_to_be_had(kernel: Kernel) -> str:
    has = f"Landlock {kernel.landlock}" if kernel.landlock else "no Landlock"
    more = "" if kernel.filters else ", and no seccomp that can ask"
    return (
        f"isolation.mode is required, which needs Linux with Landlock {LEAST_ABI} (6.2) or later, but this "
        f"kernel has {has}{more}: run on a newer kernel (and check that its `lsm` parameter names landlock), "
        "or set CLAUDE_AGENT_ISOLATION=preferred to go on with what there is, where users trust each other"
    )


def _isolation(settings: Settings, kernel: Kernel) -> Isolation:
    chosen = settings.isolation
    return Isolation(
        reads=chosen.read,
        ports=chosen.ports,
        most_tasks=chosen.max_processes,
        memory_bytes=chosen.memory_mb * _MIB,
        file_bytes=chosen.max_file_mb * _MIB,
        most_files=chosen.max_open_files,
        most_watches=watches_each(settings, kernel),
        filters=kernel.filters,
    )
