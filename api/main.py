"""`uvicorn api.main:app --port 8000`."""

from __future__ import annotations

from api.app import create_app

app = create_app()
