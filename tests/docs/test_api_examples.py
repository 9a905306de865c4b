"""Every block of docs/API_EXAMPLES.md is run against a real service and prints what it says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.docs.markdown import DOCS, Block, blocks
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import wait_until

LIMIT_SECONDS = 90
ROUTE = re.compile(r"`(GET|POST|PUT|DELETE) (/\S*)`")
API_KEY = "a-key-of-this-test-alone"
EXPECTED = re.compile(r"^(?:#|//) -> (.*)$", re.M)


@dataclass(frozen=True)
class Language:
    file: str
    command: tuple[str, ...]
    tiers: tuple[str, ...]


LANGUAGES = {
    "curl": Language("example.sh", ("bash", "-euo", "pipefail"), ("cli", "curl")),
    "Python": Language("example.py", (sys.executable, "-W", "error::SyntaxWarning"), ("cli",)),
    "JavaScript": Language("example.mjs", ("node",), ("cli", "node")),
}
BLOCKS = [block for block in blocks(DOCS / "API_EXAMPLES.md") if block.chapter in LANGUAGES]
FIRST = {name: next(block for block in BLOCKS if block.chapter == name) for name in LANGUAGES}


def examples() -> Iterator[object]:
    for block in BLOCKS:
        tiers = LANGUAGES[block.chapter].tiers
        name = f"{block.chapter}:{block.line}:{block.section.partition(':')[0]}"
        yield pytest.param(block, marks=pytest.mark.tier(*tiers), id=name.replace(" ", "-"))


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceProcess]:
    made = Services()
    # Few agent processes at once: each example leaves one behind, which the next ones push out.
    yield made.start(
        CLAUDE_AGENT_MAX_SESSIONS="4", CLAUDE_AGENT_PRESTART="false", CLAUDE_AGENT_LOGGING_LEVEL="debug"
    )
    made.end()


@pytest.fixture(scope="module")
def asking() -> Iterator[ServiceProcess]:
    """One that asks for a key, and knows this test's by a file."""
    made = Services()
    folder = made.folder()
    (folder / "keys").mkdir()
    (folder / "keys" / "test").write_text(json.dumps({"key": API_KEY, "act_as": True, "admin": True}))
    yield made.start(
        folder,
        CLAUDE_AGENT_AUTH="api-keys",
        CLAUDE_AGENT_AUTH_KEYS_DIR=str(folder / "keys"),
        CLAUDE_AGENT_PRESTART="false",
        CLAUDE_AGENT_LOGGING_LEVEL="debug",
    )
    made.end()


@pytest.fixture(scope="module")
def careful() -> Iterator[ServiceProcess]:
    """One whose agents ask before they change anything."""
    made = Services()
    yield made.start(CLAUDE_AGENT_DEFAULTS_PERMISSION_MODE="default", CLAUDE_AGENT_LOGGING_LEVEL="debug")
    made.end()


@pytest.mark.parametrize("block", list(examples()))
def test_example(block: Block, request: pytest.FixtureRequest, tmp_path: Path):
    needs_key = "/admin/" in block.section
    wanted_service = "asking" if needs_key else "careful" if "/approvals" in block.section else "service"
    service: ServiceProcess = request.getfixturevalue(wanted_service)
    before = len(service.log)
    ended = run(block, service.url, tmp_path, {"API_KEY": API_KEY} if needs_key else {})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert_prints(ended.stdout, expected(block))
    wanted = ROUTE.findall(block.section)
    wait_until(
        lambda: all(called(service.log[before:], *route) for route in wanted),
        5,
        lambda: f"not every route of {wanted} was called",
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.tier("cli")
def test_every_route_has_an_example(language: str, service: ServiceProcess):
    paths = httpx.get(f"{service.url}/openapi.json", trust_env=False).json()["paths"]
    offered = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    offered = {(method, path) for method, path in offered if method != "HEAD"}  # A GET without its body.
    shown = {route for block in BLOCKS if block.chapter == language for route in ROUTE.findall(block.section)}
    assert shown == offered


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.chapter}:{block.line}")
def test_every_block_says_what_it_prints(block: Block):
    assert EXPECTED.search(block.text)


def run(block: Block, url: str, folder: Path, more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The block after the first one of its language, in a process and a folder of its own."""
    language, first = LANGUAGES[block.chapter], FIRST[block.chapter]
    source = first.text if block is first else f"{first.text}\n{block.text}"
    (folder / language.file).write_text(source, encoding="utf-8")
    return subprocess.run(
        [*language.command, language.file],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "BASE": url,
            "NO_PROXY": "*",
            **more,
        },
        text=True,
        encoding="utf-8",
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def expected(block: Block) -> list[str]:
    first = FIRST[block.chapter]
    shown = [first.text] if block is first else [first.text, block.text]
    return [line for text in shown for line in EXPECTED.findall(text)]


def assert_prints(output: str, lines: list[str]) -> None:
    """Each expected line stands in the output behind the one before it; `...` is anything."""
    rest = output
    for line in lines:
        found = re.search(".*?".join(map(re.escape, line.split("..."))), rest, re.S)
        assert found, f"{line!r} is not in what is left of the output:\n{rest}"
        rest = rest[found.end() :]


def called(log: str, method: str, path: str) -> bool:
    """Whether the service's log has a request that fits the route."""
    fits = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
    requests = (json.loads(line) for line in log.splitlines() if '"event": "request"' in line)
    return any(one["method"] == method and fits.fullmatch(one["path"]) for one in requests)
