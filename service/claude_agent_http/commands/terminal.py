"""How commands speak: to people on stdout, complaints on stderr, and the configuration they start from."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from claude_agent_http.settings import Given, Loaded, SettingsError, load_settings
from claude_agent_http.system.container import in_container

__all__ = [
    "EXIT_CONFIGURATION",
    "complain",
    "load",
    "note",
    "print_table",
    "stdout",
    "this_program",
    "warn",
    "write_json",
]

EXIT_CONFIGURATION = 2
_ANY_WIDTH = 10_000


def stdout() -> Console:
    # Without a terminal there is no width to fold at.
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def write_json(value: Any) -> None:
    stdout().file.write(json.dumps(value, indent=2) + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Text]], *, whole: str = "", spare: str = ""
) -> None:
    """A table for people; without a terminal tabs, one row a line. No text is cut, only folded, and that of
    column `whole` not even that, for it is to be copied. Where it gets narrow, column `spare` is left out."""
    console, all_rows = stdout(), list(rows)
    if not console.is_terminal:
        # Written past rich, which would turn tabs into spaces.
        plain = [tuple(columns), *(tuple(cell.plain for cell in row) for row in all_rows)]
        console.file.writelines("\t".join(row) + "\n" for row in plain)
        return
    table = _table(columns, all_rows, whole)
    wanted = Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).maximum
    if spare and wanted > console.width:
        left = [index for index, name in enumerate(columns) if name != spare]
        kept = [[row[index] for index in left] for row in all_rows]
        table = _table([columns[index] for index in left], kept, whole)
    console.print(table)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Text]], whole: str) -> Table:
    table = Table()
    for index, name in enumerate(columns):
        longest = max((row[index].cell_len for row in rows), default=0) if name == whole else None
        table.add_column(name, overflow="fold", min_width=longest)
    for row in rows:
        table.add_row(*row)
    return table


def complain(message: str) -> None:
    _stderr().print(Text.assemble(("error: ", "bold red"), message))


def note(message: str) -> None:
    _stderr().print(Text(message, "dim"))


def warn(message: str) -> None:
    _stderr().print(Text.assemble(("warning: ", "bold yellow"), message))


def load(config_file: Path | None, options: Iterable[Given] = ()) -> Loaded | None:
    """The configuration of this process; None after every problem was printed."""
    try:
        return load_settings(
            os.environ, Path.cwd(), config_file, options=options, in_container=in_container(os.environ)
        )
    except SettingsError as error:
        complain(str(error))
        return None


def this_program() -> str:
    """What to type here, now, to run this program again."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{_typed(Path(sys.executable))} -m {called.absolute().parent.name}"
    return _typed(called)


def _typed(program: Path) -> str:
    """Its name where PATH leads to it, else its path, the short one where it lies below this folder."""
    path, here = program.absolute(), Path.cwd()
    found = shutil.which(path.name)
    if found is not None and Path(found).absolute() == path:
        return path.name
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return shlex.quote(str(shown) if len(shown.parts) > 1 else f"./{shown}")


def _stderr() -> Console:
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)
