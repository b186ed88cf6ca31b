"""The section of the database."""

from __future__ import annotations

from typing import ClassVar

from core.config.data_folder import DataSection
from core.config.variables import variable


class DatabaseSection(DataSection):
    """Which database keeps the records: a MongoDB server, or an SQLite file in the data folder."""

    title: ClassVar[str] = "Database"

    mongo_uri: str | None = variable(
        None,
        "Connection string of MongoDB or Azure DocumentDB.",
        names=("MONGO_URI", "MONGO_DETAILS"),
        secret=True,
        default_text="an SQLite file in the data folder",
    )
    mongo_database: str = variable("muster", "Name of the database on that server.")
