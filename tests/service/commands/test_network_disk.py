"""SQLite on a network file system: no service starts there, nothing is migrated, and doctor says why."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from tests.service.commands.set_up import found

from claude_agent_http.commands import storage
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.settings import SessionSettings
from claude_agent_http.storage import configured_store

SAYS = r"/share is a network file system \(nfs4\).*session\.sqlite_path.*session\.storage to postgresql"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionSettings:
    """Its SQLite file is to lie on a share; the rest of this machine is what it is."""
    share = SimpleNamespace(mountpoint=str(tmp_path / "share"), fstype="nfs4")
    real = psutil.disk_partitions(all=True)
    monkeypatch.setattr(psutil, "disk_partitions", lambda *, all: [*real, share])
    return SessionSettings(sqlite_path=tmp_path / "share" / "db" / "sessions.db")


@pytest.mark.parametrize(
    "use", [configured_store, lambda session: asyncio.run(storage.migrate(session))], ids=["serve", "migrate"]
)
def test_it_is_refused_before_a_file_is_made(
    session: SessionSettings, use: Callable[[SessionSettings], object]
) -> None:
    with pytest.raises(StorageError, match=SAYS):
        use(session)
    assert not session.sqlite_path.parent.exists()


def test_other_storage_does_not_mind(session: SessionSettings) -> None:
    configured_store(session.model_copy(update={"storage": "memory"}))


def test_doctor_tells(session: SessionSettings, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CLAUDE_AGENT_SESSION_SQLITE_PATH": str(session.sqlite_path)}
    finding = found(environ, tmp_path)["database folder"]
    assert finding.level == "fail"
    assert "a network file system (nfs4)" in finding.found
    assert "postgresql" in finding.advice
