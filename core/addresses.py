"""Checks of IP addresses. Muster contacts only public addresses on behalf of a caller."""

from __future__ import annotations

import functools
import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# Responds on every machine in Azure with that machine's secrets, though its range is public.
_HOST_SERVICES = frozenset({IPv4Address("168.63.129.16")})
# The last 32 bits are an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")
# Added to the standard library's lists, which differ between releases.
_NEVER_V4 = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # shared by carriers
    IPv4Network("192.0.0.0/24"),  # protocols; metadata service of a cloud
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("198.18.0.0/15"),  # benchmarks
)
_UNICAST_V6 = IPv6Network("2000::/3")
_NEVER_V6 = (
    IPv6Network("2001::/23"),  # protocols, including Teredo
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),  # documentation
)
_ISATAP = (0x00005EFE, 0x02005EFE)


@functools.lru_cache(maxsize=4096)
def client_group(host: str | None) -> str:
    """Return the name under which a client is counted.

    The name is the client's IPv4 address, or the /64 network of its IPv6 address, which one
    subscriber gets.

    Args:
        host: The address as reported by a socket; None for a Unix socket.
    """
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or "local socket"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(IPv6Network((address, 64), strict=False))
    return str(address)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address belongs to the public internet.

    An IPv6 address that represents an IPv4 address (mapped, NAT64) is judged by the latter. Tunnels
    (6to4, Teredo, ISATAP) are always refused: no service is expected behind one, and a tunnel
    address can contain a private one.
    """
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if (
            address.scope_id is not None
            or address not in _UNICAST_V6
            or any(address in network for network in _NEVER_V6)
        ):
            return False
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return False
    elif any(address in network for network in _NEVER_V4):
        return False
    if (
        address in _HOST_SERVICES
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    ):
        return False
    return address.is_global


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a text represents in its usual form, or None."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
