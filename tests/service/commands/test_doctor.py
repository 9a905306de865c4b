"""doctor on good and broken set-ups: what it finds, what it advises, and its exit code."""

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from tests.service.auth.issuer import StandInIssuer, ec_key, rsa_key
from tests.service.commands.program import run
from tests.service.commands.set_up import V, found, script, sound

from claude_agent_http.commands.doctor.agent_cli import check_agent_cli, check_cpu
from claude_agent_http.commands.doctor.callers import check_callers
from claude_agent_http.commands.doctor.command import examine
from claude_agent_http.commands.doctor.memory import available_mb, check_memory
from claude_agent_http.commands.doctor.system import check_system
from claude_agent_http.settings import load_settings
from claude_agent_http.system.loopback import LoopbackServer


def test_a_sound_set_up_fails_nowhere(tmp_path: Path, cli: Path):
    ended = run("doctor", "--json", cwd=tmp_path, env=sound(tmp_path, cli))
    content = json.loads(ended.stdout)
    assert [finding for finding in content["findings"] if finding["level"] == "fail"] == []
    assert (ended.returncode, content["ok"]) == (0, True)
    assert {finding["name"] for finding in content["findings"]} == {
        "system",
        "isolation",
        "home",
        "configuration",
        "model key",
        "uid",
        "users' folder",
        "database folder",
        "disk space",
        "database",
        "callers",
        "port",
        "metrics port",
        "cpu",
        "agent CLI",
        "memory",
    }
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("environ", "level", "said"),
    [
        ({}, "ok", "only this machine"),
        ({f"{V}API_HOST": "0.0.0.0"}, "fail", "CLAUDE_AGENT_INSECURE=true"),
        ({f"{V}API_HOST": "0.0.0.0", f"{V}INSECURE": "yes"}, "warn", "CLAUDE_AGENT_AUTH=api-keys"),
        ({f"{V}AUTH": "api-keys"}, "warn", "keys create"),
    ],
)
def test_who_may_call(environ: dict[str, str], level: str, said: str, tmp_path: Path):
    finding = check_callers(load_settings(environ, tmp_path).settings)
    assert finding.level == level
    assert said in f"{finding.found} {finding.advice}"
    assert not (tmp_path / "data").exists()


def test_keys_in_the_database_and_in_files_are_found(tmp_path: Path):
    environ = {f"{V}AUTH": "api-keys"}
    assert run("keys", "create", "ci", "--act-as", cwd=tmp_path).returncode == 0
    assert check_callers(load_settings(environ, tmp_path).settings).level == "ok"
    (tmp_path / "keys").mkdir()
    write_private(tmp_path / "keys" / "ci", "k" * 30)
    environ |= {f"{V}AUTH_KEYS_DIR": "keys", f"{V}SESSION_STORAGE": "memory"}
    finding = check_callers(load_settings(environ, tmp_path).settings)
    assert (finding.level, f"1 files in {tmp_path}/keys" in finding.found) == ("ok", True)


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "open nothing: bad is empty"),
        ("hush", 0o600, "open nothing: bad key: should be at least 24"),
        ("hush" * 10, 0o604, "bad (every user of the machine can read it)"),
        ("hush" * 10, 0o640, "bad (its whole group can read it)"),
    ],
)
def test_a_bad_file_of_a_key_is_told_without_what_is_in_it(text: str, mode: int, said: str, tmp_path: Path):
    (tmp_path / "keys").mkdir()
    write_private(tmp_path / "keys" / "sound", "k" * 30)
    write_private(tmp_path / "keys" / "bad", text, mode)
    environ = {f"{V}AUTH": "api-keys", f"{V}AUTH_KEYS_DIR": "keys", f"{V}SESSION_STORAGE": "memory"}
    finding = check_callers(load_settings(environ, tmp_path).settings)
    assert finding.level == "warn"
    assert finding.advice
    assert said in finding.found
    assert "sound" not in finding.found
    assert "hush" not in finding.found + finding.advice


def test_a_file_of_a_key_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "keys").mkdir()
    write_private(tmp_path / "keys" / "bad", "k" * 30)
    real = Path.open

    def refused(path: Path, *given: Any) -> Any:  # the tests may run as root, who may read everything
        if path.name == "bad":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *given)

    monkeypatch.setattr(Path, "open", refused)
    environ = {f"{V}AUTH": "oidc", f"{V}AUTH_KEYS_DIR": "keys", f"{V}SESSION_STORAGE": "memory"}
    environ |= {f"{V}AUTH_OIDC_ISSUER": "https://id.test", f"{V}AUTH_OIDC_AUDIENCE": "us"}
    finding = check_callers(load_settings(environ, tmp_path).settings)
    assert (finding.level, "bad cannot be read: Permission denied" in finding.found) == ("warn", True)


@pytest.mark.parametrize(
    ("set_up", "level", "said"),
    [
        ({}, "ok", "has 2 keys for its tokens"),
        ({"algorithms": "ES256"}, "ok", "has 1 key for its tokens"),
        ({"algorithms": "EdDSA"}, "fail", "has no key for a way of signing that is allowed"),
        ({"path": "/other"}, "fail", "/other/.well-known/openid-configuration answered 404"),
        ({"answers": {"/keys": Response("", 503)}}, "fail", "/keys answered 503"),
    ],
)
async def test_the_issuer_is_asked(set_up: dict[str, Any], level: str, said: str, tmp_path: Path):
    issuer = StandInIssuer([rsa_key("rsa"), ec_key("ec")], answers=set_up.get("answers", {}))
    async with LoopbackServer(issuer.app()) as server:
        issuer.url = server.url
        environ = {
            f"{V}AUTH": "oidc",
            f"{V}AUTH_OIDC_ISSUER": server.url + set_up.get("path", ""),
            f"{V}AUTH_OIDC_AUDIENCE": "us",
            f"{V}AUTH_OIDC_ALGORITHMS": set_up.get("algorithms", ""),
            f"{V}SESSION_STORAGE": "memory",
        }
        findings = await asyncio.to_thread(lambda: list(examine(environ, tmp_path)))
    [finding] = [one for one in findings if one.name == "issuer"]
    assert finding.level == level
    assert said in finding.found


def test_who_takes_no_tokens_has_no_issuer(tmp_path: Path):
    assert "issuer" not in {one.name for one in examine({f"{V}AUTH": "api-keys"}, tmp_path)}


def test_every_fault_gives_1_and_an_advice(tmp_path: Path, cli: Path):
    ended = run("doctor", cwd=tmp_path, env=sound(tmp_path, cli) | {"HOME": "/no/such/home"})
    assert ended.returncode == 1
    assert "fail home: HOME is /no/such/home, which does not exist\n      -> set HOME to" in ended.stdout


@pytest.mark.parametrize("container", ["no", "yes"])
def test_images_and_env_files_are_spoken_of_in_containers_only(container: str, tmp_path: Path, cli: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broken = {
            "HOME": "/no/such/home",
            f"{V}USER_BASE_DIR": "/proc/claude",
            f"{V}API_HOST": "127.0.0.1",
            f"{V}API_PORT": str(taken.getsockname()[1]),
            f"{V}CONTAINER": container,
        }
        findings = found(sound(tmp_path, cli) | broken, tmp_path)
    said = " ".join(finding.found + finding.advice for finding in findings.values())
    assert [word in said for word in ("the image", ".env", "Compose", "in a container")] == [
        container == "yes"
    ] * 4


def test_without_a_model_it_is_told_once_and_how_to_have_one(tmp_path: Path, cli: Path):
    findings = found(sound(tmp_path, cli) | {f"{V}CONTAINER": "yes"}, tmp_path)
    assert findings["configuration"].level == "ok"
    assert findings["model key"].level == "warn"
    assert "CLAUDE_AGENT_MODEL_DEMO=on" in findings["model key"].advice


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"ANTHROPIC_MODEL": "qwen3", f"{V}GATEWAY_USER_DAY_BUDGET_USD": "5"}, "'qwen3' has no price"),
        ({"ANTHROPIC_MODEL": "qwen3", f"{V}GATEWAY_ALLOWED_MODELS": "claude-*"}, "'qwen3' is not allowed"),
        ({"ANTHROPIC_MODEL": "qwen3", f"{V}GATEWAY_USER_DAY_BUDGET_TOKENS": "5"}, ""),
        ({"ANTHROPIC_MODEL": "qwen3"}, ""),
        ({"ANTHROPIC_MODEL": "opus[1m]", f"{V}GATEWAY_USER_DAY_BUDGET_USD": "5"}, ""),
        ({"ANTHROPIC_MODEL": "claude-opus-5-5-x[1m]", f"{V}GATEWAY_SESSION_BUDGET_USD": "5"}, ""),
        ({f"{V}GATEWAY_SERVICE_DAY_BUDGET_USD": "5"}, ""),
    ],
)
def test_a_model_that_every_turn_will_be_refused(
    environ: dict[str, str], said: str, tmp_path: Path, cli: Path
):
    findings = found(sound(tmp_path, cli) | {"ANTHROPIC_API_KEY": "sk-x"} | environ, tmp_path)
    assert ("model" in findings, "model key" in findings) == (bool(said), not said)
    if said:
        assert findings["model"].level == "warn"
        assert "every turn" in findings["model"].found
        assert said in findings["model"].advice


def test_on_macos_it_is_told_what_is_not_enforced():
    finding = check_system(container=False, name="darwin")
    assert (finding.level, "parent-death signal" in finding.found) == ("warn", True)
    assert "Linux" in finding.advice
    assert check_system(container=False, name="linux").level == "ok"


def test_no_secret_is_printed(tmp_path: Path, cli: Path):
    env = sound(tmp_path, cli) | {
        "ANTHROPIC_API_KEY": "hush",
        "ANTHROPIC_BASE_URL": "http://u:hush@localhost",
        f"{V}SESSION_STORAGE": "postgresql",
        f"{V}SESSION_PG_PASSWORD": "hush",
        f"{V}SESSION_PG_PORT": "1",
    }
    ended = run("doctor", cwd=tmp_path, env=env)
    assert "api_key from ANTHROPIC_API_KEY" in ended.stdout
    assert "hush" not in ended.stdout + ended.stderr


def test_home_must_be_set(tmp_path: Path, cli: Path):
    env = sound(tmp_path, cli)
    del env["HOME"]
    finding = found(env, tmp_path)["home"]
    assert (finding.level, finding.found.partition(";")[0]) == ("warn", "HOME is not set")


def test_home_must_be_a_folder(tmp_path: Path, cli: Path):
    (tmp_path / "file").write_text("")
    finding = found(sound(tmp_path, cli) | {"HOME": str(tmp_path / "file")}, tmp_path)["home"]
    assert (finding.level, finding.found) == ("fail", f"HOME is {tmp_path}/file, which is no folder")


def test_a_bad_configuration_is_a_finding(tmp_path: Path):
    findings = found({"HOME": str(tmp_path), f"{V}API_PORT": "x"}, tmp_path)
    assert findings["configuration"].level == "fail"
    assert f"api.port (from {V}API_PORT)" in findings["configuration"].found
    assert set(findings) == {"system", "home", "configuration"}


def test_a_file_where_a_folder_should_be(tmp_path: Path, cli: Path):
    (tmp_path / "file").write_text("")
    finding = found(sound(tmp_path, cli) | {f"{V}USER_BASE_DIR": "file"}, tmp_path)["configuration"]
    assert "should be a folder" in finding.found


def test_a_missing_folder_that_may_not_be_made(tmp_path: Path, cli: Path):
    finding = found(sound(tmp_path, cli) | {f"{V}USER_AUTO_CREATE_DIR": "false"}, tmp_path)["users' folder"]
    assert (finding.level, "auto_create_dir" in finding.advice) == ("fail", True)


@pytest.mark.parametrize("key", ["USER_BASE_DIR", "SESSION_SQLITE_PATH"])
def test_a_folder_that_nobody_can_write(key: str, tmp_path: Path, cli: Path):
    # /proc takes no files, not even from root.
    env = sound(tmp_path, cli) | {f"{V}{key}": "/proc/claude/x"}
    finding = found(env, tmp_path)["users' folder" if key == "USER_BASE_DIR" else "database folder"]
    assert finding.level == "fail"
    assert "/proc is not writable" in finding.found
    assert f"chown -R {os.geteuid()}" in finding.advice


@pytest.mark.tier("root")
def test_a_folder_of_someone_else(tmp_path: Path, cli: Path):
    folder = tmp_path / "users"
    folder.mkdir()
    os.chown(folder, 4321, 4321)
    finding = found(sound(tmp_path, cli) | {f"{V}USER_BASE_DIR": str(folder)}, tmp_path)["users' folder"]
    assert (finding.level, "belongs to uid 4321" in finding.found) == ("warn", True)


def test_a_port_in_use_by_another_program(tmp_path: Path, cli: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = found(sound(tmp_path, cli) | {f"{V}API_PORT": str(port)}, tmp_path)["port"]
    assert (finding.level, finding.found) == ("fail", f"127.0.0.1:{port} is in use by another program")
    assert f"ss -tlnp | grep :{port}" in finding.advice


def test_the_metrics_port_is_looked_at_where_it_is_used(tmp_path: Path, cli: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = sound(tmp_path, cli) | {f"{V}METRICS_PORT": port}
        assert found(env, tmp_path)["metrics port"].level == "ok"
        finding = found(env | {f"{V}METRICS_ENABLED": "yes"}, tmp_path)["metrics port"]
    assert (finding.level, finding.found) == ("fail", f"127.0.0.1:{port} is in use by another program")
    assert f"{V}METRICS_PORT" in finding.advice
    assert "Compose" not in finding.advice


def test_an_address_of_another_machine(tmp_path: Path, cli: Path):
    finding = found(sound(tmp_path, cli) | {f"{V}API_HOST": "192.0.2.1"}, tmp_path)["port"]
    assert (finding.level, "no address of this machine" in finding.found) == ("fail", True)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("exit 3", "ended with 3"),
        ("echo broken >&2; exit 1", "ended with 1: broken"),
        ("kill -ILL $$", "instructions this CPU lacks"),
        ("kill -KILL $$", "was killed"),
    ],
)
def test_a_cli_that_does_not_start(body: str, wanted: str, tmp_path: Path):
    env = sound(tmp_path, script(tmp_path, body))
    finding = check_agent_cli(load_settings(env, tmp_path).settings, env)
    assert (finding.level, wanted in finding.found) == ("fail", True)
    assert finding.advice


def test_a_cli_that_cannot_be_run(tmp_path: Path):
    cli = tmp_path / "claude"
    cli.write_bytes(b"\x7fELF nonsense")
    cli.chmod(0o755)
    env = sound(tmp_path, cli)
    finding = check_agent_cli(load_settings(env, tmp_path).settings, env)
    assert (finding.level, "cannot be run" in finding.found) == ("fail", True)


def test_a_missing_cli_stops_the_configuration(tmp_path: Path):
    finding = found(sound(tmp_path, tmp_path / "none"), tmp_path)["configuration"]
    assert f"{tmp_path}/none does not exist" in finding.found


def test_the_cli_is_told_no_secret(tmp_path: Path):
    env = sound(tmp_path, script(tmp_path, 'echo "key=$ANTHROPIC_API_KEY"')) | {"ANTHROPIC_API_KEY": "hush"}
    assert check_agent_cli(load_settings(env, tmp_path).settings, env).found.startswith("key= ")


@pytest.mark.parametrize(("flags", "level"), [("fpu avx avx2", "ok"), ("fpu sse avx512x", "fail")])
def test_a_cpu_with_and_without_avx(flags: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert check_cpu(load_settings({}, tmp_path).settings, tmp_path / "cpuinfo").level == level


@pytest.mark.parametrize(
    ("limit_mb", "environ", "level"),
    [
        (300, {}, "fail"),
        (1000, {}, "warn"),
        (1000, {f"{V}MEMORY_LIMIT_MB": "900", f"{V}MAX_SESSIONS": "3"}, "ok"),
        (1000, {f"{V}MEMORY_LIMIT_MB": "900", f"{V}MAX_SESSIONS": "4"}, "warn"),
    ],
)
def test_memory_against_a_container_limit(limit_mb: int, environ: dict[str, str], level: str, tmp_path: Path):
    (tmp_path / "memory.max").write_text(f"{limit_mb * 1024 * 1024}\n")
    (tmp_path / "memory.current").write_text("0\n")
    assert available_mb(tmp_path) == limit_mb
    finding = check_memory(load_settings(environ, tmp_path).settings, container=True, cgroup=tmp_path)
    assert finding.level == level
    assert f"{limit_mb} MB available" in finding.found


@pytest.mark.parametrize(
    ("limit_mb", "sessions", "wanted"),
    [
        (300, 3, "too little for one live session"),
        (700, 3, "enough for about 2 live sessions, where api.max_sessions allows 3"),
        (9000, 3, "enough for the 3 live sessions that api.max_sessions allows"),
    ],
)
def test_memory_is_told_in_live_sessions(limit_mb: int, sessions: int, wanted: str, tmp_path: Path):
    (tmp_path / "memory.max").write_text(f"{limit_mb * 1024 * 1024}\n")
    (tmp_path / "memory.current").write_text("0\n")
    settings = load_settings({f"{V}MAX_SESSIONS": str(sessions)}, tmp_path).settings
    assert check_memory(settings, container=True, cgroup=tmp_path).found.endswith(wanted)


def test_without_a_container_limit_the_machine_counts(tmp_path: Path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert available_mb(tmp_path) > 0
