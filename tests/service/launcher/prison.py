"""A folder of its own and one of another's, and a process that tries things there: in a jail, or without."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.service.launcher.launched import Launched

from claude_agent_http.launcher.parameters import Jail
from claude_agent_http.runtime.isolation import filter_program, readable

# Evaluates each expression by itself, and says what it gave or the name of its errno.
_TRY = """
import ctypes, errno, fcntl, json, os, resource, socket, stat, subprocess, sys, threading
own, other, service = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(own)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
libc_mmap = libc.mmap
libc_mmap.restype = ctypes.c_size_t
libc_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *3 * [ctypes.c_int], ctypes.c_long]
def text(path):
    with open(path) as file:
        return file.read()
said = []
for expression in json.loads(sys.argv[4]):
    try:
        said.append(repr(eval(expression)))
    except OSError as error:
        said.append(errno.errorcode[error.errno])
print(json.dumps(said))
"""
PYTHON = getattr(sys, "_base_executable", sys.executable)


class Prison:
    """`own` and `other` hold a `file` each; `bystander` is a process of the same uid outside."""

    def __init__(self, folder: Path) -> None:
        self._launched = Launched(folder)
        self.own, self.other = folder / "own", folder / "other"
        for place in (self.own, self.other):
            place.mkdir(mode=0o700)
            (place / "file").write_text("secret")
        (self.own / "leads-out").symlink_to(self.other / "file")
        self.bystander = subprocess.Popen(["sleep", "600"], env={"KEY": "sk-secret"})

    def jail(self, **changes: Any) -> Jail:
        reads = (*readable((), Path(PYTHON)), str(self.own.parent / "cli"))
        given: dict[str, Any] = {
            "cwd": str(self.own),
            "reads": reads,
            "writes": ("/dev/null",),
            "ports": (),
            "program": filter_program(),
        }
        return Jail(**(given | changes))

    def tries(self, expressions: Iterable[str], jail: Jail | None) -> list[str]:
        """What each gave, or the name of its errno."""
        arguments = (str(self.own), str(self.other), str(self.bystander.pid), json.dumps(list(expressions)))
        script = f'#!/bin/sh\nexec {PYTHON} -I -S -c "$CODE" "$@"\n'
        self._launched.start(script, *arguments, env={"CODE": _TRY}, jail=jail)
        code, output, errors = self._launched.end()
        assert code == 0, errors
        said: list[str] = json.loads(output)
        return said

    def runs(self, script: str, **changes: Any) -> tuple[int, str, str]:
        """A shell script in the jail, in the folder of its own: its exit code, output and errors."""
        self.starts(script, **changes)
        return self.ends()

    def starts(self, script: str, **changes: Any) -> None:
        self._launched.start(f"#!/bin/bash\ncd {self.own}\n{script}", jail=self.jail(**changes))

    def ends(self) -> tuple[int, str, str]:
        return self._launched.end()

    def close(self) -> None:
        self._launched.clean()
        self.bystander.kill()
        self.bystander.wait()


def numbers() -> dict[str, int]:
    """Of system calls, on this machine."""
    from claude_agent_http.launcher.calls import NUMBERS

    return NUMBERS[os.uname().machine]
