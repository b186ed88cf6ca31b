"""The section of access control."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from core.config.variables import Section, variable
from core.domain.access import Scope


class AccessSection(Section):
    """Who may call the API, and how often."""

    title: ClassVar[str] = "Access"

    require_key: bool = variable(
        False,
        "Loopback needs a key, too: in containers, and behind a proxy on the same machine. "
        "The API's image sets it to `true`.",
    )
    allowed_hosts: tuple[str, ...] = variable(
        (),
        "Names of the API besides loopback's, with commas between them. "
        "`*.example.org` is any name below it.",
    )
    allowed_origins: tuple[str, ...] = variable(
        (),
        "Origins whose pages may call the API (CORS), such as `https://app.example.org`, "
        "with commas between them.",
    )
    rate_per_s: float = variable(
        20,
        "Average rate of requests with one key in one API process. 0: no limit.",
        unit="requests per second",
        ge=0,
    )
    rate_burst: int = variable(100, "Requests at once with one key.", unit="requests", ge=1)
    wrong_keys_per_min: float = variable(
        30,
        "Wrong keys, tokens and tickets from one address to one API process. 0: no limit.",
        unit="per minute",
        ge=0,
    )
    oidc_issuer: str | None = variable(
        None,
        "OIDC issuer whose tokens are accepted, such as "
        "`https://login.microsoftonline.com/TENANT/v2.0` for Entra ID.",
    )
    oidc_audience: str | None = variable(
        None,
        "Audience that tokens must be issued for: the application (client) id, or its URI. "
        "Required with an issuer.",
    )
    oidc_owner_claim: str = variable(
        "sub", "Claim of a token that names the owner of jobs, such as `oid` or `tid`."
    )
    oidc_scopes: dict[str, Scope] = variable(
        {"Muster.Submit": "submit", "Muster.Read": "read", "Muster.Admin": "admin"},
        "JSON object of the roles or scopes in a token, each with `submit`, `read` or `admin`.",
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
                    f"'{name}' in MUSTER_ALLOWED_HOSTS is not a host name; "
                    "write muster.example.org or *.example.org"
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
                    f"'{origin}' in MUSTER_ALLOWED_ORIGINS is not an origin; "
                    "write https://app.example.org, one for each"
                )
        return value

    @model_validator(mode="after")
    def _names_an_audience(self) -> AccessSection:
        if not self.oidc_issuer:
            return self
        if not self.oidc_audience:
            raise ValueError(
                "MUSTER_OIDC_ISSUER needs MUSTER_OIDC_AUDIENCE, too: without it, tokens for "
                "other applications would be accepted"
            )
        parts = urlsplit(self.oidc_issuer)
        if parts.scheme != "https" and not (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        ):
            raise ValueError(f"MUSTER_OIDC_ISSUER is '{self.oidc_issuer}'; it begins with https://")
        return self
