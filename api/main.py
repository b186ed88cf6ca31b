"""The server's application, as in `uvicorn api.main:app --port 8000`.

Loading this module sets up the process: it logs JSON lines, and its files are private.
"""

from __future__ import annotations

from api.app import create_app
from core.config.processes import ApiConfig
from core.config.unknown import warn_of_unknown_variables
from core.observability.logs import configure_logging
from core.observability.redaction import secrets_of
from core.private_files import keep_files_private


def begin(config: ApiConfig) -> None:
    """Apply the operator's log level, and keep the process's secrets out of the logs.

    Log a warning for each unknown variable.

    Raises:
        InvalidInput: No storage is configured (code `no_storage`).
    """
    config.storage.require()
    secrets = secrets_of(config.storage, config.database, config.webhooks)
    configure_logging(config.logs.log_level, secrets=secrets)
    warn_of_unknown_variables()


# The configuration is read when the application starts, but the server logs before that.
configure_logging("INFO")
keep_files_private()
app = create_app(on_config=begin)
