"""The parent process of one CLI: a program of its own, of which the service knows how to start it.

Standard library only, and of that little: what it imports before the CLI runs, each start of a session waits
for.
"""

import os

__all__ = ["command"]


def command(python: str) -> list[str]:
    """Run it with no site-packages and nothing of the environment, but with its modules already compiled."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    run = "from claude_agent_http.launcher.program import main; sys.exit(main(sys.argv[1:]))"
    return [python, "-I", "-S", "-c", f"import sys; sys.path.append({root!r}); {run}"]
