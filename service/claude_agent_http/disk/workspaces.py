"""Workspaces as folders: `<base>/<user id>[/<subdir>]`, never outside the user's own folder."""

import asyncio
import contextlib
import errno
import os
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

from claude_agent_http.disk.opened import opened
from claude_agent_http.disk.stoppable import in_thread
from claude_agent_http.disk.tree_removal import remove_tree
from claude_agent_http.domain.errors import InvalidInputError, StorageFullError, WorkspaceError
from claude_agent_http.domain.session import Session

__all__ = ["FULL", "FolderWorkspaces", "check_part", "check_user", "checked_parts"]

_MAX_SUBDIR = 200
_MAX_PART_BYTES = 255
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SLASHES = frozenset("/\\\u2044\u2215\u29f8\u29f5\u29f9\u2216\ufe68\uff0f\uff3c")
_DOTS = frozenset("\u2024\u2025\u2026\ufe52\uff0e\u3002\uff61\u0701\u0702\ua4f8\u0660\u06d4")


class FolderWorkspaces:
    """`auto_create` makes a user's folder (0700) when it is missing; a subfolder of it is always made.

    A user's own agent can put links into its folder: no step of the way may be one. `ran_here` says of a user
    and a session whether an agent of it ever ran on this disk."""

    def __init__(
        self,
        base: Path,
        *,
        auto_create: bool = True,
        ran_here: Callable[[str, str], bool] = lambda _user, _session: False,
    ) -> None:
        self._base = base
        self._auto_create = auto_create
        self._ran_here = ran_here

    async def resolve(self, user_id: str, subdir: str | None) -> str:
        parts = checked_parts(subdir)
        check_user(user_id)
        return await asyncio.to_thread(self._make, user_id, parts)

    async def is_visible(self, session: Session) -> bool:
        """True for a folder that is here, at the same path, and for a session that never ran. Also for one
        that ran on this disk: its folder was removed since, by an agent of the same user for one."""
        return session.message_count == 0 or await asyncio.to_thread(self._is_here, session)

    async def erase(self, user_id: str) -> int:
        check_user(user_id)
        return await in_thread(partial(self._erase, user_id))

    def _erase(self, user_id: str, stop: Event) -> int:
        base = self._checked_base()
        try:
            with opened(base) as folder:
                return remove_tree(user_id, folder, stop)
        except OSError as error:
            raise WorkspaceError(
                f"not all files of user {user_id!r} could be removed: {error.strerror}: "
                f"{base / str(error.filename)}; make it removable and repeat the request"
            ) from error

    def _is_here(self, session: Session) -> bool:
        path = os.path.join(os.path.realpath(self._base), session.user_id, *checked_parts(session.subdir))
        is_here = path == session.cwd and os.path.isdir(path)
        return is_here or self._ran_here(session.user_id, session.id)

    def _make(self, user_id: str, parts: tuple[str, ...]) -> str:
        base = self._checked_base()
        try:
            with opened(base) as folder:
                _descend(folder, (user_id, *parts), make_first=self._auto_create)
        except OSError as error:
            raise _translated(error, self._base / user_id) from error
        return str(base.joinpath(user_id, *parts))

    def _checked_base(self) -> Path:
        """The one part of the way that may be a link: the operator chose it."""
        try:
            if self._auto_create:
                self._base.mkdir(mode=0o755, parents=True, exist_ok=True)
            return self._base.resolve(strict=True)
        except OSError as error:
            message = f"the folder for workspaces {self._base} cannot be used: {error.strerror}"
            raise (StorageFullError if error.errno in FULL else WorkspaceError)(message) from error


def checked_parts(subdir: str | None) -> tuple[str, ...]:
    """The folder names of a relative path; () for None, "" and ".". Raises InvalidInputError.

    Names that begin with a dot are allowed (`.config`): what is refused is whatever could mean another place,
    also to a program that folds Unicode."""
    if subdir is None or subdir in ("", "."):
        return ()
    if len(subdir) > _MAX_SUBDIR:
        raise InvalidInputError("subdir", f"is longer than {_MAX_SUBDIR} characters")
    if subdir.startswith("/"):
        raise InvalidInputError("subdir", "must be relative to the user's folder")
    parts = tuple(subdir.removesuffix("/").split("/"))
    for part in parts:
        check_part("subdir", part)
    return parts


def check_user(user_id: str) -> None:
    """Raises InvalidInputError unless it is safe as the name of a folder."""
    check_part("user_id", user_id)
    if user_id.startswith("."):
        raise InvalidInputError("user_id", "must not begin with a dot: such folders are the service's own")


def check_part(field: str, part: str) -> None:
    """Raises InvalidInputError when it could mean another place, also to a program that folds Unicode."""
    folded = unicodedata.normalize("NFKC", part)
    if part in ("", ".", "..") or folded in ("", ".", ".."):
        raise InvalidInputError(field, "must not hold empty parts, '.' or '..'")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in part):
        raise InvalidInputError(field, "must not hold control or invisible characters")
    if _SLASHES & (set(part) | set(folded)) or _DOTS & set(part):
        raise InvalidInputError(field, "must not hold backslashes or look-alikes of '/' and '.'")
    if part != part.strip() or part.endswith("."):
        raise InvalidInputError(field, "no part may begin or end with a space, or end with a dot")
    if len(part.encode()) > _MAX_PART_BYTES:
        raise InvalidInputError(field, f"no part may be longer than {_MAX_PART_BYTES} bytes")


def _descend(folder: int, names: tuple[str, ...], *, make_first: bool) -> None:
    name, rest = names[0], names[1:]
    if make_first:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
    with opened(name, folder) as inner:
        if rest:
            _descend(inner, rest, make_first=True)


def _translated(error: OSError, user_folder: Path) -> Exception:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return InvalidInputError("subdir", "leads through a symbolic link or a file, not only folders")
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInputError("subdir", "is too long for the file system")
    if error.errno in FULL:
        return StorageFullError(f"no space left for the workspace {user_folder}")
    if error.errno == errno.ENOENT:
        return WorkspaceError(f"the user's folder {user_folder} does not exist and may not be made")
    return WorkspaceError(f"the workspace in {user_folder} cannot be used: {error.strerror}")
