"""The JSON Schema of `results.json`, generated from the typed results.

python -m ml_engine.results.schema
"""

from __future__ import annotations

import json
from pathlib import Path

from core.domain.results import RESULTS_VERSION, Results

SCHEMA_PATH = Path(__file__).with_name("results.schema.json")


def schema_text() -> str:
    """Return the schema in the form of the committed file."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:muster:results:{RESULTS_VERSION}",
        **Results.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
