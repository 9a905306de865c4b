"""`demo-model`: the scripted Messages API on a port of its own."""

import socket

import uvicorn
from rich.text import Text

from claude_agent_http.commands.terminal import complain, stdout, this_program
from claude_agent_http.demo.app import create_demo_model

__all__ = ["run_demo_model"]

_END_SECONDS = 5


def run_demo_model(*, host: str, port: int) -> int:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        complain(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --host or --port"
        )
        return 1
    shown = f"[{host}]" if ":" in host else host
    stdout().print(
        Text(
            f"demo model on http://{shown}:{port} (scripted answers, any key is taken)\n"
            f"use it: ANTHROPIC_BASE_URL=http://{shown}:{port} ANTHROPIC_API_KEY=demo {this_program()} serve"
        )
    )
    config = uvicorn.Config(
        create_demo_model(), log_level="warning", timeout_graceful_shutdown=_END_SECONDS, server_header=False
    )
    with listener:
        uvicorn.Server(config).run([listener])
    return 0
