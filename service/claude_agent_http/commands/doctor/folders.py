"""Folders: HOME, the users' folders, the database's folder, and the room on their disks."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.settings import Settings
from claude_agent_http.system import network_mount

__all__ = ["check_base_dir", "check_database_dir", "check_disk", "check_home"]

_MB = 1024 * 1024
_LOW_MB, _EMPTY_MB = 1024, 100


def check_home(environ: Mapping[str, str], container: bool) -> Finding:
    advice = "set HOME to a folder that this user can write"
    if container:
        advice += " (in the image it is /home/claudeuser; an outdated image must be built again)"
    home = environ.get("HOME", "")
    if not home:
        found = "HOME is not set; agents have a home each, other programs of this user may want one"
        return warn("home", found, advice)
    if not Path(home).is_absolute():
        return fail("home", f"HOME is {home!r}, which is not an absolute path", advice)
    if not Path(home).is_dir():
        what = "is no folder" if Path(home).exists() else "does not exist"
        return fail("home", f"HOME is {home}, which {what}", advice)
    reason = _why_not_writable(Path(home))
    return fail("home", f"HOME is {home}: {reason}", advice) if reason else ok("home", f"{home} is writable")


def check_base_dir(settings: Settings, container: bool) -> Finding:
    folder, may_make = settings.user.base_dir, settings.user.auto_create_dir
    return _check_folder("users' folder", folder, may_make=may_make, container=container)


def check_database_dir(settings: Settings, container: bool) -> Finding:
    if settings.session.storage != "sqlite":
        return ok("database folder", f"not needed with {settings.session.storage}")
    folder = settings.session.sqlite_path.parent
    if (mount := network_mount(folder)) is not None:
        found = (
            f"{folder} is on {mount.point}, a network file system ({mount.type}): SQLite does not work there"
        )
        return fail("database folder", found, "choose a path on a local disk, or session.storage postgresql")
    return _check_folder("database folder", folder, may_make=True, container=container)


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


def _check_folder(name: str, folder: Path, *, may_make: bool, container: bool) -> Finding:
    if not folder.exists() and not may_make:
        return fail(name, f"{folder} does not exist", "create it, or set user.auto_create_dir to true")
    place = _existing(folder)
    if reason := _why_not_writable(place):
        return fail(name, f"{place} is not writable: {reason}", _give_it(place, container))
    if place != folder:
        return ok(name, f"{folder} will be made in {place}, which is writable")
    return _owned(name, folder, container)


def _owned(name: str, folder: Path, container: bool) -> Finding:
    owner = folder.stat().st_uid
    if owner in {os.geteuid(), 0}:
        return ok(name, f"{folder} is writable")
    found = f"{folder} is writable, but belongs to uid {owner}; we are {os.geteuid()}"
    return warn(name, found, _give_it(folder, container))


def _give_it(folder: Path, container: bool) -> str:
    advice = f"give it to this user (`chown -R {os.geteuid()}:{os.getegid()} {folder}`)"
    return f"{advice}; with bind mounts also set UID and GID in .env" if container else advice


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
