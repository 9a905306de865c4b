"""Processes whose launcher was killed: they end, and nothing else does. The test's process is the service."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.service.launcher.launched import Launched, alive, breeder, has_text
from tests.service.runtime import stand_in_cli
from tests.service.runtime.conftest import Runtimes, lease_of
from tests.waiting import until

from claude_agent_http.runtime import CliRuntimeFactory
from claude_agent_http.runtime.strays import Strays

pytestmark = pytest.mark.tier("linux")

STAYS = "while :; do sleep 1; done"
OFTEN, NEVER = 0.02, 3600.0


@pytest.fixture
def launch() -> Iterator[Callable[[str], Launched]]:
    """Starts launchers, each in a folder of its own."""
    made: list[Launched] = []

    def start(script: str) -> Launched:
        made.append(Launched(Path(tempfile.mkdtemp(prefix="rt-"))))
        made[-1].start(script)
        return made[-1]

    yield start
    for one in made:
        kill_launcher(one)
        kill_left(one.folder)
        one.clean()
        shutil.rmtree(one.folder)


@pytest.fixture
def sleep() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts children with a session of their own, as a test's own database server is one."""
    made: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        made.append(subprocess.Popen(["sleep", "600"], start_new_session=True))
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.wait(10)


async def test_what_a_killed_launcher_leaves_is_ended_and_reaped(launch: Callable[[str], Launched]) -> None:
    async with Strays(OFTEN):
        one, other = launch(breeder(STAYS)), launch(breeder(STAYS))
        tree, others = one.tree(), other.tree()
        kill_launcher(one)
        await until(lambda: not there(tree))
        assert alive(others) == set(others)
        os.close(other.heartbeat)
        assert (one.end()[0], other.end()[0]) == (-9, 137)
        assert alive(others) == set()


async def test_the_end_of_the_block_ends_what_is_left(launch: Callable[[str], Launched]) -> None:
    async with Strays(NEVER):
        launched = launch(breeder(STAYS))
        tree = launched.tree()
        kill_launcher(launched)
        await until(lambda: "cli" not in alive(tree))
        assert len(alive(tree)) == 4
    assert not there(tree)


async def test_who_is_no_agents_lives_on(
    launch: Callable[[str], Launched], sleep: Callable[[], subprocess.Popen[bytes]]
) -> None:
    before = sleep()
    async with Strays(OFTEN):
        waits = "import sys; sys.stdin.read(); sys.exit(7)"
        ours = await asyncio.create_subprocess_exec(
            sys.executable, "-c", waits, stdin=asyncio.subprocess.PIPE
        )
        launched = launch(breeder(STAYS))
        tree = launched.tree()
        kill_launcher(launched)
        await until(lambda: not there(tree))
        assert alive({"before": before.pid, "ours": ours.pid}) == {"before", "ours"}
        await ours.communicate(b"")
        assert ours.returncode == 7


async def test_outside_of_its_block_it_ends_nobody(sleep: Callable[[], subprocess.Popen[bytes]]) -> None:
    strays, before = Strays(NEVER), sleep()
    await strays.sweep()
    async with strays:
        pass
    after = sleep()
    await strays.sweep()
    assert alive({"before": before.pid, "after": after.pid}) == {"before", "after"}


@pytest.fixture
def parting_cli(runtimes: Runtimes, folder: Path) -> Iterator[Path]:
    """A stand-in that starts a child with a session of its own; `stray.pid` in its workspace names it."""
    stray = "['setsid', 'sh', '-c', 'echo $$ > stray.pid; exec sleep 600']"
    parts = (f"#!{sys.executable}", f"import subprocess; subprocess.Popen({stray})")
    cli = folder / "claude"
    cli.write_text("\n".join((*parts, Path(stand_in_cli.__file__).read_text())))
    cli.chmod(0o755)
    (folder / "how").write_text("answers")
    yield cli
    kill_left(runtimes.workspace)


async def test_a_runtime_that_closes_takes_along_what_its_launcher_could_not_end(
    runtimes: Runtimes, parting_cli: Path
) -> None:
    config, file = replace(runtimes.config, cli_path=parting_cli), runtimes.workspace / "stray.pid"
    await runtimes.store.sessions.create(runtimes.session)
    async with Strays(NEVER) as strays:
        factory = CliRuntimeFactory(config, runtimes.transcripts, runtimes.ids, runtimes.model, strays=strays)
        async with factory.open(runtimes.session, runtimes.gate, lease_of(runtimes.session)) as runtime:
            await until(lambda: has_text(file))
            stray = {"stray": int(file.read_text())}
            assert alive(stray) == {"stray"}
            assert runtime.pid is not None
            os.kill(runtime.pid, signal.SIGKILL)
        assert not there(stray)


def kill_launcher(launched: Launched) -> None:
    assert launched.process is not None
    launched.process.kill()


def there(pids: dict[str, int]) -> set[str]:
    """Zombies too."""
    return {name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()}


def kill_left(folder: Path) -> None:
    """What a failed test left: by where it is, for a number may be another's by now."""
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if place.readlink() == folder:
                os.kill(int(place.parent.name), signal.SIGKILL)
