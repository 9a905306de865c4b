"""What launcher and jail add to a start: the CLI that only tells its version, started so and by itself."""

import asyncio
import os
import time
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Target, distribution

from claude_agent_http.launcher.parameters import Jail, Launch, dump
from claude_agent_http.runtime.folders import ensure_trampoline, trampoline, write_private
from claude_agent_http.runtime.heartbeat import Heartbeat
from claude_agent_http.runtime.isolation import filter_program, kernel, readable
from claude_agent_http.runtime.startfiles import bundled_cli

__all__ = ["measure"]

_TARGETS = (Target("p50", 20),)


async def measure(bench: Bench) -> list[Figure]:
    folder, cli = bench.folder, bundled_cli()
    ensure_trampoline(folder)
    jail = Jail(
        cwd=str(folder.resolve()),
        reads=readable((), cli),
        writes=("/dev/null",),
        ports=(443,),
        program=filter_program() if kernel().filters else b"",
    )
    bare, launched, jailed = list[float](), list[float](), list[float]()
    for _ in range(bench.count(40, 2)):
        bare.append(await _ended(str(cli), env=_environment(folder)))
        launched.append(await _launched(folder, cli, None))
        jailed.append(await _launched(folder, cli, jail))
    added = [one - other for one, other in zip(jailed, bare, strict=True)]
    return [
        Figure.of(
            added,
            name="launch.added",
            what="launcher and jail: from start to the CLI's version, less the same without them; in pairs",
            unit="ms",
            targets=_TARGETS,
            compared_with={
                "name": "the CLI by itself",
                **distribution(bare),
                **distribution(jailed, "jailed_"),
            },
            details=distribution(launched, "launcher_without_jail_"),
        )
    ]


async def _launched(folder: Path, cli: Path, jail: Jail | None) -> float:
    heartbeat = Heartbeat()
    heartbeat.open(folder / "heartbeat")
    launch = Launch(
        cli=str(cli),
        heartbeat=str(heartbeat.path),
        service=os.getpid(),
        pid_file=str(folder / "pid"),
        environment=_environment(folder),
        jail=jail,
    )
    parameters = write_private(folder / "launch-parameters", dump(launch))
    try:
        return await _ended(str(trampoline(folder)), env={"CLAUDE_AGENT_LAUNCH": str(parameters)})
    finally:
        heartbeat.close()


async def _ended(program: str, env: dict[str, str]) -> float:
    """Milliseconds from its start to what it says: no session waits for what a launcher does afterwards."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        program, "--version", env=env, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    output = await process.stdout.read(100)
    taken = (time.perf_counter() - started) * 1000
    await process.wait()
    assert b"Claude Code" in output, output
    return taken


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "DISABLE_AUTOUPDATER": "1"}
