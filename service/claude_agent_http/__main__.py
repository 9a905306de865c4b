"""The `claude-agent-http` command; also `python -m claude_agent_http`."""

from claude_agent_http.commands.cli import app

__all__ = ["main"]


def main() -> None:
    app(prog_name="claude-agent-http")


if __name__ == "__main__":
    main()
