"""Routes of keys, which callers with the scope `admin` create, list and revoke."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import KEYS_PATH, AdminDep
from api.document import documented
from api.parameters import Cursor, Limit
from api.services import OpenServices
from core.domain.access import ApiKey, Scope
from core.domain.clock import UtcDatetime
from core.domain.refusals import bad_cursor, invalid_request, malformed_json, no_such_key

router = APIRouter(prefix=KEYS_PATH, tags=["access"])

_LONGEST_DAYS = 3650
_NOT_JSON = malformed_json("Expecting value")
_INVALID = invalid_request([("body.owner", "Field required")])


class KeyRequest(BaseModel):
    """A key to create."""

    model_config = ConfigDict(extra="forbid")

    owner: str = Field(
        min_length=1,
        max_length=200,
        description="Owner of the jobs that the key gives access to.",
        examples=["north ranch"],
    )
    scopes: list[Scope] = Field(
        ["submit", "read"],
        min_length=1,
        max_length=3,
        description="`submit`: submit and change jobs; `read`: read them; `admin`: jobs of all "
        "owners, and keys.",
    )
    label: str = Field(
        "", max_length=200, description="A name of your choice.", examples=["gate camera"]
    )
    expires_in_days: float | None = Field(
        None, gt=0, le=_LONGEST_DAYS, description="Null: valid until revoked.", examples=[365]
    )


class KeyView(BaseModel):
    """A key without its secret, which the server does not store."""

    id: str = Field(examples=["9f86d081884c7d65"])
    owner: str
    scopes: list[Scope]
    label: str
    created_at_utc: UtcDatetime
    expires_at_utc: UtcDatetime | None
    revoked_at_utc: UtcDatetime | None
    last_used_at_utc: UtcDatetime | None = Field(description="Accurate to the minute.")


class NewKeyView(KeyView):
    """A new key."""

    key: str = Field(
        description="Shown only once. Send it as `Authorization: Bearer …` or `X-API-Key`, "
        "never in a URL."
    )


class KeyPage(BaseModel):
    """A page of keys, newest first."""

    items: list[KeyView]
    next_cursor: str | None


@router.post("", status_code=201, responses=documented(_NOT_JSON, _INVALID), summary="Create a key")
async def create_key(
    asked: KeyRequest, response: Response, services: OpenServices, admin: AdminDep
) -> NewKeyView:
    """Returns the key with its secret. No later response shows the secret."""
    expires = (
        None
        if asked.expires_in_days is None
        else services.clock() + timedelta(days=asked.expires_in_days)
    )
    made = await services.keys.create(
        owner=asked.owner, scopes=asked.scopes, label=asked.label, expires_at_utc=expires
    )
    response.headers["Location"] = f"{KEYS_PATH}/{made.key.id}"
    return NewKeyView(**_shown(made.key), key=made.secret)


@router.get("", responses=documented(bad_cursor()), summary="List keys")
async def list_keys(
    services: OpenServices,
    admin: AdminDep,
    owner: Annotated[
        str | None, Query(max_length=200, description="Only keys of this owner.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> KeyPage:
    """Returns a page of keys, newest first, including revoked and expired ones."""
    page = await services.keys.list_page(owner=owner, limit=limit, cursor=cursor)
    return KeyPage(
        items=[KeyView(**_shown(key)) for key in page.items], next_cursor=page.next_cursor
    )


@router.delete("/{key_id}", responses=documented(no_such_key()), summary="Revoke a key")
async def revoke_key(
    key_id: Annotated[str, Path(description="Id of the key.")],
    services: OpenServices,
    admin: AdminDep,
) -> KeyView:
    """Revokes the key at once, for all processes. The key stays in the list. Idempotent."""
    return KeyView(**_shown(await services.keys.revoke(key_id)))


def _shown(key: ApiKey) -> dict[str, object]:
    return key.model_dump(exclude={"digest"})
