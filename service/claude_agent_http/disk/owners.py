"""Which user each session's private folder is of, for as long as the folder is there. Blocking I/O.

Kept as one empty file a session, named by it in a folder named by its user. So a session whose row is gone,
but whose removal was cut short or could not remove everything, is found again when its user is erased.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from threading import Event
from uuid import UUID

from claude_agent_http.disk.opened import created, made, opened
from claude_agent_http.disk.tree_removal import remove_tree
from claude_agent_http.disk.workspaces import check_user

__all__ = [
    "is_noted",
    "note_owner",
    "remove_folders",
    "remove_owned",
    "remove_session",
    "session_root",
    "sessions_of",
]

_FOLDER = ".users"


def session_root(state_dir: Path, session_id: str) -> Path:
    """The session's private folder. Raises ValueError when the id is no canonical UUID."""
    if not _is_session_id(session_id):
        raise ValueError(f"session id {session_id!r} is no canonical UUID")
    return state_dir / session_id


def note_owner(state_dir: Path, user_id: str, session_id: str) -> None:
    """Before the session's folder is made. Raises OSError."""
    check_user(user_id)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with made([_FOLDER, user_id], state_dir) as folder, created(session_id, folder):
        pass


def is_noted(state_dir: Path, user_id: str, session_id: str) -> bool:
    """Whether the session's folder is on this disk."""
    return (_of(state_dir, user_id) / session_id).is_file()


def sessions_of(state_dir: Path, user_id: str) -> list[str]:
    """The ids of the user's sessions that have a folder. Raises OSError."""
    check_user(user_id)
    try:
        with opened((state_dir / _FOLDER).resolve()) as owners:
            return _noted(owners, user_id)
    except FileNotFoundError:
        return []


def remove_folders(state_dir: Path, session_id: str, stop: Event | None = None) -> None:
    """Also what an agent made read-only, as `go mod download` does. Raises OSError when something stays."""
    root = session_root(state_dir, session_id)
    if state_dir.exists():
        with opened(state_dir.resolve()) as folder:
            remove_tree(root.name, folder, stop)


def remove_session(state_dir: Path, user_id: str, session_id: str, stop: Event) -> None:
    """Raises OSError when something stays; then, and when `stop` is set meanwhile, it is still known whose
    it is."""
    remove_folders(state_dir, session_id, stop)
    if not stop.is_set():
        with suppress(FileNotFoundError):
            (_of(state_dir, user_id) / session_id).unlink()


def remove_owned(state_dir: Path, user_id: str, stop: Event) -> None:
    """All that is left of the user's sessions, as far as it goes; then raises the first OSError. A repeat
    goes on where `stop` ended this."""
    check_user(user_id)
    failures: list[OSError] = []
    with suppress(FileNotFoundError), opened((state_dir / _FOLDER).resolve()) as owners:
        for session_id in _noted(owners, user_id):
            try:
                remove_folders(state_dir, session_id, stop)
            except OSError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        if not stop.is_set():
            remove_tree(user_id, owners)


def _noted(owners: int, user_id: str) -> list[str]:
    """What only an agent can have put there, such as a link, names no session."""
    try:
        with opened(user_id, owners) as folder:
            return list(filter(_is_session_id, os.listdir(folder)))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []
        raise


def _is_session_id(name: str) -> bool:
    with suppress(ValueError):
        return str(UUID(name)) == name
    return False


def _of(state_dir: Path, user_id: str) -> Path:
    check_user(user_id)
    return state_dir / _FOLDER / user_id
