"""README.md is followed to the letter by a new user: each of its commands runs, and prints what it shows."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from tests.docs.markdown import ROOT, Block, blocks
from tests.service.e2e.service_process import free_port
from tests.waiting import wait_until

BLOCKS = [block for block in blocks(ROOT / "README.md") if block.language in ("sh", "console")]
LIMIT_SECONDS = 60
CURL_TIMED_OUT = 28
ANY = {
    "address": r"127\.0\.0\.1:\d+",
    "id": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "tokens": r'tokens":\d+',
}
"""What differs from run to run, as a pattern of both what is shown and what is said."""

MOVING = re.compile(
    r"(?P<left_out>\.\.\.)|(?P<clone>/tmp/claude-agent-http)|"
    + "|".join(f"(?P<{name}>{pattern})" for name, pattern in ANY.items())
)
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

# Set-up itself is what `.ci/run` begins with. Here the clone gets the environment that runs this test, made
# after its requirements, so that `make run` has nothing to download.
AFTER_CLONE = f"""#!/bin/sh
ln -s {ROOT}/.venv .venv
touch -d 2000-01-01 pyproject.toml requirements/*.txt
"""


@dataclass
class NewUser:
    """Somebody in an empty folder with an empty home and two terminals, one of which the service occupies.

    `said` is what the last commands printed.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    model_port: int = field(default_factory=free_port)
    session: str = ""
    said: str = ""
    _service: "subprocess.Popen[bytes] | None" = None

    @property
    def clone(self) -> Path:
        return self.folder / "claude-agent-http"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, commands: str, *, folder: Path | None = None) -> None:
        """Commands of which the last is the service's start, in the first terminal."""
        self.press_ctrl_c()
        self._terminal.unlink(missing_ok=True)
        self._service = subprocess.Popen(
            ["script", "-qefc", f"bash -c {shlex.quote(self._mine(commands))}", str(self._terminal)],
            cwd=folder or self.clone,
            env=self._env(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._is_up_or_ended, LIMIT_SECONDS, self._terminal.read_text)
        self.said = ANSI.sub("", self._terminal.read_text())
        assert self._service.poll() is None, self.said

    def press_ctrl_c(self) -> None:
        if self._service is not None:
            started = psutil.Process(self._service.pid).children(recursive=True)
            self._service.communicate(b"\x03", LIMIT_SECONDS)
            self._service = None
            for process in started:  # What the shell put into its background heeds no Ctrl-C.
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
            assert psutil.wait_procs(started, timeout=20)[1] == []

    def run(self, commands: str, *, given: str = "", exit_code: int = 0) -> None:
        """Commands in the second terminal."""
        script = f"trap 'echo $SESSION >../session' EXIT\n{self._mine(commands)}"
        ended = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.clone,
            env=self._env(),
            input=given,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        self.said = ended.stdout.replace(f" --url {self.url}", "")
        assert ended.returncode == exit_code, f"{commands} ended with {ended.returncode}: {self.said}"
        self.session = (self.folder / "session").read_text().strip()

    def _mine(self, commands: str) -> str:
        """On ports that are free."""
        for written, mine in (
            ("127.0.0.1:8000", f"127.0.0.1:{self.port}"),
            ("127.0.0.1:8080", f"127.0.0.1:{self.model_port}"),
            ("claude-agent-http chat", f"claude-agent-http chat --url {self.url}"),
            ("demo-model &", f"demo-model --port {self.model_port} &"),
        ):
            commands = commands.replace(written, mine)
        return commands

    def _env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "REPOSITORY": str(self.folder / "repository"),
            "GIT_TEMPLATE_DIR": str(self.folder / "template"),
            "CLAUDE_AGENT_API_PORT": str(self.port),
            "CLAUDE_AGENT_CONTAINER": "no",  # a laptop is none, wherever this runs
            "SESSION": self.session,
        }

    @property
    def _terminal(self) -> Path:
        return self.folder / "terminal"

    def _is_up_or_ended(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        return self._service is None or self._service.poll() is not None


@pytest.fixture
def user() -> Iterator[NewUser]:
    # Short, for the banner is as wide as the paths that it shows.
    folder = Path(tempfile.mkdtemp(prefix="me-"))
    (folder / "home").mkdir()
    (folder / "home" / ".curlrc").write_text("no-progress-meter\n")  # on a terminal curl shows none
    hook = folder / "template" / "hooks" / "post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text(AFTER_CLONE)
    hook.chmod(0o700)
    publish(folder / "repository")
    user = NewUser(folder)
    yield user
    user.press_ctrl_c()
    shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path) -> None:
    """A repository of what is in the working tree now, committed or not."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=me", "-c", "user.email=me@example.org", "commit", "--quiet", "-m", "now")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_SECONDS).stdout


def begin(user: NewUser, block: Block) -> None:
    user.serve(block.text, folder=user.folder)


def serve(user: NewUser, block: Block) -> None:
    user.serve(block.text)


def talk(user: NewUser, block: Block) -> None:
    """What the transcript below shows as typed is typed."""
    typed = re.findall(r"^> (.*)$", BLOCKS[BLOCKS.index(block) + 1].text, re.M)
    user.run(block.text, given="".join(f"{line}\n" for line in typed if "go on with" not in line))


def run(user: NewUser, block: Block, exit_code: int = 0) -> None:
    user.run(block.text, exit_code=exit_code)


def run_after_a_restart(user: NewUser, block: Block) -> None:
    user.serve("make run")
    user.run(block.text)


def leave_out(user: NewUser, _block: Block) -> None:
    user.said = ""


FOLLOWED: dict[str, Callable[[NewUser, Block], None]] = {
    "git clone": begin,
    ".venv/bin/claude-agent-http chat\n": talk,
    "ANTHROPIC_API_KEY=sk-ant-... make run": serve,
    ".venv/bin/claude-agent-http demo-model &": serve,
    "SESSION=": run,
    "curl -N -m 2 ": partial(run, exit_code=CURL_TIMED_OUT),
    ".venv/bin/claude-agent-http chat --session": run_after_a_restart,
    ".venv/bin/claude-agent-http config": run,
    ".venv/bin/claude-agent-http keys create": serve,
    "make test\n": leave_out,  # it would run this test again
}
"""What a reader does with a block that begins so."""


@pytest.mark.tier("cli", "linux", "curl")
@pytest.mark.timeout(300)
def test_a_new_user_sees_what_the_readme_shows(user: NewUser) -> None:
    for block in BLOCKS:
        if block.language == "sh":
            (follow,) = [follow for start, follow in FOLLOWED.items() if block.text.startswith(start)]
            follow(user, block)
        else:
            assert_shown(user, block)


def assert_shown(user: NewUser, block: Block) -> None:
    """A transcript is the last command's, but for what stands behind a command of its own (`$ `)."""
    first, *others = re.split(r"^\$ ", block.text, flags=re.M)
    assert_said(user.said, first, user.clone)
    for other in others:
        command, _, said = other.partition("\n")
        user.run(command)
        assert_said(user.said, said, user.clone)


def assert_said(said: str, shown: str, clone: Path) -> None:
    typed = re.compile(r"^> (?!go on with).*\n", re.M)  # a pipe shows nothing of what comes in
    real = {"left_out": ".*", "clone": re.escape(str(clone)), **ANY}
    pattern, at, shown = "", 0, plain(typed.sub("", shown))
    for moving in MOVING.finditer(shown):
        pattern += re.escape(shown[at : moving.start()]) + real[str(moving.lastgroup)]
        at = moving.end()
    assert re.search(pattern + re.escape(shown[at:]), plain(said)), f"not shown: {shown}\nbut: {said}"


def plain(text: str) -> str:
    """Without boxes, line breaks and prompts, which depend on the terminal."""
    return " ".join(re.sub(r"[╭╮╰╯│─]|^> (?=\S)|^(?:> )+", " ", text, flags=re.M).split())
