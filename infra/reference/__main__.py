"""`python -m infra.reference`: write the generated pages of docs/reference."""

from __future__ import annotations

from infra.reference.pages import FOLDER, PAGES


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
