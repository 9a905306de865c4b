"""Folders: HOME, the users' folders, the database's folder, and the room on their disks."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.settings import Settings

__all__ = ["check_base_dir", "check_database_dir", "check_disk", "check_home"]

_MB = 1024 * 1024
_LOW_MB, _EMPTY_MB = 1024, 100
_MOUNT_ADVICE = (
    "give it to this user (`chown -R {uid}:{gid} {path}`); with bind mounts also set UID and GID in .env"
)


def check_home(environ: Mapping[str, str]) -> Finding:
    advice = "set HOME to a folder that this user can write (in the image it is /home/claudeuser)"
    home = environ.get("HOME", "")
    if not home:
        return fail("home", "HOME is not set: the agent's CLI cannot start", advice)
    if not Path(home).is_absolute():
        return fail("home", f"HOME is {home!r}, which is not an absolute path", advice)
    if not Path(home).is_dir():
        what = "is no folder" if Path(home).exists() else "does not exist"
        return fail(
            "home", f"HOME is {home}, which {what}", f"{advice}; an outdated image must be built again"
        )
    reason = _why_not_writable(Path(home))
    return fail("home", f"HOME is {home}: {reason}", advice) if reason else ok("home", f"{home} is writable")


def check_base_dir(settings: Settings) -> Finding:
    return _check_folder("users' folder", settings.user.base_dir, may_make=settings.user.auto_create_dir)


def check_database_dir(settings: Settings) -> Finding:
    if settings.session.storage != "sqlite":
        return ok("database folder", f"not needed with {settings.session.storage}")
    return _check_folder("database folder", settings.session.sqlite_path.parent, may_make=True)


def check_disk(settings: Settings) -> Finding:
    folders = [settings.user.base_dir]
    if settings.session.storage == "sqlite":
        folders.append(settings.session.sqlite_path.parent)
    try:
        free, place = min((shutil.disk_usage(one).free // _MB, one) for one in map(_existing, folders))
    except OSError as error:
        return warn("disk space", f"cannot be measured: {error.strerror}", "check the mounts")
    found = f"{free} MB free at {place}"
    if free >= _LOW_MB:
        return ok("disk space", found)
    advice = "free some space, or move user.base_dir and session.sqlite_path to a larger disk"
    return (warn if free >= _EMPTY_MB else fail)("disk space", found, advice)


def _check_folder(name: str, folder: Path, *, may_make: bool) -> Finding:
    if not folder.exists() and not may_make:
        return fail(name, f"{folder} does not exist", "create it, or set user.auto_create_dir to true")
    place = _existing(folder)
    if reason := _why_not_writable(place):
        advice = _MOUNT_ADVICE.format(uid=os.geteuid(), gid=os.getegid(), path=place)
        return fail(name, f"{place} is not writable: {reason}", advice)
    if place != folder:
        return ok(name, f"{folder} will be made in {place}, which is writable")
    return _owned(name, folder)


def _owned(name: str, folder: Path) -> Finding:
    owner = folder.stat().st_uid
    if owner in {os.geteuid(), 0}:
        return ok(name, f"{folder} is writable")
    advice = _MOUNT_ADVICE.format(uid=os.geteuid(), gid=os.getegid(), path=folder)
    return warn(name, f"{folder} is writable, but belongs to uid {owner}; we are {os.geteuid()}", advice)


def _existing(folder: Path) -> Path:
    """The folder, or what exists of its parents."""
    return next(part for part in (folder, *folder.parents) if part.exists())


def _why_not_writable(folder: Path) -> str:
    """Empty when a file could be written there; it leaves none behind."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
            probe.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""
