"""What is different in a container: the addresses, metrics, and no demo model unless it is asked for."""

from pathlib import Path

import pytest

from claude_agent_http.settings import Given, SettingsError, load_settings

DEMO, HOST, CONTAINER = "CLAUDE_AGENT_MODEL_DEMO", "CLAUDE_AGENT_API_HOST", "CLAUDE_AGENT_CONTAINER"
SOURCE = "default in a container"


def test_the_service_is_reached_from_outside(tmp_path: Path):
    loaded = load_settings({}, tmp_path, in_container=True)
    assert (loaded.settings.api.host, loaded.origins["api.host"]) == ("0.0.0.0", SOURCE)
    assert (loaded.settings.api.port, loaded.origins["api.port"]) == (8000, "default")


def test_metrics_are_served_to_others(tmp_path: Path):
    loaded = load_settings({}, tmp_path, in_container=True)
    metrics = loaded.settings.metrics
    assert (metrics.enabled, metrics.host, metrics.port) == (True, "0.0.0.0", 9090)
    origins = [loaded.origins[f"metrics.{key}"] for key in ("enabled", "host", "port")]
    assert origins == [SOURCE, SOURCE, "default"]
    outside = load_settings({}, tmp_path).settings.metrics
    assert (outside.enabled, outside.host, outside.port) == (False, "127.0.0.1", 9090)


def test_metrics_can_be_turned_off_in_a_container_and_on_elsewhere(tmp_path: Path):
    variable = "CLAUDE_AGENT_METRICS_ENABLED"
    assert not load_settings({variable: "false"}, tmp_path, in_container=True).settings.metrics.enabled
    (tmp_path / "config.yaml").write_text("metrics: {enabled: yes, host: 10.0.0.1, port: 0}\n")
    metrics = load_settings({}, tmp_path).settings.metrics
    assert (metrics.enabled, metrics.host, metrics.port) == (True, "10.0.0.1", 0)


def test_one_port_may_be_named_twice_where_it_is_used_once(tmp_path: Path):
    same = {"CLAUDE_AGENT_API_PORT": "9090"}
    assert load_settings(same, tmp_path).settings.api.port == 9090
    with pytest.raises(SettingsError, match=r"metrics\.port"):
        load_settings(same, tmp_path, in_container=True)
    any_free = {"CLAUDE_AGENT_API_PORT": "0", "CLAUDE_AGENT_METRICS_PORT": "0"}
    assert load_settings(any_free, tmp_path, in_container=True).settings.metrics.port == 0


def test_every_source_beats_the_containers_default(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text("api: {host: file.example}\n")
    asked = {
        "file.example": load_settings({}, tmp_path, in_container=True),
        "env.example": load_settings({HOST: "env.example"}, tmp_path, in_container=True),
        "option.example": load_settings(
            {}, tmp_path, options=[Given("api.host", "option.example", "--host")], in_container=True
        ),
    }
    assert [loaded.settings.api.host for loaded in asked.values()] == list(asked)
    assert {loaded.origins["api.host"] for loaded in asked.values()} == {f"{file}:1", HOST, "--host"}


@pytest.mark.parametrize(
    ("environ", "demo", "origin"),
    [
        ({}, False, SOURCE),
        ({DEMO: "auto"}, False, f"auto in a container ({DEMO})"),
        ({DEMO: "off"}, False, DEMO),
        ({DEMO: "on"}, True, DEMO),
    ],
)
def test_the_demo_model_answers_only_when_asked_for(
    environ: dict[str, str], demo: bool, origin: str, tmp_path: Path
):
    loaded = load_settings(environ, tmp_path, in_container=True)
    assert loaded.settings.uses_demo_model is demo
    assert loaded.origins["model.demo"] == origin
    said = "".join(loaded.warnings)
    assert ("set ANTHROPIC_API_KEY" in said and f"{DEMO}=on" in said) is not demo


def test_with_a_key_nothing_is_warned_of(tmp_path: Path):
    loaded = load_settings({"ANTHROPIC_API_KEY": "k"}, tmp_path, in_container=True)
    assert loaded.settings.has_model_access
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("word", "detected", "wanted"),
    [
        ("", True, True),
        ("", False, False),
        ("auto", True, True),
        ("No", True, False),
        ("yes", False, True),
    ],
)
def test_a_variable_corrects_what_was_detected(word: str, detected: bool, wanted: bool, tmp_path: Path):
    loaded = load_settings({CONTAINER: word}, tmp_path, in_container=detected)
    assert loaded.in_container is wanted
    assert loaded.settings.uses_demo_model is not wanted
    assert loaded.settings.api.host == ("0.0.0.0" if wanted else "127.0.0.1")
    assert not any(CONTAINER in warning for warning in loaded.warnings)


def test_another_word_stops_the_start(tmp_path: Path):
    with pytest.raises(SettingsError, match=f"{CONTAINER}: should be 'yes', 'no' or 'auto', but is 'maybe'"):
        load_settings({CONTAINER: "maybe"}, tmp_path)
