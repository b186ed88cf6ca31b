"""Which IP addresses belong to the public internet: only those are asked on behalf of somebody else."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address, IPv6Network

# Answers on every machine in Azure, with its secrets, though its range is a public one.
_HOST_SERVICES = frozenset({IPv4Address("168.63.129.16")})
# The last 32 bits are an IPv4 address: that of the well-known prefix, and that which networks may choose from for themselves.
_NAT64 = (IPv6Network("64:ff9b::/96"),)
_NEVER = (
    IPv6Network("::/96"),  # IPv4-compatible
    IPv6Network("64:ff9b:1::/48"),  # a network's own NAT64
    IPv6Network("2001::/32"),  # Teredo
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("fec0::/10"),  # site-local
    IPv6Network("100::/64"),  # discard
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing
)
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address belongs to the public internet.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64) is judged as that. Tunnels (6to4, Teredo, ISATAP) are refused whatever
    they lead to: nobody serves anything behind one, and each can name a private address.
    """
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.scope_id is not None or any(address in network for network in _NEVER):
            return False
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return False
    if address in _HOST_SERVICES or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return address.is_global


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a text is in its usual form, or None."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
