"""What the jail round each session's processes holds them to. The launcher builds it (`launcher/`)."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from claude_agent_http.launcher import landlock, seccomp
from claude_agent_http.launcher.filter import program
from claude_agent_http.launcher.parameters import Jail
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.folders import SessionFolders
from claude_agent_http.runtime.options import CERTIFICATES, PROXIES, Start

__all__ = [
    "LEAST_ABI",
    "Kernel",
    "certificates",
    "exposed",
    "filter_program",
    "given_away",
    "is_readable",
    "jail_of",
    "kernel",
    "readable",
    "readable_path",
]

_UNKNOWN = 2**63 - 1
LEAST_ABI = 3
"""Of Landlock: below it files that may only be read could still be emptied."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/libx32", "/lib64", "/etc", "/proc", "/opt")
_DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_TO_READ = "/dev/zero"
"""Who may write to it can share memory by it that nobody counts."""
_URLS = ("ANTHROPIC_BASE_URL", *PROXIES)
_HTTPS = 443
_MISSING_BELOW = {
    2: "an agent cannot move its own files from one folder to another",
    3: "files that agents may read, and own, can be emptied",
    4: "agents can connect to any TCP port, and listen on any",
    5: "agents can use the special functions of devices",
    6: "agents can send signals to the service and to other agents' processes",
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """What this kernel can hold a jail to. `landlock` is its ABI, 0 for none; `filters` that seccomp can
    ask. `watches` of epoll it lets all processes of one uid have, and `files` all of the host open."""

    landlock: int
    filters: bool
    watches: int = _UNKNOWN
    files: int = _UNKNOWN

    @property
    def suffices(self) -> bool:
        """For isolation that is required."""
        return self.landlock >= LEAST_ABI and self.filters

    @property
    def missing(self) -> tuple[str, ...]:
        """What it cannot, in words."""
        if not self.landlock:
            return ("Landlock: agents can read and change all that the service can",)
        below = [text for version, text in _MISSING_BELOW.items() if self.landlock < version]
        if not self.filters:
            below.append(
                "seccomp: agents can change modes, owners and times of files that are not theirs, connect to "
                "UNIX sockets, and start any number of processes"
            )
        return tuple(below)


def kernel() -> Kernel:
    watches = _system_limit("/proc/sys/fs/epoll/max_user_watches")
    return Kernel(landlock.abi(), seccomp.is_available(), watches, _system_limit("/proc/sys/fs/file-max"))


def readable(extra: Iterable[Path], cli: Path) -> tuple[str, ...]:
    """Files and folders that every agent may read: the system's, Python's, the CLI and what was added. Each
    by the path that it really has, and none that lies below another: each start waits for a rule for each."""
    resolver = "/etc/resolv.conf"  # Often a link to where nothing else may be read.
    named = (*_SYSTEM, resolver, sys.base_prefix, str(cli), *map(str, extra))
    real = dict.fromkeys(map(os.path.realpath, named))
    return tuple(path for path in real if not is_readable(path, real.keys() - {path}))


def certificates(environment: Mapping[str, str]) -> list[Path]:
    """Files and folders of what a CLI with that environment is to trust."""
    return [Path(environment[name]) for name in CERTIFICATES if environment.get(name)]


def is_readable(path: str, roots: Iterable[str]) -> bool:
    return _is_below(os.path.realpath(path), roots)


def readable_path(path: str, roots: Iterable[str]) -> str:
    """The folders of a PATH in which an agent can run something: a program that it finds elsewhere, it could
    not start, and a shell looks no further."""
    kept = [folder for folder in path.split(":") if folder and is_readable(folder, roots)]
    return ":".join(kept) or "/usr/local/bin:/usr/bin:/bin"


def exposed(private: Mapping[str, Path], roots: Iterable[str]) -> Iterator[str]:
    """What of `private`, named by its key, every agent could read, all of it or a part, in words."""
    roots = tuple(roots)
    for key, path in private.items():
        real = os.path.realpath(path)
        above = next((root for root in roots if _is_below(real, [root])), None)
        below = next((root for root in roots if _is_below(root, [real])), None)
        if above is not None:
            yield f"{key} ({path}) lies below {above}, which every agent may read; move it elsewhere"
        elif below is not None:
            yield f"{below}, which every agent may read, lies below {key} ({path}); move it elsewhere"


def given_away(private: Mapping[str, Path], base_dir: Path) -> Iterator[str]:
    """What of `private` would be some user's own, to read, change and erase, in words."""
    base = os.path.realpath(base_dir)
    for key, path in private.items():
        if _is_below(os.path.realpath(path), [base]):
            yield f"{key} ({path}) lies below user.base_dir ({base_dir}); move it elsewhere"


def filter_program() -> bytes:
    """Of the system calls round a jail. Raises KeyError on a machine that is not known; `Kernel.filters` says
    so."""
    return program(os.uname().machine)


def jail_of(config: RuntimeConfig, start: Start, cli: Path, environment: Mapping[str, str]) -> Jail | None:
    """For one start of a CLI with that environment; None without isolation."""
    isolation = config.isolation
    if isolation is None:
        return None
    # Only the service writes in a session's folder itself; above it the operator chose every link.
    state_dir = Path(os.path.realpath(start.folders.state_dir))
    folders = SessionFolders(state_dir / start.folders.root.name)
    plugins = [Path(plugin["path"]) for plugin in config.plugins if "path" in plugin]
    extra = (*isolation.reads, *plugins, *certificates(environment))
    return Jail(
        cwd=start.session.cwd,
        reads=(*readable(extra, cli), _TO_READ, str(folders.run)),
        writes=(*map(str, (folders.home, folders.config, folders.tmp)), *_DEVICES),
        ports=tuple(sorted({*isolation.ports, *_ports(config, environment)})),
        program=filter_program() if isolation.filters else b"",
        tasks=isolation.most_tasks,
        memory_bytes=isolation.memory_bytes,
        file_bytes=isolation.file_bytes,
        files=isolation.most_files,
        watches=isolation.most_watches,
    )


def _system_limit(path: str) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return _UNKNOWN


def _ports(config: RuntimeConfig, environment: Mapping[str, str]) -> Iterator[int]:
    """Of the model's API, or the gateway before it, of proxies and of MCP servers."""
    urls = [environment[name] for name in _URLS if environment.get(name)]
    urls += [server["url"] for server in config.mcp_servers.values() if "url" in server]
    for url in urls:
        parts = urlsplit(url)
        yield parts.port or (80 if parts.scheme in ("http", "ws") else _HTTPS)
    if not environment.get("ANTHROPIC_BASE_URL"):
        yield _HTTPS


def _is_below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)
