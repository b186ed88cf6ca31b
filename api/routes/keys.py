"""Keys: made, listed and revoked by whoever has the scope `admin`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import KEYS_PATH, AdminDep
from api.problems import documented
from api.services import OpenServices
from core.domain.access import ApiKey, Scope
from core.domain.clock import UtcDatetime

router = APIRouter(prefix=KEYS_PATH, tags=["access"])

_LONGEST_DAYS = 3650


class KeyRequest(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    owner: str = Field(
        min_length=1, max_length=200, description="Whose jobs it opens.", examples=["north ranch"]
    )
    scopes: list[Scope] = Field(
        ["submit", "read"],
        min_length=1,
        max_length=3,
        description="`submit`: send and change; `read`: look; `admin`: everybody's, and keys.",
    )
    label: str = Field(
        "", max_length=200, description="What you call it.", examples=["gate camera"]
    )
    expires_in_days: float | None = Field(
        None, gt=0, le=_LONGEST_DAYS, description="Null: until it is revoked.", examples=[365]
    )


class KeyView(BaseModel):
    """A key, without the secret, which is kept nowhere."""

    id: str = Field(examples=["9f86d081884c7d65"])
    owner: str
    scopes: list[Scope]
    label: str
    created_at_utc: UtcDatetime
    expires_at_utc: UtcDatetime | None
    revoked_at_utc: UtcDatetime | None
    last_used_at_utc: UtcDatetime | None = Field(description="To the minute.")


class NewKeyView(KeyView):
    """A key that was just made."""

    key: str = Field(
        description="Shown this once: send it as `Authorization: Bearer …` or `X-API-Key`, never in an address."
    )


class KeyPage(BaseModel):
    """A page of keys, newest first."""

    items: list[KeyView]
    next_cursor: str | None


@router.post("", status_code=201, responses=documented(400, 413, 422, 503), summary="Make a key")
async def create_key(
    asked: KeyRequest, response: Response, services: OpenServices, admin: AdminDep
) -> NewKeyView:
    """The answer shows the key; nothing will ever show it again."""
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


@router.get("", responses=documented(400, 422, 503), summary="List keys")
async def list_keys(
    services: OpenServices,
    admin: AdminDep,
    owner: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> KeyPage:
    """Newest first, revoked and expired ones too, in pages."""
    page = await services.keys.list_page(owner=owner, limit=limit, cursor=cursor)
    return KeyPage(
        items=[KeyView(**_shown(key)) for key in page.items], next_cursor=page.next_cursor
    )


@router.delete("/{key_id}", responses=documented(404, 503), summary="Revoke a key")
async def revoke_key(key_id: str, services: OpenServices, admin: AdminDep) -> KeyView:
    """From now on it opens nothing, in no process. It stays in the list; doing so again changes nothing."""
    return KeyView(**_shown(await services.keys.revoke(key_id)))


def _shown(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(exclude={"digest"})
