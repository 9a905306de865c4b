"""How commands speak: to people on stdout, complaints on stderr, and the configuration they start from."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from claude_agent_http.settings import Given, Loaded, SettingsError, load_settings

__all__ = ["EXIT_CONFIGURATION", "complain", "load", "stdout", "warn"]

EXIT_CONFIGURATION = 2


def stdout() -> Console:
    # Without a terminal there is no width to fold at.
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def complain(message: str) -> None:
    _stderr().print(Text.assemble(("error: ", "bold red"), message))


def warn(message: str) -> None:
    _stderr().print(Text.assemble(("warning: ", "bold yellow"), message))


def load(config_file: Path | None, options: Iterable[Given] = ()) -> Loaded | None:
    """The configuration of this process; None after every problem was printed."""
    try:
        return load_settings(os.environ, Path.cwd(), config_file, options=options)
    except SettingsError as error:
        complain(str(error))
        return None


def _stderr() -> Console:
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)
