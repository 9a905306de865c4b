"""Structured logs: JSON for machines, columns for a terminal; every library's records take the same way."""

import logging
import sys

import structlog

_QUIET = ("alembic", "asyncio", "httpcore", "httpx", "sse_starlette", "uvicorn", "claude_agent_sdk")
# Of an agent's output that makes no sense it quotes the beginning; that its turn failed we say ourselves.
_SILENT = "claude_agent_sdk._internal.query"


def configure(level: str, form: str) -> None:
    """`level` is a logging level's name in lower case; `form` is console, json, or auto (by the terminal)."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(as_json))
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_SILENT).setLevel(logging.CRITICAL)


def _rendering(as_json: bool) -> list[structlog.typing.Processor]:
    # The renderer's own tracebacks show local variables: messages and credentials among them.
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    tail: list[structlog.typing.Processor] = [renderer]
    if as_json:
        tail = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail]
