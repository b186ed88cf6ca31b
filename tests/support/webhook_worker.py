"""A worker whose webhooks' receivers are on this machine, under any name: `python -m
tests.support.webhook_worker [quick] [die]`.

`quick`: its engine only pretends. `die`: it ends as `kill -9` would end it between a delivery and
everything that would say so.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import sys

import worker.main
from core.adapters.http.webhook import Address, HttpWebhookSender
from core.ports import WebhookAnswer
from tests.support.quick_worker import quick_engine

HERE = ipaddress.ip_address("127.0.0.1")


async def _here(host: str, port: int) -> list[Address]:
    return [HERE]


class LocalSender(HttpWebhookSender):
    """Delivers to this machine only.

    Args:
        dies: Whether the process ends after the first delivery.
    """

    def __init__(self, *, dies: bool) -> None:
        super().__init__(resolver=_here, policy=lambda address: address == HERE)
        self._dies = dies

    async def send(
        self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float
    ) -> WebhookAnswer:
        answer = await super().send(url, body, headers, timeout_s=timeout_s)
        if self._dies and answer.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


if __name__ == "__main__":
    if "quick" in sys.argv:
        vars(worker.main)["real_engine"] = quick_engine
    status = worker.main.main([], sender=LocalSender(dies="die" in sys.argv))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
