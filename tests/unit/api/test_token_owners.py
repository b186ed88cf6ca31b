"""Owners that begin with `oidc:` are those of tokens: no key is made for one, and one of before
opens nothing.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api import keys_command as command
from core.domain.access import ApiKey, digest_of, new_key
from core.errors import InvalidInput
from tests.support.access_stand import client_of, make_key
from tests.support.api_stand import running_api

NOW = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
RESERVED = [
    "oidc:rancher",
    "OIDC:rancher",
    "Oidc:rancher",
    " oidc:rancher",
    "oidc :rancher",
    "o i d c:rancher",
    "oidc\N{ZERO WIDTH JOINER}:rancher",
    "o\N{ZERO WIDTH NON-JOINER}idc:rancher",
    "\N{FULLWIDTH LATIN SMALL LETTER O}idc:rancher",
    "\N{FULLWIDTH LATIN CAPITAL LETTER O}\N{FULLWIDTH LATIN CAPITAL LETTER I}DC:rancher",
    "oidc\N{FULLWIDTH COLON}rancher",
    "oidc\N{MODIFIER LETTER TRIANGULAR COLON}rancher",
    "\N{MATHEMATICAL BOLD SMALL O}\N{MATHEMATICAL BOLD SMALL I}\N{MATHEMATICAL BOLD SMALL D}\N{MATHEMATICAL BOLD SMALL C}:rancher",
    "\N{CIRCLED LATIN SMALL LETTER O}idc:rancher",
    "o\N{SMALL ROMAN NUMERAL ONE}\N{SMALL ROMAN NUMERAL FIVE HUNDRED}\N{SMALL ROMAN NUMERAL ONE HUNDRED}:rancher",
    "\N{CYRILLIC SMALL LETTER O}idc:rancher",
    "o\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}d\N{CYRILLIC SMALL LETTER ES}:rancher",
    "\N{GREEK SMALL LETTER OMICRON}\N{GREEK SMALL LETTER IOTA}dc:rancher",
    "o\N{LATIN SMALL LETTER DOTLESS I}dc:rancher",
    "O\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}DC:rancher",
    "o\N{LATIN SMALL LETTER I WITH DIAERESIS}dc:rancher",
    "oi\N{COMBINING ACUTE ACCENT}dc:rancher",
    "0idc:rancher",
    "o1dc:rancher",
    "oldc:rancher",
]
FREE = [
    "local",
    "ranch",
    "north ranch",
    "oidc",
    "oidcs: team",
    "avoid: c",
    "void:c",
    "ranch oidc:x",
    "Бизон 1",
    "saml:x",
]


@pytest.mark.parametrize("owner", RESERVED)
async def test_no_key_is_made_for_a_tokens_owner_nor_for_what_looks_like_one(owner: str) -> None:
    async with running_api() as api:
        with pytest.raises(InvalidInput) as refused:
            await make_key(api, owner)
        assert (refused.value.code, refused.value.details["field"]) == ("invalid_key", "owner")
        async with client_of(api, await make_key(api, "ranch", "admin")) as client:
            answer = await client.post("/api/v1/keys", json={"owner": owner})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_key")
            assert [key["owner"] for key in (await client.get("/api/v1/keys")).json()["items"]] == [
                "ranch"
            ]


@pytest.mark.parametrize("owner", FREE)
async def test_other_owners_are_given_to_keys(owner: str) -> None:
    async with running_api() as api, client_of(api, await make_key(api, owner)) as client:
        assert (await client.get("/api/v1/whoami")).json()["owner"] == owner


@pytest.mark.parametrize("first", [[], ["--first"]])
def test_the_command_makes_none_either(
    first: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("MONGO_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert command.main(["create", "--owner", "OIDC:rancher", *first], clock=lambda: NOW) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "must not begin with 'oidc:'" in shown.err


async def test_a_key_of_before_with_such_an_owner_opens_nothing_and_the_log_says_which(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_api() as api:
        key_id, secret = new_key()
        key = ApiKey(
            id=key_id,
            digest=digest_of(secret),
            owner="oidc:rancher",
            scopes=("read",),
            created_at_utc=NOW,
        )
        await api.ports.keys.add(key)
        await api.add_job("a" * 32, owner="oidc:rancher")
        with caplog.at_level(logging.WARNING):
            async with client_of(api, secret) as client:
                answer = await client.get("/api/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
        (record,) = [
            record
            for record in caplog.records
            if getattr(record, "action", "") == "key_owner_reserved"
        ]
        assert record.__dict__["key_id"] == key_id
