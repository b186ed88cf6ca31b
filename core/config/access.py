"""The part of the configuration that says who may ask for what."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from core.domain.access import Scope

Names = Annotated[tuple[str, ...], NoDecode]
"""Names with commas between them, as an environment variable gives them."""


class AccessConfig(BaseSettings):
    """Who may ask, under which names, how much."""

    require_key: bool = Field(
        False,
        description="Loopback needs a key, too: for containers, and behind a proxy on the same machine.",
    )
    allowed_hosts: Names = Field(
        (), description="Names of the API besides loopback's; `*.example.org` is any below it."
    )
    allowed_origins: Names = Field(
        (), description="Origins (`https://app.example.org`) whose pages may ask."
    )
    rate_per_s: float = Field(
        20,
        ge=0,
        description="Requests a second, on average, with one key in one API process; 0: no limit.",
    )
    rate_burst: int = Field(100, ge=1, description="Requests at once with one key.")
    wrong_keys_per_min: float = Field(
        30,
        ge=0,
        description="Wrong keys, tokens and tickets a minute from one address to one API process; 0: no limit.",
    )
    quota_day_bytes: int = Field(
        2**40, ge=0, description="Bytes that one owner may submit in a day (UTC); 0: no limit."
    )
    quota_jobs: int = Field(
        500,
        ge=0,
        description="Jobs of one owner that wait or are worked on at a time; 0: no limit.",
    )
    quota_links: int = Field(
        100,
        ge=0,
        description="Links for direct uploads of one owner that are alive at a time; 0: no limit.",
    )
    quota_day_work: int = Field(
        50_000_000,
        ge=0,
        description="Work of one owner in a day (UTC), in looks at pictures; more waits for the next day. 0: no limit.",
    )
    oidc_issuer: str | None = Field(
        None,
        description="Issuer whose tokens are taken, such as https://login.microsoftonline.com/<tenant>/v2.0 for Entra ID.",
    )
    oidc_audience: str | None = Field(
        None, description="For whom tokens must be issued: the application (client) id, or its URI."
    )
    oidc_owner_claim: str = Field(
        "sub", description="The claim that says whose jobs are meant, such as `oid` or `tid`."
    )
    oidc_scopes: dict[str, Scope] = Field(
        {"Muster.Submit": "submit", "Muster.Read": "read", "Muster.Admin": "admin"},
        description='JSON: {"role or scope in the token": "submit", "read" or "admin"}.',
    )

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = value.split(",")
        return tuple(name for name in (item.strip().lower().rstrip("/") for item in value) if name)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if "/" in name or name == "*" or "*" in name.removeprefix("*."):
                raise ValueError(
                    f"'{name}' in MUSTER_ALLOWED_HOSTS is no host name; write muster.example.org or *.example.org"
                )
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or parts.path
                or "*" in origin
            ):
                raise ValueError(
                    f"'{origin}' in MUSTER_ALLOWED_ORIGINS is no origin; write https://app.example.org, one for each"
                )
        return value

    @model_validator(mode="after")
    def _names_an_audience(self) -> AccessConfig:
        if not self.oidc_issuer:
            return self
        if not self.oidc_audience:
            raise ValueError(
                "MUSTER_OIDC_ISSUER needs MUSTER_OIDC_AUDIENCE, too: else tokens for other applications would be taken"
            )
        parts = urlsplit(self.oidc_issuer)
        if parts.scheme != "https" and not (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        ):
            raise ValueError(f"MUSTER_OIDC_ISSUER is '{self.oidc_issuer}'; it begins with https://")
        return self
