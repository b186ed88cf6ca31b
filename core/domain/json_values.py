"""JSON whose content the code that carries it does not know."""

from __future__ import annotations

from pydantic import JsonValue

JsonObject = dict[str, JsonValue]
