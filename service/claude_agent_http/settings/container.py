"""What is different by default in a container: others reach the service and its metrics from outside, and no
demo answers."""

from collections.abc import Iterator, Mapping

from claude_agent_http.settings.given import Given
from claude_agent_http.settings.model import Settings
from claude_agent_http.settings.names import CONTAINER_VARIABLE
from claude_agent_http.settings.problems import Problem

__all__ = ["CONTAINER_DEFAULTS", "container_problems", "is_container", "without_auto_demo"]

_SOURCE = "default in a container"
# A container's own loopback is reached by nobody else, and its ports are its own: none is taken already.
CONTAINER_DEFAULTS = (
    Given("api.host", "0.0.0.0", _SOURCE),  # noqa: S104
    Given("isolation.mode", "required", _SOURCE),
    Given("metrics.enabled", True, _SOURCE),
    Given("metrics.host", "0.0.0.0", _SOURCE),  # noqa: S104
)
_WORDS = {"": None, "auto": None, "yes": True, "no": False}


def is_container(environ: Mapping[str, str], *, detected: bool) -> bool:
    """What CLAUDE_AGENT_CONTAINER says, else what was detected."""
    said = _WORDS.get(_word(environ))
    return detected if said is None else said


def container_problems(environ: Mapping[str, str]) -> Iterator[Problem]:
    if (word := _word(environ)) not in _WORDS:
        yield Problem("", CONTAINER_VARIABLE, f"should be 'yes', 'no' or 'auto', but is {word!r}")


def without_auto_demo(settings: Settings, origins: dict[str, str]) -> Settings:
    """`auto` is `off` here. The origin of `model.demo` says so too."""
    if settings.model.demo != "auto":
        return settings
    origin = origins["model.demo"]
    origins["model.demo"] = _SOURCE if origin == "default" else f"auto in a container ({origin})"
    return settings.model_copy(update={"model": settings.model.model_copy(update={"demo": "off"})})


def _word(environ: Mapping[str, str]) -> str:
    return environ.get(CONTAINER_VARIABLE, "").strip().lower()
