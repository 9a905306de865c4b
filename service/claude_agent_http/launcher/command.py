"""How a launcher is started. For the service: no launcher loads this."""

import os
import shlex

__all__ = ["command", "script"]

_OPTIONS = "-ISXutf8"
"""No site-packages, nothing of the environment, one encoding; one word, for a script's first line has room
for no second."""
_MOST_FIRST_LINE = 127  # Bytes, that every kernel takes.


def command(python: str) -> list[str]:
    return [python, _OPTIONS, "-c", _code()]


def script(python: str) -> str:
    """The same as a file that can be run, straight by Python where the kernel can read its path: a shell in
    between would cost each start milliseconds."""
    first = f"#!{python} {_OPTIONS}"
    if len(os.fsencode(first)) > _MOST_FIRST_LINE or any(map(str.isspace, python)):
        return f'#!/bin/sh\nexec {shlex.join(command(python))} "$@"\n'
    return f"{first}\n{_code()}\n"


def _code() -> str:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    run = "from claude_agent_http.launcher.program import main; sys.exit(main(sys.argv[1:]))"
    return f"import sys; sys.path.append({root!r}); {run}"
