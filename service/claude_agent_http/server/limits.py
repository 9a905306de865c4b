"""What one connection may take, and all of them together."""

import resource
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from claude_agent_http.domain.network import network_of

__all__ = ["ConnectionLimits", "Connections", "part_of_descriptors"]

_MOST = 10_000
_SPARE, _SPARE_PER_ADDRESS = 16, 4
_MOST_REFUSED = 100


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`connections` and `per_address` are counted at once, 0 is no limit; those of `proxies` (addresses and
    networks), which others come through, count for no address. Sizes are in bytes, times in seconds.

    Beyond these, 16 spare ones (4 of an address) are taken for `probes` alone, the paths by which is asked
    how the service is: who fills the service must not make it look dead.

    A head (request line and headers) must come whole in `head_seconds`, on a spare connection in
    `spare_seconds`. `rest_seconds` has who still sends a body when the answer to it is out. Who takes nothing
    of an answer for `reader_seconds` is cut off.
    """

    connections: int = _MOST
    per_address: int = _MOST // 2
    proxies: Collection[str] = ()
    probes: Collection[str] = ()
    head_bytes: int = 65_536
    headers: int = 100
    head_seconds: float = 10.0
    spare_seconds: float = 2.0
    rest_seconds: float = 30.0
    reader_seconds: float = 30.0

    @classmethod
    def of(
        cls,
        connections: int | None,
        per_address: int | None,
        proxies: Collection[str],
        probes: Collection[str] = (),
    ) -> "ConnectionLimits":
        """None leaves this process half of its descriptors, and an address half of all connections."""
        if connections is None:
            connections = part_of_descriptors(2)
        return cls(connections, connections // 2 if per_address is None else per_address, proxies, probes)


def part_of_descriptors(parts: int) -> int:
    """How many connections there may be for one of so many parts of what this process may open."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_endless = descriptors == resource.RLIM_INFINITY
    return _MOST if is_endless else min(_MOST, descriptors // parts)


class Connections:
    """Counts those that are open. `spare` counts those beyond that, None where there are none."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        spare = ConnectionLimits(_SPARE, _SPARE_PER_ADDRESS)
        self.spare = Connections(spare) if limits.probes else None
        self._proxies = [ip_network(one) for one in limits.proxies]
        self._by_address: Counter[str] = Counter()
        self._open = 0
        self._refused = 0

    def admit(self, address: str) -> bool:
        """Whether one more from there may be; then it counts until `left`."""
        limits, network = self._limits, network_of(address)
        if limits.connections and self._open >= limits.connections:
            return False
        is_full = limits.per_address and self._by_address[network] >= limits.per_address
        if is_full and not self._is_proxy(address):
            return False
        self._open += 1
        self._by_address[network] += 1
        return True

    def left(self, address: str) -> None:
        network = network_of(address)
        self._open -= 1
        self._by_address[network] -= 1
        if not self._by_address[network]:
            del self._by_address[network]

    def refuse(self) -> bool:
        """Whether one that was not admitted may be told so; then it counts until `refused`. A flood is not:
        what is told has to be kept open for a moment."""
        if self._refused >= _MOST_REFUSED:
            return False
        self._refused += 1
        return True

    def refused(self) -> None:
        self._refused -= 1

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)
