"""Promise: a webhook reaches public addresses only, each resolved once and connected to as it was
checked; nothing leads it elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.adapters.http.webhook import Address, HttpWebhookSender
from core.domain.webhook import UNREACHED
from core.ports import WebhookAnswer
from tests.support.webhook_receiver import Receiver, answer_with, make_certificate

BODY = b'{"event":"completed"}'
HERE, THERE = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("127.0.0.2")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def trap() -> Iterator[Receiver]:
    """Must never be asked."""
    with Receiver() as server:
        yield server
        assert server.received == []


async def at_once(seconds: float) -> None:
    """Stand for the wait with which a try that reached no public address uses up its time."""


class Names:
    """A resolver that answers each question with the next of its answers, the last one again and
    again.
    """

    def __init__(self, *answers: list[Address]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def only_here(address: Address) -> bool:
    """Stand for the rule, with one loopback address in the place of the public ones."""
    return address == HERE


async def send(
    url: str,
    resolver: Callable[[str, int], Awaitable[list[Address]]] | None = None,
    **options: object,
) -> WebhookAnswer:
    timeout_s = float(str(options.pop("timeout_s", 20)))
    chosen: dict[str, Any] = {"policy": only_here, "sleep": at_once, **options}
    sender = HttpWebhookSender(resolver=resolver or Names([HERE]), **chosen)
    return await sender.send(
        url,
        BODY,
        {"Content-Type": "application/json", "Muster-Event": "completed"},
        timeout_s=timeout_s,
    )


async def test_an_event_arrives_as_it_was_sent(receiver: Receiver) -> None:
    assert await send(
        f"http://hooks.example.org:{receiver.port}/a/b?token=c%20d&e"
    ) == WebhookAnswer(204)
    (got,) = receiver.received
    assert (got.path, got.body) == ("/a/b?token=c%20d&e", BODY)
    assert got.headers["Host"] == f"hooks.example.org:{receiver.port}"
    assert (got.headers["Content-Type"], got.headers["Muster-Event"]) == (
        "application/json",
        "completed",
    )
    assert not {"Accept-Encoding", "Cookie", "Authorization"} & set(got.headers)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::ffff:127.0.0.1]:{port}/"],
)
async def test_as_it_is_configured_nothing_on_this_machine_is_asked(
    trap: Receiver, url: str
) -> None:
    answer = await HttpWebhookSender(sleep=at_once).send(
        url.format(port=trap.port), BODY, {}, timeout_s=20
    )
    assert answer == WebhookAnswer(None, "address_not_public")


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["168.63.129.16"],
        ["64:ff9b::7f00:1"],
        ["::ffff:10.0.0.1"],
        ["2002:7f00:1::1"],
        ["8.8.8.8", "127.0.0.1"],
    ],
)
async def test_a_name_with_any_address_that_is_not_public_is_refused(
    trap: Receiver, addresses: list[str]
) -> None:
    names = Names([ipaddress.ip_address(address) for address in addresses])
    answer = await HttpWebhookSender(resolver=names, sleep=at_once).send(
        f"http://hooks.example.org:{trap.port}/", BODY, {}, timeout_s=20
    )
    assert answer == WebhookAnswer(None, "address_not_public")


async def test_a_name_that_is_bound_anew_after_the_check_leads_nowhere_else(
    receiver: Receiver, trap: Receiver
) -> None:
    """DNS rebinding: public at the first question, this machine at every other one.

    It is not asked again.
    """
    names = Names([HERE], [THERE], [ipaddress.ip_address("10.0.0.1")])
    for _ in range(2):
        names.answers.insert(0, [HERE])
        asked = len(names.asked)
        assert await send(f"http://rebind.example.org:{receiver.port}/", names) == WebhookAnswer(
            204
        )
        assert len(names.asked) == asked + 1, "resolved once"
    assert len(receiver.received) == 2
    names.answers = [[THERE]]
    answer = await send(f"http://rebind.example.org:{trap.port}/", names)
    assert answer == WebhookAnswer(None, "address_not_public")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receiver: Receiver, trap: Receiver, status: int) -> None:
    receiver.answers = [answer_with(status, headers={"Location": f"http://127.0.0.1:{trap.port}/"})]
    assert await send(f"http://hooks.example.org:{receiver.port}/") == WebhookAnswer(
        status, "redirect_not_followed"
    )


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, trap: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    assert await send(f"http://hooks.example.org:{receiver.port}/") == WebhookAnswer(204)


async def test_answers_become_outcomes(receiver: Receiver) -> None:
    outcomes = {
        200: None,
        202: None,
        400: "refused",
        404: "refused",
        410: "refused",
        429: "refused",
        500: "refused",
        503: "refused",
    }
    receiver.answers = [answer_with(status, body=b"x" * 100_000) for status in outcomes]
    for status, error in outcomes.items():
        assert await send(f"http://hooks.example.org:{receiver.port}/") == WebhookAnswer(
            status, error, is_final=status == 410
        )


async def test_time_is_limited_from_the_name_to_the_end_of_the_answer(receiver: Receiver) -> None:
    began = time.monotonic()
    receiver.answers = [answer_with(200, pause_s=15)]
    assert await send(f"http://hooks.example.org:{receiver.port}/", timeout_s=1) == WebhookAnswer(
        None, "timeout"
    )

    async def slow(host: str, port: int) -> list[Address]:
        await asyncio.sleep(60)
        return [HERE]

    assert await send(
        f"http://hooks.example.org:{receiver.port}/", slow, timeout_s=1
    ) == WebhookAnswer(None, "no_connection")
    assert time.monotonic() - began < 12


async def test_a_head_without_end_is_cut_off(receiver: Receiver) -> None:
    receiver.answers = [answer_with(200, headers={"X-Long": "y" * 50_000})]
    assert await send(f"http://hooks.example.org:{receiver.port}/") == WebhookAnswer(
        None, "broken_answer"
    )


async def test_names_that_do_not_exist_and_ports_where_nobody_listens_are_tried_again() -> None:
    async def nobody(host: str, port: int) -> list[Address]:
        raise OSError("no such host")

    assert await send("http://nowhere.example.org/", nobody) == WebhookAnswer(
        None, "name_not_found"
    )
    assert await send("http://nowhere.example.org/", Names([])) == WebhookAnswer(
        None, "name_not_found"
    )
    with Receiver() as closed:
        port = closed.port
    assert await send(f"http://hooks.example.org:{port}/") == WebhookAnswer(None, "no_connection")


@pytest.mark.parametrize(
    "addresses",
    [None, [], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1"]],
    ids=["unknown", "none", "private", "mixed", "closed"],
)
async def test_how_long_a_try_takes_tells_nothing_of_names_and_ports_that_were_not_reached(
    addresses: list[str] | None,
) -> None:
    """`127.0.0.1` stands for a public address, where no port listens."""
    now_s, waited = 100.0, []

    async def resolver(host: str, port: int) -> list[Address]:
        nonlocal now_s
        now_s += 3.0
        if addresses is None:
            raise OSError("no such host")
        return [ipaddress.ip_address(address) for address in addresses]

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    with Receiver() as closed:
        port = closed.port
    sender = HttpWebhookSender(
        resolver=resolver, policy=only_here, monotonic=lambda: now_s, sleep=sleep
    )
    answer = await sender.send(f"http://hooks.example.org:{port}/", BODY, {}, timeout_s=10)
    assert (answer.status, answer.error in UNREACHED, answer.is_final) == (None, True, False)
    assert waited == [7.0], "with the three seconds that the name took, all of the ten"


async def test_a_try_that_was_answered_ends_with_the_answer(receiver: Receiver) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    assert await send(f"http://hooks.example.org:{receiver.port}/", sleep=sleep) == WebhookAnswer(
        204
    )
    assert waited == []


async def test_tls_names_and_checks_the_host_though_the_address_is_connected_to(
    tmp_path: Path,
) -> None:
    files = make_certificate(tmp_path, "hooks.example.org")
    trusting = ssl.create_default_context(cafile=str(files[0]))
    with Receiver(files) as receiver:
        assert await send(
            f"https://hooks.example.org:{receiver.port}/x", tls=trusting
        ) == WebhookAnswer(204)
        (got,) = receiver.received
        assert receiver.names == ["hooks.example.org"]
        assert got.headers["Host"] == f"hooks.example.org:{receiver.port}"
        wrong_name = await send(f"https://other.example.org:{receiver.port}/x", tls=trusting)
        assert wrong_name == WebhookAnswer(None, "bad_certificate")
        unknown = await send(f"https://hooks.example.org:{receiver.port}/x")
        assert unknown == WebhookAnswer(None, "bad_certificate")
        assert len(receiver.received) == 1
