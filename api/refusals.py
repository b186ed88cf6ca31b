"""The gate's refusals, the one place for each code and sentence."""

from __future__ import annotations

from core.domain.access import Scope
from core.errors import Forbidden, Unauthenticated


def missing_scope(needed: Scope) -> Forbidden:
    """The error of a caller whose key or token lacks a scope."""
    return Forbidden(
        f"This request needs the scope '{needed}', which your key or token lacks.",
        code="missing_scope",
        scope=needed,
    )


def key_required() -> Unauthenticated:
    """The error of a caller that needs a key and has none."""
    return Unauthenticated(
        "Send a key as 'Authorization: Bearer muster_…' or 'X-API-Key'. Only requests "
        "from the server's own machine, not through a proxy, need none. The operator "
        "creates keys with `muster keys create`, in a container with `python -m api.keys create`."
    )


def foreign_host() -> Forbidden:
    """The error of a request under a host name that the operator has not allowed."""
    return Forbidden(
        "Unknown host name. The operator can allow it in MUSTER_ALLOWED_HOSTS.",
        code="foreign_host",
    )


def foreign_origin() -> Forbidden:
    """The error of a request from a web page of an origin that the operator has not allowed."""
    return Forbidden(
        "Requests from this origin are not allowed. "
        "The operator can allow it in MUSTER_ALLOWED_ORIGINS.",
        code="foreign_origin",
    )
