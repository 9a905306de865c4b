"""What a launcher is told, and the format of the file that tells it.

Plain, because a JSON parser would cost each start milliseconds: texts `name=value`, each ended by NUL.
"""

__all__ = ["SET_BY_THE_SDK", "Jail", "Launch", "dump", "parse"]

SET_BY_THE_SDK = (
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE",
    "PWD",
)
"""What a CLI gets of the launcher's own environment; nothing else of it."""


class Jail:
    """What a session's processes may do. Paths are absolute, and have no link in them: one that has by then
    stops the start.

    `cwd`: the folder to begin in, which they may change. `reads`: files and folders to read and run below;
    one that is missing is passed over. `writes`: the same, to change. `ports`: TCP ports to connect to, of
    any host. `tasks`: most processes and threads at once. `memory_bytes`: most resident memory of all
    together; 0 is no limit. `file_bytes`: size of the largest file. `files`: most open files of one process.
    `watches`: most watches of epoll of all together.
    `program`: the filter of system calls, as the kernel reads it (`filter.py`); empty leaves seccomp out, for
    a kernel without it.
    """

    __slots__ = (
        *("cwd", "file_bytes", "files", "memory_bytes", "ports"),
        *("program", "reads", "tasks", "watches", "writes"),
    )

    def __init__(
        self,
        *,
        cwd: str,
        reads: tuple[str, ...],
        writes: tuple[str, ...],
        ports: tuple[int, ...],
        program: bytes,
        tasks: int = 512,
        memory_bytes: int = 0,
        file_bytes: int = 1024**3,
        files: int = 1024,
        watches: int = 16384,
    ) -> None:
        self.cwd = cwd
        self.reads = reads
        self.writes = writes
        self.ports = ports
        self.program = program
        self.tasks = tasks
        self.memory_bytes = memory_bytes
        self.file_bytes = file_bytes
        self.files = files
        self.watches = watches


class Launch:
    """`cli`, `heartbeat` and `pid_file` are paths, `service` is the service's pid, `jail` None for no
    jail."""

    __slots__ = ("cli", "environment", "heartbeat", "jail", "pid_file", "service")

    def __init__(
        self,
        *,
        cli: str,
        heartbeat: str,
        service: int,
        pid_file: str,
        environment: dict[str, str],
        jail: Jail | None = None,
    ) -> None:
        self.cli = cli
        self.heartbeat = heartbeat
        self.service = service
        self.pid_file = pid_file
        self.environment = environment
        self.jail = jail


def dump(launch: Launch) -> str:
    """Raises ValueError for a text with a NUL in it."""
    texts = [
        f"cli={launch.cli}",
        f"heartbeat={launch.heartbeat}",
        f"service={launch.service}",
        f"pid_file={launch.pid_file}",
        *(f"env={name}={value}" for name, value in launch.environment.items()),
        *(_dump_jail(launch.jail) if launch.jail else ()),
    ]
    if any("\0" in text for text in texts):
        raise ValueError("nothing that a launcher is told may hold a NUL")
    return "".join(f"{text}\0" for text in texts)


def parse(text: str) -> Launch:
    """Raises KeyError and ValueError for what `dump` did not write."""
    given: dict[str, list[str]] = {}
    for one in text.split("\0")[:-1]:
        name, _, value = one.partition("=")
        given.setdefault(name, []).append(value)
    pairs = (pair.partition("=") for pair in given.get("env", ()))
    return Launch(
        cli=given["cli"][0],
        heartbeat=given["heartbeat"][0],
        service=int(given["service"][0]),
        pid_file=given["pid_file"][0],
        environment={name: value for name, _, value in pairs},
        jail=_parse_jail(given) if "tasks" in given else None,
    )


def _dump_jail(jail: Jail) -> list[str]:
    return [
        f"cwd={jail.cwd}",
        *(f"read={path}" for path in jail.reads),
        *(f"write={path}" for path in jail.writes),
        *(f"port={port}" for port in jail.ports),
        f"tasks={jail.tasks}",
        f"memory_bytes={jail.memory_bytes}",
        f"file_bytes={jail.file_bytes}",
        f"files={jail.files}",
        f"watches={jail.watches}",
        f"program={jail.program.hex()}",
    ]


def _parse_jail(given: dict[str, list[str]]) -> Jail:
    return Jail(
        cwd=given["cwd"][0],
        reads=tuple(given.get("read", ())),
        writes=tuple(given.get("write", ())),
        ports=tuple(map(int, given.get("port", ()))),
        tasks=int(given["tasks"][0]),
        memory_bytes=int(given["memory_bytes"][0]),
        file_bytes=int(given["file_bytes"][0]),
        files=int(given["files"][0]),
        watches=int(given["watches"][0]),
        program=bytes.fromhex(given["program"][0]),
    )
