"""`uvicorn api.main:app --port 8000`. Loading this module begins a server's process: its logs are JSON lines from here on."""

from __future__ import annotations

from pydantic import ValidationError

from api.app import create_app
from core.config import Config
from core.logs import configure_logging
from core.redaction import secrets_of


def start_logging() -> None:
    """Write this process's logs as the configuration says. What is wrong with that is reported when the application starts."""
    try:
        config = Config()
    except ValidationError:
        configure_logging("INFO")
    else:
        configure_logging(config.log_level, secrets=secrets_of(config))


start_logging()
app = create_app()
