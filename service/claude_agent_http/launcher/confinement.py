"""What a process does to itself, between fork and exec, to be in its jail."""

import resource

from claude_agent_http.launcher import landlock, seccomp
from claude_agent_http.launcher.kernel import PR_SET_NO_NEW_PRIVS, prctl
from claude_agent_http.launcher.parameters import Jail
from claude_agent_http.launcher.places import Places

__all__ = ["confine", "limit_open_files"]

_FIRST_TO_GO = b"800"


def confine(jail: Jail, places: Places) -> int | None:
    """For good, with all that will be started, and in the folder where that is to begin. Returns the
    descriptor on which the filter of system calls asks, None without one. Whoever calls it has no capability
    any more. Raises OSError."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, jail.file_bytes)
    _raise_open_files()
    _offer_to_oom_killer()
    places.enter()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if landlock.abi():
        landlock.restrict(jail.reads, places.writes, jail.ports)
    return seccomp.install(jail.program) if jail.program else None


def limit_open_files(most: int) -> None:
    """To be called when the descriptor of `confine` was handed over. No more descriptors may be on their way
    between processes of one uid than the sender may have open: so those in jails, all together, never use up
    what the next one needs to be handed its own."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    _limit(resource.RLIMIT_NOFILE, most if hard == resource.RLIM_INFINITY else min(most, hard // 2))


def _raise_open_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _limit(what: int, most: int) -> None:
    """Not above what holds already: only the privileged may."""
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _offer_to_oom_killer() -> None:
    """When memory ends, an agent's processes go before the service, which others use."""
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(_FIRST_TO_GO)
    except OSError:
        return  # Its container has more to say already.
