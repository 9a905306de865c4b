"""The private folder of each session: what its CLI keeps on disk, and how it is started. Blocking I/O."""

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from claude_agent_http.disk.opened import created, made, opened
from claude_agent_http.disk.owners import session_root
from claude_agent_http.disk.tree_removal import remove_tree
from claude_agent_http.launcher.command import script

__all__ = [
    "SessionFolders",
    "empty_run",
    "ensure_trampoline",
    "forget_conversation",
    "make_folders",
    "trampoline",
    "write_private",
]


@dataclass(frozen=True, slots=True)
class SessionFolders:
    """`run` holds the files of one start: launch parameters, prompt, MCP servers, settings."""

    root: Path

    @property
    def state_dir(self) -> Path:
        return self.root.parent

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def launch_file(self) -> Path:
        return self.run / "launch"

    @property
    def settings_file(self) -> Path:
        return self.run / "settings.json"

    @property
    def prompt_file(self) -> Path:
        return self.run / "prompt.txt"

    @property
    def mcp_file(self) -> Path:
        return self.run / "mcp.json"

    @property
    def pid_file(self) -> Path:
        return self.run / "pid"

    @property
    def projects(self) -> Path:
        return self.config / "projects"


def make_folders(state_dir: Path, session_id: str) -> SessionFolders:
    """All 0700, with an empty `run`. None is a link afterwards, whatever an agent made of them before.
    Raises OSError; ValueError when the id is no canonical UUID."""
    folders = SessionFolders(session_root(state_dir, session_id))
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with made([session_id], state_dir) as root:
        remove_tree(folders.run.name, root)
    for folder in (folders.home, folders.config, folders.tmp, folders.run):
        with made([session_id, folder.name], state_dir):
            pass
    return folders


def forget_conversation(state_dir: Path, session_id: str, stop: Event | None = None) -> None:
    """Remove what the CLI itself keeps of the conversation. Raises OSError."""
    folders = SessionFolders(session_root(state_dir, session_id))
    if folders.root.exists():
        with made([session_id, folders.config.name], state_dir) as config:
            remove_tree(folders.projects.name, config, stop)


def empty_run(folders: SessionFolders) -> None:
    """What one start needed, secrets among it, is of no use once its process has ended."""
    with contextlib.suppress(OSError), opened(folders.root) as root:
        remove_tree(folders.run.name, root)


def trampoline(state_dir: Path) -> Path:
    """The SDK starts one path, without arguments of ours: this script puts the launcher before the CLI."""
    return state_dir / "launch"


def ensure_trampoline(state_dir: Path) -> None:
    path = trampoline(state_dir)
    text = _trampoline_text()
    with contextlib.suppress(OSError):
        if path.read_text() == text and os.access(path, os.X_OK):
            return
    fresh = state_dir.resolve() / f"launch.{uuid4()}"  # its own: two sessions may start at once
    write_private(fresh, text, mode=0o755)
    fresh.replace(path)


def write_private(path: Path, content: str | Mapping[str, Any], mode: int = 0o600) -> Path:
    """Written anew. Raises OSError, also when the file's folder is a link."""
    with opened(path.parent) as folder, created(path.name, folder, mode) as file:
        file.write(content if isinstance(content, str) else json.dumps(content))
    return path


def _trampoline_text() -> str:
    return script(getattr(sys, "_base_executable", None) or sys.executable)
