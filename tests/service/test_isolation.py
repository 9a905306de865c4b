"""Which jail the settings and the kernel give, and when the service must not start."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from claude_agent_http.commands.doctor.isolation import check_isolation
from claude_agent_http.domain.errors import IsolationError
from claude_agent_http.isolation import configured_isolation, watches_each
from claude_agent_http.runtime.isolation import Kernel, exposed, readable_path
from claude_agent_http.settings import Loaded, load_settings

ALL = Kernel(landlock=7, filters=True)
LEAST = Kernel(landlock=3, filters=True)
NONE = Kernel(landlock=0, filters=False)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Loaded]:
    def loaded(**variables: str) -> Loaded:
        return load_settings({f"CLAUDE_AGENT_{name}": value for name, value in variables.items()}, tmp_path)

    return loaded


def test_by_default_it_is_as_far_as_the_kernel_can(load):
    assert configured_isolation(load(), ALL).missing == ()
    assert configured_isolation(load(), ALL).jail is not None
    assert configured_isolation(load(), NONE).jail is None


def test_in_a_container_it_is_required(tmp_path):
    assert load_settings({}, tmp_path, in_container=True).settings.isolation.mode == "required"


@pytest.mark.parametrize("kernel", [NONE, Kernel(2, filters=True), Kernel(7, filters=False)])
def test_what_is_required_and_missing_stops_the_start_and_says_the_way_out(load, kernel):
    with pytest.raises(IsolationError, match=r"Landlock 3 .*CLAUDE_AGENT_ISOLATION=preferred"):
        configured_isolation(load(ISOLATION="required"), kernel)


def test_what_a_kernel_cannot_hold_is_told(load):
    missing = configured_isolation(load(ISOLATION="required"), LEAST).missing
    assert [text.split()[1] for text in missing] == ["can", "can", "can"]
    assert "TCP port" in missing[0]
    assert "signals" in missing[-1]


def test_off_is_off_and_is_told(load):
    isolation = configured_isolation(load(ISOLATION="off"), ALL)
    assert isolation.jail is None
    assert "isolation.mode is off" in isolation.missing[0]


def test_yaml_that_says_off_bare_means_it(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("isolation:\n  mode: off\n")
    assert load_settings({}, tmp_path).settings.isolation.mode == "off"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"USER_BASE_DIR": "/opt/data"}, r"user\.base_dir \(/opt/data\) lies below /opt"),
        ({"SESSION_SQLITE_PATH": "/etc/agent/sessions.db"}, r"session\.sqlite_path .* below /etc"),
        ({"MODEL_BINDING_DIR": "/usr/share"}, r"model\.binding_dir .* below /usr"),
    ],
)
def test_what_every_agent_could_read_stops_the_start(load, variables, named):
    with pytest.raises(IsolationError, match=named):
        configured_isolation(load(**variables), ALL)


def test_a_folder_that_is_added_must_not_hold_what_is_the_services(load, tmp_path):
    with pytest.raises(IsolationError, match="which every agent may read"):
        configured_isolation(load(ISOLATION_READ=str(tmp_path)), ALL)


@pytest.mark.parametrize("mode", ["required", "preferred", "off"])
@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"USER_BASE_DIR": "data"}, r"session\.sqlite_path \(.*/data/db/sessions\.db\)"),
        (
            {"USER_BASE_DIR": "u", "AUTH": "api-keys", "AUTH_KEYS_DIR": "u/bob/keys"},
            r"auth\.keys_dir \(.*/u/bob/keys\)",
        ),
        ({"USER_BASE_DIR": "u", "MODEL_BINDING_DIR": "u"}, r"model\.binding_dir \(.*/u\)"),
        ({"USER_BASE_DIR": "u", "CONFIG": "u/bob/config.yaml"}, r"the configuration \(.*/bob/config\.yaml\)"),
        (
            {"USER_BASE_DIR": "u", "AUTH": "api-keys", "AUTH_KEYS_DIR": "link/keys"},
            r"auth\.keys_dir \(.*/link/keys\)",
        ),
        ({"USER_BASE_DIR": sys.prefix}, "its Python"),
    ],
    ids=["database", "keys", "binding", "configuration", "by a link", "Python"],
)
def test_what_would_be_a_users_own_stops_the_start(load, tmp_path, mode, variables, named):
    (tmp_path / "u" / "bob" / "keys").mkdir(parents=True)
    (tmp_path / "u" / "bob" / "config.yaml").touch()
    (tmp_path / "link").symlink_to("u/bob")
    loaded = load(ISOLATION=mode, **variables)
    with pytest.raises(IsolationError, match=named + r".* lies below user\.base_dir .*move it elsewhere"):
        configured_isolation(loaded, ALL)
    assert [finding.level for finding in check_isolation(loaded, ALL)] == ["fail"]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"ISOLATION_READ": "data/claude-users/.sessions"}, r"user\.base_dir"),
        ({"ISOLATION_READ": "data/claude-users/bob"}, r"user\.base_dir"),
        ({"ISOLATION_READ": "keys/root", "AUTH": "api-keys", "AUTH_KEYS_DIR": "keys"}, r"auth\.keys_dir"),
        ({"ISOLATION_READ": "model/api-key", "MODEL_BINDING_DIR": "model"}, r"model\.binding_dir"),
        ({"PLUGINS": '[{"type": "local", "path": "data/claude-users/bob/p"}]'}, r"user\.base_dir"),
    ],
)
def test_a_part_of_what_is_the_services_stops_the_start_too(load, tmp_path, variables, named):
    for name in ("keys", "model", "data/claude-users/bob/p"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(IsolationError, match=r"which every agent may read, lies below " + named):
        configured_isolation(load(**variables), ALL)


def test_a_certificate_in_a_users_folder_stops_the_start(load, tmp_path):
    environ = {"SSL_CERT_FILE": str(tmp_path / "data" / "claude-users" / "bob" / "ca.crt")}
    with pytest.raises(IsolationError, match=r"ca\.crt, which .* may read, lies below user\.base_dir"):
        configured_isolation(load(), ALL, environ)


def test_what_agents_are_to_trust_must_not_hold_what_is_the_services(load, tmp_path):
    with pytest.raises(IsolationError, match="which every agent may read"):
        configured_isolation(load(), ALL, {"SSL_CERT_DIR": str(tmp_path)})


def test_a_secrets_file_is_the_services_too(tmp_path):
    with pytest.raises(IsolationError, match=r"model\.api_key"):
        configured_isolation(load_settings({"ANTHROPIC_API_KEY_FILE": "/etc/hostname"}, tmp_path), ALL)


def test_a_link_hides_nothing(tmp_path):
    (tmp_path / "data").symlink_to("/etc")
    assert list(exposed({"user.base_dir": tmp_path / "data" / "users"}, ["/etc"]))


def test_a_path_keeps_only_what_can_be_run(tmp_path):
    (tmp_path / "bin").mkdir()
    assert readable_path(f"{tmp_path}/bin:/usr/bin:", ["/usr"]) == "/usr/bin"
    assert readable_path(f"{tmp_path}/bin", ["/usr"]) == "/usr/local/bin:/usr/bin:/bin"


@pytest.mark.parametrize(("kernel", "level"), [(ALL, "ok"), (LEAST, "warn"), (NONE, "warn")])
def test_the_doctor_tells(load, kernel, level):
    assert [finding.level for finding in check_isolation(load(), kernel)] == [level]


def test_the_doctor_tells_of_a_start_that_will_be_refused(load):
    (finding,) = check_isolation(load(USER_BASE_DIR="/opt/data"), ALL)
    assert finding.level == "fail"


@pytest.mark.parametrize(
    ("watches", "sessions", "each"), [(4_000_000, 20, 65_536), (4_000_000, 100, 20_000), (100_000, 100, 1024)]
)
def test_all_agents_together_leave_half_of_the_watches(load, watches, sessions, each):
    settings = load(MAX_SESSIONS=str(sessions)).settings
    assert watches_each(settings, Kernel(7, filters=True, watches=watches)) == each


def test_the_doctor_tells_what_agents_could_use_up(load):
    scarce = Kernel(7, filters=True, watches=30_000, files=800_000)
    first, *others = check_isolation(load(), scarce)
    assert (first.level, [one.level for one in others]) == ("ok", ["warn", "warn"])
    assert "20480 of the 30000 epoll watches" in others[0].found
    assert "524288 of the 800000 files" in others[1].found


def test_the_doctor_tells_of_an_mcp_server_that_agents_may_not_run(load, tmp_path):
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    servers = f'{{"files": {{"command": "{program}"}}}}'
    assert [one.level for one in check_isolation(load(MCP_SERVERS=servers), ALL)] == ["ok", "warn"]
    assert [
        one.level for one in check_isolation(load(MCP_SERVERS=servers, ISOLATION_READ=str(program)), ALL)
    ] == ["ok"]


def test_agents_may_run_an_mcp_server_of_a_plugin(load, tmp_path):
    program = tmp_path / "plugin" / "server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    given = {
        "MCP_SERVERS": f'{{"files": {{"command": "{program}"}}}}',
        "PLUGINS": f'[{{"type": "local", "path": "{program.parent}"}}]',
        "USER_BASE_DIR": str(tmp_path / "users"),
    }
    assert [one.level for one in check_isolation(load(**given), ALL)] == ["ok"]
