"""What set-up stands on: locked requirements, a Python that runs, a uv fetched where there is none."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
[VERSION] = re.findall(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())
PYTHON = getattr(sys, "_base_executable", None) or sys.executable
LIMIT_SECONDS = 120


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(folder: Path, name: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """One of scripts/, in a folder of its own, with nothing of this environment but what is given.

    PATH begins with its `bin`; behind that are the few tools that every system has, and no uv.
    """
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("cat", "grep", "mkdir", "rm", "sh"):
        if not (tools / tool).exists():
            (tools / tool).symlink_to(str(shutil.which(tool)))
    return subprocess.run(
        [ROOT / "scripts" / name, *arguments],
        cwd=folder,
        env={"PATH": f"{folder}/bin:{tools}", "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[ \[;<>=!~(]", name, maxsplit=1)[0]).lower()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_and_hashes_everything_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE), "an option that goes round the lock"
    requirements = re.findall(r"^(\S.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    pinned = [one for one in requirements if not one.startswith("#")]
    assert pinned
    for one in pinned:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", one), one
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", one), one


def test_the_locks_hold_every_direct_requirement() -> None:
    locked = {
        lock.stem: {normal(line) for line in lock.read_text().splitlines() if re.match(r"\w", line)}
        for lock in LOCKS
    }
    assert set(locked) == {"build", "dev", "service"}
    wanted = {normal(name) for name in PYPROJECT["project"]["dependencies"]}
    groups = PYPROJECT["dependency-groups"]
    assert wanted
    assert wanted <= locked["service"] <= locked["dev"]
    for group, lock in (("dev", "dev"), ("build", "build")):
        assert {normal(name) for name in groups[group] if isinstance(name, str)} <= locked[lock]


def test_a_python_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "bin", "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    script(tmp_path / "bin", "python3.12", f'exec {PYTHON} "$@"')
    found = run(tmp_path, "find-python")
    assert (found.returncode, found.stderr) == (0, "")
    assert Path(found.stdout.strip()).exists()


def test_no_python_says_what_to_do(tmp_path: Path) -> None:
    missing = run(tmp_path, "find-python", PYTHON="/nowhere/python")
    assert missing.returncode == 1
    assert "No Python of at least 3.11 runs here (tried: /nowhere/python)" in missing.stderr
    assert "make PYTHON=" in missing.stderr


@pytest.mark.tier("pip")
@pytest.mark.parametrize("old", [None, "uv 0.4.30", "not uv at all"])
def test_uv_is_fetched_where_there_is_none_that_will_do(tmp_path: Path, old: str | None) -> None:
    if old:
        script(tmp_path / "bin", "uv", f"echo '{old}'")
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(uv_wheel(tmp_path / "index"))}
    fetched = run(tmp_path, "find-uv", PYTHON, VERSION, **index)
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stdout.strip() == f"{tmp_path}/.tools/uv/bin/uv"
    assert f"fetching uv {VERSION}" in fetched.stderr
    again = run(tmp_path, "find-uv", PYTHON, VERSION)
    assert (again.stdout, again.stderr) == (fetched.stdout, "")


def test_a_uv_on_the_path_is_taken(tmp_path: Path) -> None:
    uv = script(tmp_path / "bin", "uv", f"echo 'uv {VERSION}'")
    found = run(tmp_path, "find-uv", "/nowhere/python", VERSION)
    assert (found.stdout.strip(), found.stderr) == (str(uv), "")


@pytest.mark.tier("pip")
def test_a_uv_that_cannot_be_fetched_says_what_to_do(tmp_path: Path) -> None:
    failed = run(tmp_path, "find-uv", PYTHON, VERSION, PIP_NO_INDEX="1")
    assert failed.returncode == 1
    assert "Install uv (or python3-venv, or pip) and try again" in failed.stderr


def uv_wheel(folder: Path) -> Path:
    """A package index of one wheel, whose uv says its version and nothing else."""
    folder.mkdir()
    info, name = f"uv-{VERSION}.dist-info", f"uv-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        uv = zipfile.ZipInfo(f"uv-{VERSION}.data/scripts/uv")
        uv.external_attr = 0o100755 << 16  # a file that may be run
        wheel.writestr(uv, f"#!/bin/sh\necho 'uv {VERSION}'\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: uv\nVersion: {VERSION}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder
