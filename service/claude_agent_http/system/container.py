"""Whether this process runs in a container."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["in_container"]

_MARKS = (".dockerenv", "run/.containerenv")
# Kubernetes sets the first in every pod; systemd-nspawn, Podman and LXC the second.
_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")


def in_container(environ: Mapping[str, str], root: Path = Path("/")) -> bool:
    """As the files and variables say that Docker, Podman, Kubernetes and systemd leave in it."""
    return any(environ.get(name) for name in _VARIABLES) or any((root / mark).exists() for mark in _MARKS)
