"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from core.domain.names import CLEANED

JobId = Annotated[str, Path(description="Id of the job.")]
Name = Annotated[str, Path(description="Name of the calibration.")]
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items on the page.")]
Cursor = Annotated[
    str | None, Query(description="`next_cursor` of the previous page; none for the first page.")
]
Camera = Annotated[
    str | None, CLEANED, Query(max_length=80, description="Only items of this camera.")
]
