"""/docs and /redoc in headless Chromium.

They show the API, send no request to another server, and keep to their policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import CHROMIUM_ARGUMENTS

NOTE_VIOLATIONS = """window.violations = [];
document.addEventListener('securitypolicyviolation', ({violatedDirective, blockedURI}) =>
    window.violations.push(`${violatedDirective} ${blockedURI}`));"""


@dataclass
class Browser:
    """A page, and what it did.

    Attributes:
        page: The page.
        requests: Addresses that it asked for.
        complaints: What the console showed, and uncaught errors.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.add_init_script(NOTE_VIOLATIONS)

    def assert_clean(self, own: str) -> None:
        """Assert that nothing was asked of another origin, nothing blocked, and nothing complained
        about.
        """
        assert [url for url in self.requests if not url.startswith((own, f"blob:{own}"))] == []
        assert self.page.evaluate("window.violations") == []
        assert self.complaints == []


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    """An empty page in Chromium."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield Browser(opened.new_page(viewport={"width": 1300, "height": 900}))
        opened.close()


@pytest.mark.browser
@pytest.mark.slow
def test_docs_and_redoc_need_nobody_else(make_stack, browser: Browser, tmp_path: Path) -> None:
    own = make_stack().url + "/"
    page = browser.page

    page.goto(f"{own}docs")
    page.get_by_role("button", name="Submit a recording").first.wait_for()
    health = page.locator(".opblock", has_text="/health/live")
    health.locator(".opblock-summary-control").click()
    health.get_by_text("Try it out").click()
    health.get_by_text("Execute", exact=True).click()
    answer = health.locator(".live-responses-table")
    answer.locator(".response-col_status", has_text="200").wait_for()
    assert '"status": "live"' in answer.inner_text().replace("\n", "")
    page.screenshot(path=tmp_path / "docs.png")
    browser.assert_clean(own)

    page.goto(f"{own}redoc")
    page.get_by_role("heading", name="Submit a recording").wait_for()
    page.get_by_placeholder("Search").fill("recount")
    page.locator("[data-role='search:results']").get_by_text(
        "Count again with other settings"
    ).wait_for()
    page.screenshot(path=tmp_path / "redoc.png")
    browser.assert_clean(own)
    assert f"{own}health/live" in browser.requests
