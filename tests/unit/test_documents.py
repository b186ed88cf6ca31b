"""The documentation: it builds without a warning, its links lead somewhere, its generated pages are
current.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.reference.pages import FOLDER, PAGES
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
DOCUMENTS = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
]
MOST_LINES, MOST_COLUMNS = 150, 100
LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:src|href)=\"([^\"]+)\"")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and MyST give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", document.read_text(), re.M)}


def dead_links(document: Path) -> list[str]:
    """Return the links of a document within the repository that lead nowhere."""
    dead = []
    for match in LINK.finditer(without_code(document.read_text())):
        target, _, place = (match[1] or match[2]).partition("#")
        if re.match(r"\w+:", target):
            continue
        path = (document.parent / target).resolve() if target else document
        if not path.exists() or (place and place not in anchors(path)):
            dead.append(match[0])
    return dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    assert dead_links(document) == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# A page\n[1](gone.md) [2](page.md#a-page) [3](#b-page) [4](https://x.org)\n"
    )
    assert dead_links(document) == ["](gone.md)", "](#b-page)"]


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "run python -m infra.reference"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-n"]
        + ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert (built.returncode, built.stderr) == (0, "")
    pages = {
        path.relative_to(DOCS).with_suffix(".html") for path in DOCUMENTS if DOCS in path.parents
    }
    html = tmp_path / "html"
    assert pages <= {path.relative_to(html) for path in html.rglob("*.html")}
    codes = (html / "reference" / "error-codes.html").read_text()
    assert '<a id="code-job_not_found"></a>' in codes
    loaded = re.findall(
        r"<(?:script|link|img)[^>]*(?:src|href)=\"(https?:[^\"]*)",
        "".join(path.read_text() for path in html.rglob("*.html")),
    )
    assert loaded == [], "a page loads something from another server"


def test_the_readme_is_short() -> None:
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    assert len(lines) <= MOST_LINES
    long = [line for line in lines if len(line) > MOST_COLUMNS and not line.startswith(("|", "[<"))]
    assert long == []


def test_pictures_of_the_documentation_are_small() -> None:
    assert (DOCS / "images" / "contact-sheet.jpg").stat().st_size <= 150 * 1024
