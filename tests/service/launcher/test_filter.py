"""What the filter says to a call, on each machine: by a reading of it as the kernel reads it."""

import errno
import struct

import pytest
from tests.service.launcher.prison import Prison

from claude_agent_http.launcher import filter as filters
from claude_agent_http.launcher.calls import AUDIT_ARCH, LAST_REVIEWED, NUMBERS

ALLOW, ASK = 0x7FFF0000, 0x7FC00000
MACHINES = pytest.mark.parametrize("machine", NUMBERS)
_GETPID = {"x86_64": 39, "aarch64": 172}
_MSEAL = 462
_SIGCHLD, _CLONE_FILES = 17, 0x400
_CLONE_THREAD, _CLONE_NEWUSER, _AF_UNIX, _AF_INET, _STREAM = 0x10000, 0x10000000, 1, 2, 1
_SHARED, _PRIVATE, _SHARED_VALIDATE, _ANONYMOUS = 1, 2, 3, 0x20
_I386, _ARM = 0x40000003, 0x40000028


def error(number: int) -> int:
    return 0x00050000 | number


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """The action and its data. Source: Linux's Documentation/networking/filter.rst."""
    given = (*arguments, *[0] * (6 - len(arguments)))
    shown = struct.pack("=IIQ6Q", number, architecture or AUDIT_ARCH[machine], 0, *given)
    code = list(struct.iter_unpack("HBBI", filters.program(machine)))
    place, accumulator = 0, 0
    while True:
        kind, when, otherwise, value = code[place]
        place += 1
        match kind:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", shown, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                place += when if accumulator == value else otherwise
            case 0x35:
                place += when if accumulator >= value else otherwise
            case 0x45:
                place += when if accumulator & value else otherwise
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"no such instruction: {kind:#x}")


@MACHINES
def test_what_is_refused_and_what_is_asked(machine: str) -> None:
    said = {
        name: answer(machine, NUMBERS[machine][name])
        for names in (*filters._REFUSED.values(), filters.ASKED)
        for name in names
        if name in NUMBERS[machine]
    }
    expected = {name: error(number) for number, names in filters._REFUSED.items() for name in names}
    expected |= dict.fromkeys(filters.ASKED, ASK)
    assert said == {name: expected[name] for name in said}
    assert len(said) > 40


@MACHINES
def test_an_ordinary_call_is_allowed(machine: str) -> None:
    assert answer(machine, _GETPID[machine]) == ALLOW
    assert answer(machine, _MSEAL) == ALLOW


@MACHINES
@pytest.mark.parametrize("number", [LAST_REVIEWED + 1, LAST_REVIEWED + 100, 0x3FFFFFFF, 2**31 - 1, 2**32 - 1])
def test_a_call_that_nobody_has_reviewed_is_not_there(machine: str, number: int) -> None:
    assert answer(machine, number) == error(errno.ENOSYS)


@MACHINES
def test_the_last_that_was_reviewed_is_the_highest_that_the_filter_knows(machine: str) -> None:
    assert max(NUMBERS[machine].values()) <= LAST_REVIEWED


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", _I386), ("aarch64", _ARM)])
@pytest.mark.parametrize("number", [0, 20, 39, 172, 375])
def test_the_calls_of_32_bits_are_not_there(machine: str, architecture: int, number: int) -> None:
    """Their numbers mean other calls."""
    assert answer(machine, number, architecture=architecture) == error(errno.ENOSYS)


@pytest.mark.parametrize("number", [39, 41, 59, 512, 547])
def test_the_calls_of_x32_are_not_there(number: int) -> None:
    assert answer("x86_64", 0x40000000 | number) == error(errno.ENOSYS)


@MACHINES
def test_arguments_decide(machine: str) -> None:
    numbers = NUMBERS[machine]
    assert answer(machine, numbers["clone"], _CLONE_THREAD | _CLONE_FILES) == ASK
    assert answer(machine, numbers["clone"], _CLONE_THREAD) == error(errno.EPERM)
    assert answer(machine, numbers["clone"], _SIGCHLD) == ASK
    assert [answer(machine, numbers["epoll_ctl"], 3, change) for change in (1, 2, 3)] == [ASK, ALLOW, ALLOW]
    assert {answer(machine, numbers["close_range"], 3, 9, flags) for flags in (0, 4)} == {ALLOW}
    assert {answer(machine, numbers["close_range"], 3, 9, flags) for flags in (2, 6)} == {error(errno.EINVAL)}
    assert answer(machine, numbers["clone"], _CLONE_NEWUSER) == error(errno.EPERM)
    assert answer(machine, numbers["socket"], _AF_INET, _STREAM, 6) == ALLOW
    assert answer(machine, numbers["socket"], _AF_UNIX, _STREAM, 0) == error(errno.EAFNOSUPPORT)
    assert answer(machine, numbers["prlimit64"], 0) == ALLOW
    assert answer(machine, numbers["mmap"], 0, 4096, 3, _PRIVATE | _ANONYMOUS) == ALLOW
    assert answer(machine, numbers["mmap"], 0, 4096, 3, _SHARED) == ALLOW
    assert answer(machine, numbers["mmap"], 0, 4096, 3, _SHARED | _ANONYMOUS) == ASK
    assert answer(machine, numbers["mmap"], 0, 4096, 3, _SHARED_VALIDATE | _ANONYMOUS) == ASK
    assert answer(machine, numbers["prlimit64"], 1) == error(errno.EPERM)


# By their numbers: to set flags (two ways), a version, a policy of encryption and to seal a file; what only
# the privileged may; and one whose upper half is not what the kernel looks at.
_REFUSED_IOCTLS = (
    *(0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40047602, 0x800C6613, 0x40806685),
    *(0xC0045877, 0xC0185879, 0x1, 0x12 << 8, 0x50009403, 0xC0189436, 0xF501, 0x2100, 0xFFFFFFFF),
    *(0x54000000, 0x1_4008_6602),
)
# FIONREAD, FIONBIO, FIOCLEX, TIOCGWINSZ, SIOCGIFCONF; to look at flags, blocks and their size; to clone.
_ALLOWED_IOCTLS = (
    *(0x541B, 0x5421, 0x5451, 0x5413, 0x80045430, 0x8912),
    *(0x80086601, 0x801C581F, 0xC020660B, 0x2, 0x40049409, 0x4020940D),
)


@MACHINES
def test_an_ioctl_that_changes_what_a_file_is_goes_nowhere(machine: str) -> None:
    number = NUMBERS[machine]["ioctl"]
    assert {answer(machine, number, 3, one) for one in _REFUSED_IOCTLS} == {error(errno.ENOTTY)}
    assert {answer(machine, number, 3, one) for one in _ALLOWED_IOCTLS} == {ALLOW}


# Asks for its pid as a program of 32 bits does, in a process that the kernel may end for that.
_INT_80 = """(lambda code: [
    function := ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code))),
    child := os.fork(),
    child or os._exit(1 if function() == os.getpid() else 2),
    os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
][-1])([
    code := __import__('mmap').mmap(-1, 4096, prot=7),
    code.write(bytes.fromhex('b814000000cd80c3')),
][0])"""


@pytest.mark.tier("landlock")
def test_a_process_of_64_bits_reaches_no_call_of_32(prison: Prison) -> None:
    """On arm64 it could not anyway; the instruction ends it there."""
    assert prison.tries([_INT_80], prison.jail()) != ["1"]
