"""JSON whose content is opaque to the code that passes it on."""

from __future__ import annotations

from pydantic import JsonValue

JsonObject = dict[str, JsonValue]
