"""Delivery of webhooks over HTTP, to public addresses only.

Each name is resolved once, and the connection is made to the address that was checked.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from core.addresses import is_public, parse_address
from core.domain.webhook import UNREACHED
from core.ports import WebhookAnswer, WebhookSender

logger = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[list[Address]]]
Policy = Callable[[Address], bool]

MAX_ADDRESSES = 4
MAX_ANSWER_BYTES = 16 * 1024
MAX_HEAD_BYTES = 8 * 1024
_GONE = 410


async def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host as the system resolves it, in its order of preference.

    Raises:
        OSError: The host has no address.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [parse_address(str(entry[4][0])) for entry in found]
    return list(dict.fromkeys(address for address in addresses if address is not None))


class HttpWebhookSender(WebhookSender):
    """Sends each event over a separate connection.

    A try that does not connect to a public address always takes its whole time limit. Otherwise its
    duration would disclose which names exist in a private network.

    A name is refused if any of its addresses is not public. The connection is made to a checked
    address, never to the name, so that a name server cannot return a different address the second
    time.

    Args:
        resolver: Returns the addresses of a host.
        policy: Decides which addresses may be contacted.
        tls: Verifies the identity of receivers; default: the system's certificate authorities.
        monotonic: Returns the seconds of a monotonic clock.
        sleep: Waits; tests pass their own.
    """

    def __init__(
        self,
        *,
        resolver: Resolver = resolve,
        policy: Policy = is_public,
        tls: ssl.SSLContext | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._resolver = resolver
        self._policy = policy
        self._tls = tls
        self._monotonic = monotonic
        self._sleep = sleep

    async def send(
        self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float
    ) -> WebhookAnswer:
        began_s = self._monotonic()
        connected = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._send(url, body, headers, connected)
        except TimeoutError:
            answer = WebhookAnswer(None, "timeout" if connected.is_set() else "no_connection")
        if answer.error in UNREACHED:
            await self._sleep(max(0.0, began_s + timeout_s - self._monotonic()))
        return answer

    async def _send(
        self, url: str, body: bytes, headers: dict[str, str], connected: asyncio.Event
    ) -> WebhookAnswer:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        literal = parse_address(host)
        try:
            addresses = [literal] if literal is not None else await self._resolver(host, port)
        except (OSError, UnicodeError):
            return WebhookAnswer(None, "name_not_found")
        if not addresses:
            return WebhookAnswer(None, "name_not_found")
        if not all(map(self._policy, addresses)):
            logger.warning(
                "webhook refused: not a public address",
                extra={"action": "webhook_refused", "host": host},
            )
            return WebhookAnswer(None, "address_not_public")
        answer = WebhookAnswer(None, "no_connection")
        for address in addresses[:MAX_ADDRESSES]:
            answer = await self._post(url, address, port, host, body, headers, connected)
            # Only if no connection was made is it certain that trying the next address does not
            # deliver the event a second time.
            if answer.error != "no_connection":
                return answer
        return answer

    async def _post(
        self,
        url: str,
        address: Address,
        port: int,
        host: str,
        body: bytes,
        headers: dict[str, str],
        connected: asyncio.Event,
    ) -> WebhookAnswer:
        parts = urlsplit(url)
        target = URL.build(
            scheme=parts.scheme,
            host=str(address),
            port=port,
            path=parts.path or "/",
            query_string=parts.query,
            encoded=True,
        )
        connector = aiohttp.TCPConnector(
            force_close=True, use_dns_cache=False, ssl=self._tls if self._tls is not None else True
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            skip_auto_headers=("Accept-Encoding",),
            trace_configs=[_noting(connected)],
        )
        try:
            async with (
                session,
                session.post(
                    target,
                    data=body,
                    headers={**headers, "Host": parts.netloc},
                    allow_redirects=False,
                    server_hostname=host if parts.scheme == "https" else None,
                ) as answer,
            ):
                # The response is read so that the receiver sees it accepted. Its content is
                # ignored.
                await answer.content.read(MAX_ANSWER_BYTES)
                return _judged(answer.status)
        except aiohttp.ClientConnectorCertificateError:
            return WebhookAnswer(None, "bad_certificate")
        except aiohttp.ClientConnectorSSLError:
            return WebhookAnswer(None, "tls_failed")
        except aiohttp.ClientConnectorError:
            return WebhookAnswer(None, "no_connection")
        except (aiohttp.ClientError, ValueError, OSError):
            return WebhookAnswer(None, "broken_answer")


def _noting(connected: asyncio.Event) -> aiohttp.TraceConfig:
    async def note(*_: object) -> None:
        connected.set()

    noting = aiohttp.TraceConfig()
    noting.on_connection_create_end.append(note)
    return noting


def _judged(status: int) -> WebhookAnswer:
    if 200 <= status < 300:
        return WebhookAnswer(status)
    if 300 <= status < 400:
        return WebhookAnswer(status, "redirect_not_followed")
    return WebhookAnswer(status, "refused", is_final=status == _GONE)
