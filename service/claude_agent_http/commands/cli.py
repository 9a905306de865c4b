"""The command line: options and help; the first sentence of each help stands in the list of commands.

Each command imports its module when it runs, so that help is quick."""

# ruff: noqa: PLC0415

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from claude_agent_http import __version__
from claude_agent_http.commands.chat import DEFAULT_URL, LONGEST_TURN
from claude_agent_http.domain.api_key import API_KEY_VARIABLE
from claude_agent_http.domain.audit import AuditFilter, AuditResult

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="The Claude Agent SDK as an HTTP service.",
)

_Config = Annotated[
    Path | None,
    typer.Option("--config", help="configuration file; else CLAUDE_AGENT_CONFIG, else ./config.yaml"),
]
_Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and leave")] = False,
) -> None:
    if version:
        typer.echo(f"claude-agent-http {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on, over api.host")] = None,
    port: Annotated[str | None, typer.Option(help="port, over api.port; 0 = any free one")] = None,
    config: _Config = None,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    from claude_agent_http.commands.serve import run_serve

    raise typer.Exit(run_serve(host=host, port=port, config_file=config))


@app.command()
def chat(
    url: Annotated[str, typer.Option(help="where the service is")] = DEFAULT_URL,
    user: Annotated[
        str | None, typer.Option(help="user of a new session; else the API key's own, or without one 'me'")
    ] = None,
    session: Annotated[str | None, typer.Option(help="go on with this session")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=API_KEY_VARIABLE,
            show_envvar=True,
            help="key or token that the service asks for; the variable hides it from other users' `ps`",
        ),
    ] = None,
    once: Annotated[str | None, typer.Option(help="send this one message and leave")] = None,
    timeout: Annotated[
        float, typer.Option(help="seconds that one answer may take", min=1, max=LONGEST_TURN)
    ] = LONGEST_TURN,
) -> None:
    """Talk to the agent of a running service. In this terminal, or through a pipe."""
    from claude_agent_http.commands.chat.command import run_chat

    raise typer.Exit(
        run_chat(url=url, user=user, session=session, once=once, seconds=timeout, api_key=api_key or None)
    )


@app.command()
def config(json: _Json = False, config: _Config = None) -> None:
    """Show every setting, its value and where it came from. Secrets stay covered."""
    from claude_agent_http.commands.config import run_config

    raise typer.Exit(run_config(as_json=json, config_file=config))


@app.command()
def doctor(json: _Json = False, config: _Config = None) -> None:
    """Check this machine and configuration. Says what to do about each fault."""
    from claude_agent_http.commands.doctor.command import run_doctor

    raise typer.Exit(run_doctor(as_json=json, config_file=config))


keys = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(keys, name="keys", help="Create, list and revoke API keys. In the configured database.")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="what people know it by")],
    user: Annotated[str | None, typer.Option(help="the one user that it acts for")] = None,
    act_as: Annotated[
        bool, typer.Option("--act-as", help="it acts for any user, as a back end does")
    ] = False,
    admin: Annotated[bool, typer.Option("--admin", help="it may use the routes for admins")] = False,
    days: Annotated[
        int | None, typer.Option(help="days until it expires; else never", min=1, max=36_500)
    ] = None,
    json: _Json = False,
    config: _Config = None,
) -> None:
    """Create a key and show it, this once. A running service takes it at once."""
    from claude_agent_http.commands.keys import run_create

    raise typer.Exit(
        run_create(
            name=name, user=user, act_as=act_as, admin=admin, days=days, as_json=json, config_file=config
        )
    )


@keys.command("list")
def list_keys(json: _Json = False, config: _Config = None) -> None:
    """List all keys, newest first. Also those that are revoked or have expired."""
    from claude_agent_http.commands.keys import run_list

    raise typer.Exit(run_list(as_json=json, config_file=config))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="its id, as `keys list` shows it")], config: _Config = None
) -> None:
    """Revoke a key. A running service takes it for 3 s more at the most."""
    from claude_agent_http.commands.keys import run_revoke

    raise typer.Exit(run_revoke(key_id=key_id, config_file=config))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter("should be a time with its zone, such as 2026-01-31T09:30:00Z")
    return moment.astimezone(UTC)


@app.command()
def audit(
    user: Annotated[str | None, typer.Option(help="about what is theirs")] = None,
    session: Annotated[str | None, typer.Option(help="about this session")] = None,
    credential: Annotated[
        str | None, typer.Option(help="of this caller, as entries name it, such as key:ID")
    ] = None,
    result: Annotated[AuditResult | None, typer.Option(help="denied: 401, 403 or 404")] = None,
    since: Annotated[datetime | None, typer.Option(parser=_moment, metavar="TIME", help="not before")] = None,
    until: Annotated[datetime | None, typer.Option(parser=_moment, metavar="TIME", help="before")] = None,
    limit: Annotated[int, typer.Option(help="entries at the most", min=1, max=100_000)] = 100,
    json: _Json = False,
    config: _Config = None,
) -> None:
    """Show who did what, newest first. From the configured database."""
    from claude_agent_http.commands.audit import run_audit

    wanted = AuditFilter(user, session, credential, result, since, until)
    raise typer.Exit(run_audit(wanted=wanted, limit=limit, as_json=json, config_file=config))


@app.command()
def migrate(config: _Config = None) -> None:
    """Bring the database to this version's schema. `serve` does so too, at its start."""
    from claude_agent_http.commands.migrate import run_migrate

    raise typer.Exit(run_migrate(config_file=config))


@app.command("demo-model")
def demo_model(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port", min=1, max=65535)] = 8080,
) -> None:
    """Serve the scripted demo model alone. It is a Messages API that needs no key."""
    from claude_agent_http.commands.demo_model import run_demo_model

    raise typer.Exit(run_demo_model(host=host, port=port))
