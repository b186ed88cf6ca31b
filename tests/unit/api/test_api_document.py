"""The OpenAPI document: names of operations, typed responses, and an example of each error."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.access import OPEN_PATHS
from api.app import create_app
from api.problems import Problem
from tests.support.api_stand import running_api

VERBS = (
    *("submit", "list", "get", "create", "put", "delete"),
    *("cancel", "recount", "retry", "revoke", "check"),
)
DOCUMENT = create_app().openapi()
OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{method.upper()} {path}": (path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def test_operation_ids_are_names_that_a_person_would_choose() -> None:
    ids = {key: operation["operationId"] for key, (_, operation) in OPERATIONS.items()}
    assert len(set(ids.values())) == len(ids)
    # FastAPI's default ends with the path and the method.
    verbs = "|".join(VERBS)
    assert [name for name in ids.values() if not re.fullmatch(f"({verbs})_[a-z_]+", name)] == []
    assert [
        name for name in ids.values() if re.search("_(get|post|put|delete)$|api_v1|_id", name)
    ] == []
    assert ids["POST /api/v1/jobs"] == "submit_job"
    assert ids["POST /api/v1/jobs/{job_id}/recount"] == "recount_job"
    assert ids["GET /api/v1/jobs/{job_id}/results"] == "get_results"


def test_every_operation_has_a_tag_a_summary_and_a_description() -> None:
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for key, (_, operation) in OPERATIONS.items():
        assert set(operation["tags"]) <= tags and len(operation["tags"]) == 1, key
        assert 8 <= len(operation["summary"]) <= 60, key
        assert operation["description"][0].isupper() and operation["description"].endswith("."), key


def test_every_parameter_has_a_description() -> None:
    missing = [
        (key, parameter["name"])
        for key, (_, operation) in OPERATIONS.items()
        for parameter in operation.get("parameters", ())
        if not (parameter.get("description") or parameter["schema"].get("description"))
    ]
    assert missing == []


def test_every_response_is_typed() -> None:
    for key, (_, operation) in OPERATIONS.items():
        for status, response in operation["responses"].items():
            if status in ("204", "304"):
                assert "content" not in response, key
                continue
            for kind, content in response["content"].items():
                schema = content["schema"]
                typed = "$ref" in schema or schema["type"] in ("array", "string")
                assert typed, (key, status, kind, schema)


def test_every_error_has_examples_that_are_real_problems() -> None:
    for key, (path, operation) in OPERATIONS.items():
        errors = {s: r for s, r in operation["responses"].items() if int(s) >= 400}
        for status, response in errors.items():
            content = response["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, (key, status)
            assert content["examples"], (key, status)
            for code, example in content["examples"].items():
                value = example["value"]
                Problem.model_validate(value, strict=True)
                assert (value["status"], value["code"]) == (int(status), code), key
                place = re.sub(r"\{[^}]+\}", "[^/{}]+", path)
                assert re.fullmatch(place, value["instance"]), (key, value["instance"])


def test_errors_are_documented_only_where_they_can_occur() -> None:
    for key, (path, operation) in OPERATIONS.items():
        statuses, has_body = set(operation["responses"]), "requestBody" in operation
        is_open = path in OPEN_PATHS
        assert ({"401", "403", "429"} & statuses == set()) == is_open, key
        assert ({"408", "413"} <= statuses) == has_body, key
        assert ("408" in statuses) == ("413" in statuses), key
    for key, expected in {
        "GET /api/v1/jobs/{job_id}": {"404"},
        "DELETE /api/v1/jobs/{job_id}": {"404"},
        "POST /api/v1/jobs/{job_id}/cancel": {"404", "409"},
        "GET /api/v1/whoami": set(),
        "GET /all_stats": set(),
    }.items():
        own = {s for s in OPERATIONS[key][1]["responses"] if s >= "400"}
        assert own - {"401", "403", "429", "500", "503"} == expected, key


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/api/v1/jobs/{job_id}", 404),
        ("GET", "/api/v1/jobs/{job_id}/artifacts/{name}", 404),
        ("GET", "/api/v1/jobs", 400),
        ("POST", "/submit-job", 415),
        ("GET", "/latest_stats", 404),
        ("DELETE", "/api/v1/calibrations/{name}", 404),
    ],
)
async def test_an_example_is_what_a_caller_gets(method: str, path: str, status: int) -> None:
    responses = OPERATIONS[f"{method} {path}"][1]["responses"]
    examples = responses[str(status)]["content"]["application/problem+json"]["examples"]
    first = next(iter(examples.values()))["value"]
    query = {"cursor": "~"} if status == 400 else {}
    async with running_api() as api:
        answer = await api.client.request(method, first["instance"], params=query)
    assert answer.status_code == status
    got = answer.json()
    assert got == examples[got["code"]]["value"]
