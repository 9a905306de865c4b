"""The service as a process of its own: started, watched, killed, and looked for in what it leaves behind."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
from tests.service.commands.program import command, environment
from tests.waiting import wait_until

from claude_agent_http.runtime.folders import trampoline

START_SECONDS = 30


class ServiceProcess:
    """`python -m claude_agent_http serve` on a free port, its data in `folder`; `env` comes on top."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.users = folder / "users"
        self.url = ""
        self.env = {
            "HOME": str(folder),
            "CLAUDE_AGENT_USER_BASE_DIR": str(self.users),
            "CLAUDE_AGENT_SESSION_SQLITE_PATH": str(folder / "sessions.db"),
            **env,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, same_port: bool = False) -> "ServiceProcess":
        """Return when it is ready. Raises AssertionError with its log when it ends instead."""
        self.launch(same_port=same_port)
        wait_until(self._is_ready_or_ended, START_SECONDS, lambda: f"the service is not ready: {self.log}")
        assert self.exit_code is None, f"the service ended with {self.exit_code}: {self.log}"
        assert "has no effect" not in self.log, "a test sets a variable that does not exist"
        return self

    def launch(self, *, same_port: bool = False) -> subprocess.Popen[bytes]:
        """Start it without waiting."""
        port = int(self.url.rpartition(":")[2]) if same_port else free_port()
        self.url = f"http://127.0.0.1:{port}"
        with (self.folder / "out.log").open("ab") as out, (self.folder / "err.log").open("ab") as err:
            self._process = subprocess.Popen(
                command("serve"),
                cwd=self.folder,
                env=environment({"CLAUDE_AGENT_API_PORT": str(port), **self.env}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self._process

    def is_ready(self) -> bool:
        # Not httpx.get: it reads all of the machine's certificates first, which slows the start.
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        with closing(connection), suppress(OSError, HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    def _is_ready_or_ended(self) -> bool:
        return self.exit_code is not None or self.is_ready()

    @property
    def log(self) -> str:
        """Everything that it wrote, over all its starts."""
        return "".join((self.folder / name).read_text(errors="replace") for name in ("out.log", "err.log"))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 20) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(seconds)

    def crash(self) -> None:
        """kill -9, with every process of its sessions gone afterwards."""
        self.kill()
        self.wait()
        self.assert_nothing_left()

    def stop(self) -> None:
        """SIGTERM, as a service manager does it."""
        self.kill(signal.SIGTERM)
        assert self.wait() == 0, self.log
        self.assert_nothing_left()

    def children(self) -> list[psutil.Process]:
        """Every process of the tree below it."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def launcher(self, user: str) -> psutil.Process:
        """Of the user's only live session."""
        (found,) = self.launchers(user)
        return found

    def launchers(self, user: str) -> list[psutil.Process]:
        """One for each of the user's agents that live here."""
        path = str(trampoline(self.users / ".sessions"))
        return [one for one in self._of(user) if path in _argv(one)]

    def cli(self, user: str) -> psutil.Process:
        """The launcher's first child: orphans of the tree come to it later."""
        return min(self.launcher(user).children(), key=psutil.Process.create_time)

    def inhabitants(self, user: str = "") -> list[psutil.Process]:
        """Living processes whose working directory is a workspace, whoever their parent is by now."""
        return [one for one in psutil.process_iter() if _lives_in(one, self.users / user)]

    def argv_of_all(self) -> str:
        return "\n".join(" ".join(_argv(one)) for one in [psutil.Process(self.pid), *self.children()])

    def assert_nothing_left(self, seconds: float = 10) -> None:
        wait_until(lambda: not self.inhabitants(), seconds, lambda: f"still there: {self.inhabitants()}")

    def _of(self, user: str) -> list[psutil.Process]:
        return [one for one in self.children() if _lives_in(one, self.users / user)]

    def end(self) -> None:
        """Whatever is left is killed: for the end of a test."""
        if self._process is None:
            return
        left = self.children()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(20)
        for process in [*left, *self.inhabitants()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.assert_nothing_left()


class Services:
    """Makes services whose data ends with the test."""

    def __init__(self) -> None:
        self._made: list[ServiceProcess] = []
        self._folders: list[Path] = []

    def make(self, folder: Path | None = None, /, **env: str) -> ServiceProcess:
        """Not started yet."""
        service = ServiceProcess(folder or self.folder(), env)
        self._made.append(service)
        return service

    def start(self, folder: Path | None = None, /, **env: str) -> ServiceProcess:
        return self.make(folder, **env).start()

    def folder(self) -> Path:
        """Short, for the CLI puts sockets below it, whose paths have a limit."""
        self._folders.append(Path(tempfile.mkdtemp(prefix="e2e-")))
        return self._folders[-1]

    def end(self) -> None:
        for service in self._made:
            service.end()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _argv(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _lives_in(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error, OSError):
        place = os.readlink(f"/proc/{process.pid}/cwd")
        inside = f"{place}/".startswith(f"{folder}/")
        return inside and process.status() != psutil.STATUS_ZOMBIE
    return False
