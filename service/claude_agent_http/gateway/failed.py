"""What can go wrong on the way to the model API; aiohttp's errors end here."""

import ssl

import aiohttp

__all__ = ["UpstreamError", "upstream_error"]


class UpstreamError(Exception):
    """No whole answer. `status` stands for it in HTTP, `reason` is one word for the log."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def upstream_error(error: aiohttp.ClientError, address: str) -> UpstreamError:
    """The same of the model API at `address`."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamError(
                504, "connect_timeout", f"the model API at {address} cannot be reached in time"
            )
        case aiohttp.ServerTimeoutError():
            return UpstreamError(504, "silent", f"the model API at {address} did not answer in time")
        case aiohttp.ClientHttpProxyError():
            return UpstreamError(502, "proxy", f"the proxy before the model API at {address} refused")
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorCertificateError():
            return _unreachable(error, address)
    return UpstreamError(502, "broken", f"the connection to the model API at {address} broke")


def _unreachable(error: BaseException, address: str) -> UpstreamError:
    """Refused, unknown and untrusted are told apart: each is mended elsewhere."""
    said = _chain(error)
    if any(isinstance(one, ssl.SSLError) for one in said):
        return UpstreamError(502, "tls", f"the model API at {address} cannot be trusted (TLS)")
    if any(isinstance(one, ConnectionRefusedError) for one in said):
        return UpstreamError(502, "refused", f"the model API at {address} refuses connections")
    return UpstreamError(502, "unreachable", f"the model API at {address} cannot be reached")


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from, groups included."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or one in found:
            continue
        found.append(one)
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return found
