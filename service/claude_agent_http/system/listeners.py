"""The sockets a server will listen on, bound before anything else is started."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["CannotListenError", "bound_socket", "listeners"]

_UNHEARD_MILLISECONDS = 60_000
"""A peer that acknowledges nothing of what was sent for so long is gone, also where we closed already."""


class CannotListenError(Exception):
    """`found` is what stands in the way, `advice` what to do; `in_use`: another program listens there."""

    def __init__(self, found: str, advice: str, *, in_use: bool = False) -> None:
        super().__init__(f"{found}; {advice}")
        self.found = found
        self.advice = advice
        self.in_use = in_use


@contextmanager
def listeners(section: str, host: str, port: int) -> Iterator[list[socket.socket]]:
    """A bound socket for every address of `host`, closed at the end; port 0 is one free port for them all.

    `section` of the settings holds `host` and `port`, for the advice. They do not listen yet: until the
    server does so, a client is refused instead of left waiting. Raises CannotListenError.
    """
    try:
        # Of an IPv6 address getaddrinfo wants the name without brackets, as the settings give it.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else error
        what = f"{host} is no address of this machine: {reason}"
        raise CannotListenError(what, f"correct {section}.host") from error
    with ExitStack() as opened:
        bound: list[socket.socket] = []
        refused: OSError | None = None
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            at = (address[0], port or (bound[0].getsockname()[1] if bound else 0), *address[2:])
            try:
                bound.append(opened.enter_context(bound_socket(family, at)))
            except OSError as error:
                # `localhost` is ::1 too where the machine has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise _refusal(error, section, host, port) from error
                refused = error
        if not bound and refused is not None:
            raise _refusal(refused, section, host, port) from refused
        yield bound


def bound_socket(family: int, address: tuple[object, ...]) -> socket.socket:
    """A TCP socket, bound but not listening yet. Raises OSError."""
    # asyncio turns Nagle off only for sockets whose protocol is named; else each answer may wait 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if (unheard := getattr(socket, "TCP_USER_TIMEOUT", None)) is not None:  # its connections inherit it
            bound.setsockopt(socket.IPPROTO_TCP, unheard, _UNHEARD_MILLISECONDS)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _refusal(error: OSError, section: str, host: str, port: int) -> CannotListenError:
    match error.errno:
        case errno.EADDRINUSE:
            variable = f"CLAUDE_AGENT_{section.upper()}_PORT"
            look = f"see who has it (`ss -tlnp | grep :{port}`) and stop that"
            advice = f"{look}, or choose another port ({variable})"
            return CannotListenError(f"{host}:{port} is in use by another program", advice, in_use=True)
        case errno.EACCES:
            advice = f"choose a port of 1024 or more ({section}.port)"
            return CannotListenError(f"this user may not listen on port {port}", advice)
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            found = f"{host} is no address of this machine"
            return CannotListenError(found, f"correct {section}.host, or use 0.0.0.0")
    found = f"cannot listen on {host}:{port}: {error.strerror or error}"
    return CannotListenError(found, f"correct {section}.host and {section}.port")
