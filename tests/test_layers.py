"""Breaks each import contract of pyproject.toml once: else a misspelt name in one passes in silence."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_CHECK = "from importlinter.cli import lint_imports_command; lint_imports_command()"

_VIOLATIONS = {
    "programs": [("claude_agent_operator/handlers.py", "import claude_agent_http")],
    "service-layers": [
        ("claude_agent_http/domain/bad.py", "import claude_agent_http.engine"),
        ("claude_agent_http/engine/bad.py", "import claude_agent_http.store"),
        ("claude_agent_http/store/bad.py", "import claude_agent_http.runtime"),
        ("claude_agent_http/engine/bad.py", "import claude_agent_http.settings"),
        ("claude_agent_http/helpers.py", ""),
    ],
    "operator-layers": [
        ("claude_agent_operator/names.py", "import claude_agent_operator.handlers"),
        ("claude_agent_operator/helpers.py", ""),
    ],
    "sdk": [("claude_agent_http/engine/bad.py", "import claude_agent_sdk")],
    "sql": [
        ("claude_agent_http/engine/bad.py", f"import {library}")
        for library in ("alembic", "asyncpg", "sqlalchemy.ext.asyncio")
    ],
    "web": [
        ("claude_agent_http/engine/bad.py", "from fastapi.routing import APIRouter"),
        ("claude_agent_http/app.py", "import sse_starlette"),
    ],
    "configuration": [("claude_agent_http/app.py", "import pydantic_settings")],
    "prometheus": [("claude_agent_http/engine/bad.py", "from prometheus_client.core import Metric")],
    "http-client": [
        ("claude_agent_http/runtime/bad.py", "import httpx"),
        ("claude_agent_http/runtime/bad.py", "import httpx2"),
        ("claude_agent_http/runtime/bad.py", "import aiohttp"),
    ],
    "tokens": [("claude_agent_http/engine/bad.py", "import jwt")],
    "kubernetes": [
        ("claude_agent_operator/reconcile.py", "import kopf"),
        ("claude_agent_operator/handlers.py", "import kubernetes.client"),
    ],
}


@pytest.fixture
def project(tmp_path):
    """A copy of both packages, bare: what they import does not matter here, only what the test adds."""
    shutil.copy(_ROOT / "pyproject.toml", tmp_path)
    for package in ("claude_agent_http", "claude_agent_operator"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for part in ("domain", "engine", "store", "runtime"):
        (tmp_path / "claude_agent_http" / part).mkdir()
        (tmp_path / "claude_agent_http" / part / "__init__.py").touch()
    for module in ("claude_agent_http/settings.py", "claude_agent_operator/handlers.py"):
        (tmp_path / module).touch()
    return tmp_path


def _check(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _CHECK, "--no-cache", "--no-logo", *args]
    env = {"PYTHONPATH": str(project)}
    return subprocess.run(
        command, check=False, cwd=project, env=env, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [(contract, module, line) for contract, cases in _VIOLATIONS.items() for module, line in cases],
)
def test_a_violation_breaks_its_contract(project, contract, module, line):
    (project / module).write_text(line + "\n")
    result = _check(project, "--contract", contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 broken" in result.stdout


def test_every_contract_is_kept_without_one(project):
    result = _check(project)
    assert f"{len(_VIOLATIONS)} kept, 0 broken" in result.stdout, result.stdout + result.stderr


def test_every_contract_has_a_violation_here():
    text = (_ROOT / "pyproject.toml").read_text()
    contracts = {line.split('"')[1] for line in text.splitlines() if line.startswith('id = "')}
    assert contracts == _VIOLATIONS.keys()
