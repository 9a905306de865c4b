"""From the sources to one frozen Settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import PydanticBaseSettingsSource

from claude_agent_http.settings.check import contradictions, hints, with_absolute_paths
from claude_agent_http.settings.container import (
    CONTAINER_DEFAULTS,
    container_problems,
    is_container,
    without_auto_demo,
)
from claude_agent_http.settings.file import FileContent, read_file
from claude_agent_http.settings.given import Given, nested
from claude_agent_http.settings.mcp import PluginSettings, RemoteServer, StdioServer
from claude_agent_http.settings.model import PriceSettings, Settings
from claude_agent_http.settings.names import CONFIG_VARIABLE, fields, is_secret, is_structure
from claude_agent_http.settings.problems import Problem, SettingsError, describe, nearest
from claude_agent_http.settings.variables import read_environment

__all__ = ["Loaded", "load_settings"]

# A value whose text may carry a password is not shown in a message.
_UNSHOWN = {"model.base_url", "auth.oidc_issuer", "auth.oidc_jwks_url"}
_KEYS_OF: Mapping[str, type[BaseModel]] = {"gateway.prices": PriceSettings}
_SERVER_KEYS: Mapping[str, type[BaseModel]] = {
    "stdio": StdioServer,
    "sse": RemoteServer,
    "http": RemoteServer,
}


@dataclass(frozen=True, slots=True)
class Loaded:
    settings: Settings
    origins: Mapping[str, str]
    """Of every key: a variable's name, `FILE:LINE`, `default`, or `default in a container`."""
    warnings: tuple[str, ...]
    config_file: Path | None
    in_container: bool = False
    secret_files: Mapping[str, Path] = field(default_factory=dict)
    """The file that a secret came from, by its key."""


def load_settings(
    environ: Mapping[str, str],
    cwd: Path,
    config_file: Path | None = None,
    *,
    options: Iterable[Given] = (),
    in_container: bool = False,
) -> Loaded:
    """Read the environment and `config_file` (else the file that CLAUDE_AGENT_CONFIG names, else
    `cwd/config.yaml` where there is one). `options` of a command line beat both. `in_container` is what was
    detected; CLAUDE_AGENT_CONTAINER beats it.

    Raises SettingsError with every problem at once."""
    chosen = tuple(options)
    path = _config_path(environ, cwd, config_file)
    environment = read_environment(environ)
    file = read_file(path) if path else FileContent()
    problems = [*container_problems(environ), *environment.problems, *file.problems]
    problems += [problem for one in (*chosen, *environment.given, *file.given) for problem in _wrong(one)]
    if problems:
        raise SettingsError(problems)
    container = is_container(environ, detected=in_container)
    defaults = CONTAINER_DEFAULTS if container else ()
    settings = with_absolute_paths(_merge(chosen, environment.given, file.given, defaults), environ, cwd)
    origins = dict.fromkeys(fields(), "default")
    origins |= {one.key: one.source for one in (*defaults, *file.given, *environment.given, *chosen)}
    if container:
        settings = without_auto_demo(settings, origins)
    if problems := list(contradictions(settings, origins)):
        raise SettingsError(problems)
    return Loaded(
        settings,
        origins,
        (*environment.warnings, *hints(settings)),
        path,
        container,
        {one.key: cwd / one.file for one in environment.given if one.file is not None},
    )


class _GivenSource(PydanticBaseSettingsSource):
    """Values read before. A key that an earlier source gave is left out as a whole, not merged into."""

    def __init__(self, given: Iterable[Given]) -> None:
        super().__init__(Settings)
        self._given = tuple(given)

    def __call__(self) -> dict[str, Any]:
        return nested(one for one in self._given if not self._taken(one.key))

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return nested(self._given).get(field_name), field_name, False

    def _taken(self, key: str) -> bool:
        section, dot, inner = key.partition(".")
        given = self.current_state.get(section)
        return given is not None if not dot else inner in (given or {})


def _merge(*given: Iterable[Given]) -> Settings:
    """The first source that gives a key wins."""
    return Settings(_build_sources=(tuple(_GivenSource(one) for one in given), {}))


def _config_path(environ: Mapping[str, str], cwd: Path, config_file: Path | None) -> Path | None:
    named = environ.get(CONFIG_VARIABLE, "").strip()
    if config_file is None and not named:
        usual = cwd / "config.yaml"
        return usual if usual.exists() else None
    path = cwd / (config_file or named)
    if not path.exists():
        source = "" if config_file else CONFIG_VARIABLE
        raise SettingsError([Problem("the configuration file", source, f"{path} does not exist")])
    return path


def _wrong(given: Given) -> list[Problem]:
    """What is wrong with one value, whether or not another source overrides it."""
    try:
        Settings.model_validate(nested([given]))
    except ValidationError as error:
        return [_problem(given, detail) for detail in error.errors(include_url=False)]
    return []


def _problem(given: Given, detail: ErrorDetails) -> Problem:
    key, tag = _place(given.key, detail["loc"])
    if detail["type"] == "extra_forbidden":
        model = _KEYS_OF.get(given.key, PluginSettings) if tag is None else _SERVER_KEYS[tag]
        word = str(detail["loc"][-1])
        return Problem(key, given.source, f"unknown key{nearest(word, model.model_fields)}")
    hidden = is_secret(given.key) or is_structure(given.key) or given.key in _UNSHOWN
    message = describe(detail, show=None if hidden else detail["input"])
    if isinstance(given.value, str) and given.value.startswith("tcp://"):
        message += "; Kubernetes sets this for a Service of that name: use enableServiceLinks: false"
    return Problem(key, given.source, message)


def _place(key: str, location: tuple[int | str, ...]) -> tuple[str, str | None]:
    """The dotted place inside the key, without the tag that pydantic puts after a server's name."""
    parts = [str(part) for part in location if part != "[key]"]
    tag = None
    if key == "mcp_servers" and len(parts) > 2 and parts[2] in _SERVER_KEYS:
        tag = parts.pop(2)
    return ".".join(parts if len(parts) > len(key.split(".")) else key.split(".")), tag
