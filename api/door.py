"""The door: the host names of the API, and the origins whose pages may send requests."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope as Connection

from api.refusals import foreign_host, foreign_origin


class Door:
    """A check that refuses foreign host names and origins, even if the request has a valid key.

    Args:
        hosts: Host names of the API besides loopback; `*.` stands for all subdomains.
        origins: Origins whose pages may send requests.
    """

    def __init__(self, hosts: Collection[str], origins: Collection[str]) -> None:
        self._hosts = hosts
        self._origins = origins

    def check(self, connection: Connection) -> None:
        """Check the host name of a request, and the origin of the page that sends it.

        Raises:
            Forbidden: A foreign `Host` (code `foreign_host`), as sent by a page whose name was
                rebound to this address. Or a foreign `Origin` (code `foreign_origin`), as sent by
                another site's form, script or WebSocket.
        """
        headers = Headers(scope=connection)
        hosts = headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else None
        # An IP address cannot be rebound. A request from outside still needs a key.
        if name is None or not (self._is_ours(name) or _address(name) is not None):
            raise foreign_host()
        for origin in headers.getlist("origin"):
            same = origin.lower() in (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}")
            if not same and origin.lower() not in self._origins:
                raise foreign_origin()

    def check_keyless(self, headers: Headers) -> None:
        """Check a request from this machine that carries no key.

        Raises:
            Forbidden: As raised by `check`.
        """
        if not self._is_ours(_host_name(headers.get("host", "")) or ""):
            raise foreign_host()
        if (
            headers.get("sec-fetch-site") == "cross-site"
            and headers.get("sec-fetch-mode") != "navigate"
        ):
            # The request is from a picture or script tag of another site, and so carries no Origin.
            raise foreign_origin()

    def _is_ours(self, name: str) -> bool:
        address = _address(name)
        if address is not None and address.is_loopback:
            return True
        if name == "localhost" or name.endswith(".localhost"):
            return True
        return any(
            name == known or (known.startswith("*.") and name.endswith(known[1:]))
            for known in self._hosts
        )


def arrived_on_loopback(connection: Connection) -> bool:
    """Return whether the connection arrived on a loopback address.

    The address that the process was told to bind does not show that.
    """
    server = connection.get("server")
    address = _address(server[0]) if server else None
    return address is not None and address.is_loopback


def _host_name(host: str) -> str | None:
    """Return the name in a `Host` header, without port and brackets, or None if it is not valid."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if (
        name is None
        or parts.path
        or parts.query
        or parts.fragment
        or parts.username is not None
        or "@" in host
    ):
        return None
    return name.rstrip(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
