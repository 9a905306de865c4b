"""What a process in a jail cannot do to what is not its own, and still can to what is: launcher and kernel,
no CLI. Each attempt is made without a jail too, where it must succeed: else it would prove nothing."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.service.launcher.prison import PYTHON, Prison, numbers
from tests.waiting import wait_until

pytestmark = pytest.mark.tier("landlock")

_CALL = {name: str(number) for name, number in numbers().items()}
_PTRACE = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
_FILE = "(other + '/file')"
_CLI = "os.path.join(os.path.dirname(own), 'cli')"

# What is tried, and the error of the jail.
ATTEMPTS = {
    "read": (f"text({_FILE})", "EACCES"),
    "list": ("os.listdir(other)", "EACCES"),
    "list what is above": ("os.listdir(os.path.dirname(other))", "EACCES"),
    "read by a link": ("text('leads-out')", "EACCES"),
    "read by /proc/self/root": (f"text('/proc/self/root' + {_FILE})", "EACCES"),
    "write": (f"open({_FILE}, 'a').write('x')", "EACCES"),
    "empty": (f"os.truncate({_FILE}, 3)", "EACCES"),
    "make": ("open(other + '/new', 'w').close()", "EACCES"),
    "make a folder": ("os.mkdir(other + '/folder')", "EACCES"),
    "make a pipe": ("os.mkfifo(other + '/pipe')", "EACCES"),
    "make a link": ("os.symlink('/', other + '/link')", "EACCES"),
    "hard link": (f"os.link({_FILE}, 'hard')", "EXDEV"),
    "chmod": (f"os.chmod({_FILE}, 0o777)", "EACCES"),
    "chmod by a link": ("os.chmod('leads-out', 0o777)", "EACCES"),
    "chmod by a descriptor": (
        f"os.chmod('/proc/self/fd/%d' % os.open({_FILE}, os.O_PATH), 0o777)",
        "EACCES",
    ),
    "chmod relative": ("os.chmod('../other/file', 0o777)", "EACCES"),
    "chmod below a folder": (
        "os.chmod('file', 0o777, dir_fd=os.open(other, os.O_PATH))",
        "EACCES",
    ),
    "chmod of a device": ("os.chmod('/dev/null', 0o666)", "EACCES"),
    "chown": (f"os.chown({_FILE}, os.getuid(), os.getgid())", "EACCES"),
    "lchown": (f"os.lchown({_FILE}, os.getuid(), os.getgid())", "EACCES"),
    "times": (f"os.utime({_FILE}, (1, 1))", "EACCES"),
    "times of now": (f"os.utime({_FILE})", "EACCES"),
    "set an attribute": (f"os.setxattr({_FILE}, 'user.a', b'1')", "ENOTSUP"),
    "read an attribute": (f"os.getxattr({_FILE}, 'user.a')", "ENOTSUP"),
    "list attributes": (f"os.listxattr({_FILE})", "ENOTSUP"),
    "chmod of a file that it may read": ("os.fchmod(os.open(CLI, os.O_RDONLY), 0o755)", "EACCES"),
    "chown of a file that it may read": ("os.fchown(os.open(CLI, os.O_RDONLY), -1, os.getgid())", "EACCES"),
    "times of a file that it may read": ("os.utime(os.open(CLI, os.O_RDONLY))", "EACCES"),
    "set an attribute of a file that it may read": (
        "os.setxattr(os.open(CLI, os.O_RDONLY), 'user.a', b'1')",
        "ENOTSUP",
    ),
    "set flags of a file that it may read": (
        "[f := os.open(CLI, os.O_RDONLY), b := bytearray(8), fcntl.ioctl(f, 0x80086601, b), "
        "fcntl.ioctl(f, 0x40086602, bytes([b[0] | 0x40]) + b[1:])]",
        "ENOTTY",
    ),
    "set them in the other way": (
        "[f := os.open(CLI, os.O_RDONLY), b := bytearray(28), fcntl.ioctl(f, 0x801C581F, b), "
        "fcntl.ioctl(f, 0x401C5820, bytes(b))]",
        "ENOTTY",
    ),
    "make others wait for a file that it may read": (
        "fcntl.fcntl(os.open(CLI, os.O_RDONLY), 1024, fcntl.F_RDLCK)",
        "EACCES",
    ),
    "watch": (f"call({_CALL['inotify_add_watch']}, libc.inotify_init(), {_FILE}.encode(), 2)", "EACCES"),
    "signal": ("os.kill(service, 0)", "EPERM"),
    "signal the launcher": ("os.kill(os.getppid(), 0)", "EPERM"),
    "environment": ("text(f'/proc/{service}/environ')", "EACCES"),
    "memory": ("text(f'/proc/{service}/maps')", "EACCES"),
    "open files": ("os.readlink(f'/proc/{service}/fd/0')", "EACCES"),
    "working folder": ("os.readlink(f'/proc/{service}/cwd')", "EACCES"),
    "trace": (f"call({_PTRACE}, 16, service, 0, 0)", "EPERM"),
    "limits": ("resource.prlimit(service, resource.RLIMIT_NOFILE, (64, 64))", "EPERM"),
    "priority": ("os.setpriority(os.PRIO_PROCESS, service, 19)", "EPERM"),
    "priority of all of the user's": ("os.setpriority(os.PRIO_USER, 0, os.getpriority(0, 0))", "EPERM"),
    "scheduler": ("os.sched_setaffinity(service, os.sched_getaffinity(0))", "EPERM"),
    "badness": ("open(f'/proc/{service}/oom_score_adj', 'w').write('1000')", "EACCES"),
    "connect to a UNIX socket": ("socket.socket(socket.AF_UNIX).connect(other + '/socket')", "EAFNOSUPPORT"),
    "connect to an abstract socket": (
        "socket.socket(socket.AF_UNIX).connect('\\0' + other[-40:])",
        "EAFNOSUPPORT",
    ),
    "a pair to connect anew": ("socket.socketpair(type=socket.SOCK_DGRAM)", "EACCES"),
    "connect to a port": ("socket.create_connection(('127.0.0.1', PORT), 5)", "EACCES"),
    "connect with the first data": (
        "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', PORT))",
        "ENOTSUP",
    ),
    "connect by several paths": ("socket.socket(proto=262).connect(('127.0.0.1', PORT))", "EPROTONOSUPPORT"),
    "listen": ("socket.create_server(('127.0.0.1', 0))", "EACCES"),
    "listen without a port": ("socket.socket().listen()", "EACCES"),
    "packets": ("socket.socket(17, socket.SOCK_RAW)", "EAFNOSUPPORT"),
    "virtual sockets": ("socket.socket(40, socket.SOCK_STREAM)", "EAFNOSUPPORT"),
    "key rings": (f"call({_CALL['keyctl']}, 0, -4, 1)", "EPERM"),
    "shared memory": (f"call({_CALL['shmget']}, 0, 4096, 0o600)", "EPERM"),
    "message queues": (f"call({_CALL['msgget']}, 0, 0o600)", "EPERM"),
    "memory in a file": ("os.memfd_create('x')", "ENOSYS"),
    "a namespace": (f"call({_CALL['unshare']}, 0x10000000)", "EPERM"),
    "places for asynchronous input and output": (
        f"call({_CALL['io_setup']}, 8, ctypes.byref(ctypes.c_ulong(0)))",
        "EPERM",
    ),
    "an io_uring": (f"call({_CALL['io_uring_setup']}, 1, bytes(120))", "ENOSYS"),
}
# What programs need, on what is their own.
ALLOWED = {
    "read": "text('file')",
    "mode": "[os.chmod('file', 0o640), stat.S_IMODE(os.stat('file').st_mode)][1] == 0o640",
    "mode of an open file": "os.fchmod(os.open('file', os.O_RDWR), 0o600)",
    "mode by a descriptor": "os.chmod('/proc/self/fd/%d' % os.open('file', os.O_RDWR), 0o600)",
    "mode by /dev/fd": "os.chmod('/dev/fd/%d' % os.open('file', os.O_RDWR), 0o600)",
    "mode by an absolute path": "os.chmod(own + '/file', 0o600)",
    "mode below a folder": "os.chmod('file', 0o600, dir_fd=os.open('.', os.O_RDONLY))",
    "owner": "os.chown('file', os.getuid(), -1)",
    "owner of a link": "os.lchown('leads-out', -1, os.getgid())",
    "times": "[os.utime('file', ns=(1, 2)), os.stat('file').st_mtime_ns][1] == 2",
    "times of now": "os.utime('file')",
    "times of a link": "os.utime('leads-out', (1, 1), follow_symlinks=False)",
    "times of an open file": "os.utime(os.open('file', os.O_RDWR))",
    "move": "[os.mkdir('a'), os.rename('file', 'a/file'), os.rename('a/file', 'file')]",
    "hard link": "os.link('file', 'link')",
    "pair of sockets": "socket.socketpair()",
    "datagrams": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(('127.0.0.1', 0))",
    "names of hosts": "socket.getaddrinfo('localhost', 80) != []",
    "threads": "[one := threading.Thread(target=int), one.start(), one.join()]",
    "programs": "subprocess.run(['/bin/true'], check=True)",
    "signals to its own": "os.kill(subprocess.Popen(['sleep', '600']).pid, 9)",
    "its own priority": "os.nice(1)",
    "the empty device": "open('/dev/null', 'w').write('x')",
    "its own environment": "text('/proc/self/environ') != ''",
}


# Each of what is not in the jail: there, and not.
UNSEEN = {
    "another process's descriptor": ("/proc/{pid}/fd/0", "/proc/{pid}/fd/999"),
    "below another process's descriptor": ("/proc/{pid}/fd/0/x", "/proc/{pid}/fd/999/x"),
    "by a link": ("to-fd/0", "to-fd/999"),
    "by a link to it": ("to-one", "to-none"),
    "below a link to it": ("to-one/x", "to-none/x"),
    "a long name": ("to-one/" + 300 * "x", "to-none/" + 300 * "x"),
    "by the way out": ("../other/file", "../other/none"),
    "through a file": ("../other/file/x", "../other/none/x"),
}

# An address at whose end memory ends.
_MAPPED = "(lambda pages: (libc.munmap(ctypes.c_void_p(pages + 4096), 4096), pages + 4096)[1])(MMAP)".replace(
    "MMAP", "libc_mmap(None, 8192, 3, 34, -1, 0)"
)

# Says how many could be started.
_MANY = """
import os, subprocess, threading
started = 0
try:
    for _ in range(100):
        START
        started += 1
except (OSError, RuntimeError):
    pass
os.write(1, str(started).encode())
os._exit(0)
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that only listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def outcomes(port: int) -> dict[str, tuple[str, str]]:
    """Of each attempt: in a jail, and without. Made in this order, for some leave their mark."""
    given = {"PORT": str(port), "CLI": _CLI}
    expressions = [_filled(expression, given) for expression, _ in ATTEMPTS.values()]
    said = []
    for jailed in (True, False):
        with (
            tempfile.TemporaryDirectory(prefix="jail-") as folder,
            closing(Prison(Path(folder))) as prison,
            socket.socket(socket.AF_UNIX) as server,
            socket.socket(socket.AF_UNIX) as abstract,
        ):
            server.bind(str(prison.other / "socket"))
            server.listen()
            abstract.bind("\0" + str(prison.other)[-40:])
            abstract.listen()
            os.setxattr(prison.other / "file", "user.a", b"1")
            said.append(prison.tries(expressions, prison.jail() if jailed else None))
    return dict(zip(ATTEMPTS, zip(*said, strict=True), strict=True))


def _filled(expression: str, given: dict[str, str]) -> str:
    for name, text in given.items():
        expression = expression.replace(name, text)
    return expression


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_it_can_not(outcomes: dict[str, tuple[str, str]], attempt: str) -> None:
    jailed, free = outcomes[attempt]
    assert jailed == ATTEMPTS[attempt][1]
    assert free != jailed
    assert not free.startswith("E"), f"without a jail it should work, but gives {free}"


def test_it_can_use_what_is_its_own(prison: Prison) -> None:
    said = prison.tries(ALLOWED.values(), prison.jail())
    wrong = {
        name: one for name, one in zip(ALLOWED, said, strict=True) if one.startswith("E") or one == "False"
    }
    assert wrong == {}


@pytest.mark.parametrize("path", UNSEEN)
def test_what_it_cannot_see_is_not_told_apart_from_what_is_not_there(prison: Prison, path: str) -> None:
    pid = prison.bystander.pid
    for name, place in {"to-fd": "fd", "to-one": "fd/0", "to-none": "fd/999"}.items():
        (prison.own / name).symlink_to(f"/proc/{pid}/{place}")
    there, not_there = (one.format(pid=pid) for one in UNSEEN[path])
    # Nothing would be changed if it could be.
    changes = ("os.chown('{}', -1, -1)", "os.lchown('{}/', -1, -1)")
    tried = [change.format(one) for one in (there, not_there) for change in changes]
    assert prison.tries(tried, prison.jail()) == 4 * ["EACCES"]


def test_what_is_not_there_among_its_own_is_told_so(prison: Prison) -> None:
    paths = ("none", "none/none", f"{prison.own}/none", "./none/", "file/x", "f" * 300)
    said = prison.tries([f"os.chmod({path!r}, 0o600)" for path in paths], prison.jail())
    assert said == [*4 * ["ENOENT"], "ENOTDIR", "ENAMETOOLONG"]


def test_it_can_connect_to_a_port_that_it_is_given(prison: Prison, port: int) -> None:
    attempt = f"socket.create_connection(('127.0.0.1', {port}), 5) is not None"
    assert prison.tries([attempt], prison.jail(ports=(port,))) == ["True"]


def test_a_path_that_is_changed_between_look_and_use_leads_nowhere(prison: Prison) -> None:
    """Many changes of mode of a path that is now a file of its own and now a link to another's."""
    race = (
        "[threading.Thread(target=lambda: [(os.rename('x', 'y'), os.rename('leads-out', 'x'), "
        "os.rename('x', 'leads-out'), os.rename('y', 'x')) for _ in range(2000)]).start(), "
        "[None for _ in range(2000) if not libc.chmod(b'x', 0o777)]] and None"
    )
    (prison.own / "x").write_text("")
    (prison.other / "file").chmod(0o600)
    prison.tries([race], prison.jail())
    assert (prison.other / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "start", ["subprocess.Popen(['sleep', '600'])", "threading.Thread(target=threading.Event().wait).start()"]
)
def test_it_can_not_start_more_processes_and_threads_than_it_may_have(prison: Prison, start: str) -> None:
    (prison.own / "many.py").write_text(_MANY.replace("START", start))
    enough = int(prison.runs(f"{PYTHON} many.py", tasks=400)[1])
    few = int(prison.runs(f"{PYTHON} many.py", tasks=50)[1])
    assert enough == 100
    assert 40 < few < 50


def test_a_file_that_is_too_large_is_cut(prison: Prison) -> None:
    script = "yes | head -c 3000000 > large; stat -c %s large"
    assert prison.runs(script, file_bytes=1_000_000)[1] == "1000000\n"


def test_a_jail_that_cannot_be_had_starts_nothing(prison: Prison) -> None:
    code, output, errors = prison.runs("echo here", writes=("/" + 300 * "x",))
    assert (code, output) == (126, "")
    assert errors.startswith("cannot jail the agent process: ")


def test_it_has_no_privileges_and_can_get_none(prison: Prison) -> None:
    status = prison.runs("cat /proc/self/status")[1]
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {16 * "0"}
    # Only who has a capability to can take any from what might be had.
    assert os.geteuid() or facts["CapBnd"] == 16 * "0"
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


def test_its_launcher_has_no_privileges_either(prison: Prison, folder: Path) -> None:
    """It changes files for the agent."""
    prison.starts("touch started; exec sleep 600")
    wait_until((prison.own / "started").exists)
    status = Path(f"/proc/{(folder / 'launcher.pid').read_text()}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {16 * "0"}


def test_it_leaves_no_dump_of_its_memory(prison: Prison) -> None:
    assert prison.runs("ulimit -Hc; ulimit -Hn")[1] == "0\n1024\n"


# Sends descriptors to itself that nobody takes, until the kernel lets it have no more.
_HOARD = """
import os, socket, threading
pairs = [socket.socketpair() for _ in range(60)]
try:
    for pair in pairs:
        for _ in range(100):
            socket.send_fds(pair[0], [b'x'], [0] * 200, socket.MSG_DONTWAIT)
except OSError as error:
    os.write(1, os.strerror(error.errno).encode())
open('hoarded', 'w').close()
threading.Event().wait()  # until it is killed
"""


def test_descriptors_that_an_agent_keeps_under_way_stop_no_other_start(prison: Prison, folder: Path) -> None:
    (prison.own / "hoard.py").write_text(_HOARD)
    prison.starts(f"exec {PYTHON} hoard.py")
    wait_until((prison.own / "hoarded").exists)
    (folder / "second").mkdir()
    with closing(Prison(folder / "second")) as another:
        assert another.tries(["1"], another.jail()) == ["1"]


@pytest.mark.parametrize(
    "attempt",
    [
        "os.chown('file', 0xFFFFFFFE, -1)",
        "call(NUMBER, -100, b'file', mapped(4096) - 8, 0)",
        "libc.prctl(15, b'\\rRssAnon: x', 0, 0, 0)",
    ],
    ids=["an owner out of range", "times at the end of memory", "a name like a line of its status"],
)
def test_nothing_that_it_says_ends_its_launcher(prison: Prison, attempt: str) -> None:
    number = attempt.replace("NUMBER", _CALL["utimensat"]).replace("mapped(4096)", _MAPPED)
    wait = "subprocess.run(['sleep', '1.5']).returncode"  # The launcher looks at the memory meanwhile.
    said = prison.tries([number, wait, "os.chmod('file', 0o600)"], prison.jail(memory_bytes=2**30))
    assert said[1:] == ["0", "None"]
