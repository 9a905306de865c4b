"""Which addresses are one client's."""

from ipaddress import IPv6Address, ip_address

__all__ = ["network_of"]

_OF_ONE_SITE = 64


def network_of(address: str) -> str:
    """The address; of IPv6 its first 64 bits, for whoever has one address has all of these. What is no
    address is left as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> _OF_ONE_SITE << _OF_ONE_SITE)}/{_OF_ONE_SITE}"
