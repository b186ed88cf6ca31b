"""The sections of the limits of one submission, one owner and one job."""

from __future__ import annotations

from typing import ClassVar

from core.config.variables import Section, variable


class SubmissionSection(Section):
    """The largest submission."""

    title: ClassVar[str] = "Submissions"

    max_upload_bytes: int = variable(
        64 * 2**30, "Most bytes of video in one job.", unit="bytes", ge=1
    )
    max_files: int = variable(50, "Most video files in one job.", ge=1)


class QuotaSection(Section):
    """How much one owner may use."""

    title: ClassVar[str] = "Quotas"

    quota_day_bytes: int = variable(
        2**40,
        "Bytes that one owner may submit in a day (UTC). 0: no limit.",
        unit="bytes",
        ge=0,
    )
    quota_jobs: int = variable(
        500, "Jobs of one owner that wait or run at the same time. 0: no limit.", ge=0
    )
    quota_links: int = variable(
        100, "Direct-upload links of one owner that are valid at the same time. 0: no limit.", ge=0
    )


class WorkSection(Section):
    """How much work one job, and one owner in a day, may cause.

    See `docs/explanation/quotas.md`.
    """

    title: ClassVar[str] = "Quotas"

    max_work: int = variable(
        10_000_000,
        "Most work in one job: frames times the slices that tiles make. 0: no limit.",
        unit="detector runs",
        ge=0,
    )
    quota_day_work: int = variable(
        50_000_000,
        "Work of one owner in a day (UTC). Further work waits for the next day. 0: no limit.",
        unit="detector runs",
        ge=0,
    )
