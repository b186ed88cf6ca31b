"""The pages /docs and /redoc come with the API, with a policy that lets nothing else in."""

from __future__ import annotations

import re

import pytest

from tests.support.api_stand import ApiStand, running_api

PAGES = {
    "/docs": ["docs/start.js", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css"],
    "/redoc": ["redoc/redoc.standalone.js"],
}


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_and_all_that_it_names_come_from_the_api(api: ApiStand, page: str) -> None:
    answer = await api.client.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href|spec-url)="([^"]+)"', answer.text)
    # Relative addresses: the API may be reached below a proxy's prefix.
    assert sorted(set(named) - {"data:,", "openapi.json"}) == PAGES[page]
    for path in PAGES[page]:
        asset = await api.client.get(f"/{path}")
        assert asset.status_code == 200
        assert re.match("(text|application)/(javascript|css)", asset.headers["content-type"]), path
        assert asset.headers["x-content-type-options"] == "nosniff"
        assert (await api.client.head(f"/{path}")).headers["content-length"] == str(
            len(asset.content)
        )


@pytest.mark.parametrize("page", PAGES)
async def test_a_pages_policy_lets_nothing_in_from_elsewhere(api: ApiStand, page: str) -> None:
    policy = dict(
        part.split(maxsplit=1)
        for part in (await api.client.get(page)).headers["content-security-policy"].split("; ")
    )
    assert (
        policy["default-src"]
        == policy["base-uri"]
        == policy["form-action"]
        == policy["frame-ancestors"]
        == "'none'"
    )
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    for sources in policy.values():
        assert all(
            re.fullmatch(r"'none'|'self'|'sha256-[\w+/=]+'|data:|blob:", source)
            for source in sources.split()
        ), sources


async def test_no_other_file_is_served(api: ApiStand) -> None:
    for path in (
        "/docs/index.html",
        "/docs/LICENSE",
        "/docs/redoc.standalone.js",
        "/docs/%2e%2e%2fREADME.md",
        "/redoc/start.js",
        "/docs/",
    ):
        answer = await api.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found"), path


async def test_the_root_leads_to_the_docs(api: ApiStand) -> None:
    answer = await api.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "docs")
    assert (await api.client.get("/", follow_redirects=True)).url.path == "/docs"


async def test_they_are_as_closed_as_every_route(api: ApiStand) -> None:
    for path in (
        "/",
        "/docs",
        "/docs/start.js",
        "/redoc",
        "/redoc/redoc.standalone.js",
        "/openapi.json",
    ):
        answer = await api.client.get(path, headers={"X-Forwarded-For": "192.0.2.7"})
        assert (answer.status_code, answer.json()["code"]) == (401, "credentials_required"), path
