"""Who we are to the kernel and to the model's API."""

import os

from claude_agent_http.commands.doctor.finding import Finding, ok, warn
from claude_agent_http.model_access import why_default_model_fails
from claude_agent_http.settings import Loaded, covered_url

__all__ = ["check_model", "check_uid"]


def check_uid(loaded: Loaded) -> Finding:
    uid = os.geteuid()
    if uid != 0:
        return ok("uid", f"runs as uid {uid}")
    advice = "run as another user" + (" (the image uses uid 1000)" if loaded.in_container else "")
    if loaded.settings.isolation.mode == "off":
        found = "runs as root with isolation.mode off: an agent can change everything on this machine"
        return warn("uid", found, f"{advice}, or set isolation.mode")
    return warn("uid", "runs as root", advice)


def check_model(loaded: Loaded) -> Finding:
    settings, origins = loaded.settings, loaded.origins
    if settings.uses_demo_model:
        advice = "for a real model set ANTHROPIC_API_KEY (https://console.anthropic.com) and start again"
        return warn("model key", "no key is set: the scripted demo model answers", advice)
    if not settings.has_model_access:
        advice = (
            "set ANTHROPIC_API_KEY, or ANTHROPIC_AUTH_TOKEN and ANTHROPIC_BASE_URL, or "
            "CLAUDE_AGENT_MODEL_DEMO=on for scripted answers"
        )
        return warn("model key", "no key is set and the demo model is off: every turn will fail", advice)
    keys = ("api_key", "auth_token", "base_url", "binding_dir")
    given = [f"{key} from {origins[f'model.{key}']}" for key in keys if getattr(settings.model, key)]
    if (reason := why_default_model_fails(settings)) is not None:
        found = f"every turn will be refused its model (defaults.model from {origins['defaults.model']})"
        return warn("model", found, reason)
    base = settings.model.base_url
    return ok("model key", ", ".join(given) + (f" ({covered_url(base)})" if base else ""))
