"""Tables and indexes of the SQLite stores.

Times are milliseconds since 1970 (`_ms`), documents are JSON.

Every listing is a walk along one index. Each combination of filters that a listing supports has an
index that ends in (time, id). A job's plan and documents are in other tables than its row, because
SQLite rewrites whole rows and heartbeats are frequent.

A database file records how many of `VERSIONS` were applied to it. The missing versions are applied
when the file is opened. Released versions never change.
"""

from __future__ import annotations

_JOBS = (
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, camera TEXT, state TEXT NOT NULL, active INTEGER NOT NULL, attempt INTEGER NOT NULL,
        created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, heartbeat_ms INTEGER NOT NULL, idempotency_key TEXT,
        rendered_frames INTEGER NOT NULL, step_starts TEXT NOT NULL, step_failures TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE job_documents (job_id TEXT PRIMARY KEY, document TEXT NOT NULL)",
    "CREATE TABLE job_plans (job_id TEXT PRIMARY KEY, plan TEXT NOT NULL)",
    "CREATE TABLE done_segments (job_id TEXT NOT NULL, segment INTEGER NOT NULL, PRIMARY KEY (job_id, segment)) WITHOUT ROWID",
    "CREATE UNIQUE INDEX jobs_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE INDEX jobs_newest ON jobs (created_ms, id)",
    "CREATE INDEX jobs_state ON jobs (state, created_ms, id)",
    "CREATE INDEX jobs_camera ON jobs (camera, created_ms, id)",
    "CREATE INDEX jobs_camera_state ON jobs (camera, state, created_ms, id)",
    "CREATE INDEX jobs_owner ON jobs (owner, created_ms, id)",
    "CREATE INDEX jobs_owner_state ON jobs (owner, state, created_ms, id)",
    "CREATE INDEX jobs_owner_camera ON jobs (owner, camera, created_ms, id)",
    "CREATE INDEX jobs_owner_camera_state ON jobs (owner, camera, state, created_ms, id)",
    "CREATE INDEX jobs_stalled ON jobs (heartbeat_ms, id) WHERE active = 1",
    "CREATE TABLE workers (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, report TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX workers_at ON workers (at_ms)",
)

_STATS = (
    """CREATE TABLE stats (
        job_id TEXT PRIMARY KEY, attempt INTEGER NOT NULL, owner TEXT NOT NULL, camera TEXT, time_ms INTEGER NOT NULL,
        document TEXT NOT NULL
    )""",
    "CREATE INDEX stats_newest ON stats (time_ms, job_id)",
    "CREATE INDEX stats_owner ON stats (owner, time_ms, job_id)",
    "CREATE INDEX stats_camera ON stats (camera, time_ms, job_id)",
    "CREATE INDEX stats_owner_camera ON stats (owner, camera, time_ms, job_id)",
    """CREATE TABLE class_stats (
        job_id TEXT NOT NULL, class TEXT NOT NULL, owner TEXT NOT NULL, camera TEXT, time_ms INTEGER NOT NULL,
        unique_count INTEGER NOT NULL, peak INTEGER NOT NULL, PRIMARY KEY (job_id, class)
    ) WITHOUT ROWID""",
    "CREATE INDEX class_stats_newest ON class_stats (class, time_ms, job_id, unique_count, peak)",
    "CREATE INDEX class_stats_owner ON class_stats (class, owner, time_ms, job_id, unique_count, peak)",
    "CREATE INDEX class_stats_camera ON class_stats (class, camera, time_ms, job_id, unique_count, peak)",
    "CREATE INDEX class_stats_owner_camera ON class_stats (class, owner, camera, time_ms, job_id, unique_count, peak)",
)

_CALIBRATIONS = (
    """CREATE TABLE calibrations (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, camera TEXT, created_ms INTEGER NOT NULL, document TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX calibrations_owner ON calibrations (owner, created_ms, id)",
    "CREATE INDEX calibrations_owner_camera ON calibrations (owner, camera, created_ms, id)",
)

_ACCESS = (
    """CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, digest TEXT NOT NULL, owner TEXT NOT NULL, scopes TEXT NOT NULL, label TEXT NOT NULL,
        created_ms INTEGER NOT NULL, expires_ms INTEGER, revoked_ms INTEGER, last_used_ms INTEGER
    ) WITHOUT ROWID""",
    "CREATE INDEX api_keys_newest ON api_keys (created_ms, id)",
    "CREATE INDEX api_keys_owner ON api_keys (owner, created_ms, id)",
    "CREATE TABLE tickets (digest TEXT PRIMARY KEY, expires_ms INTEGER NOT NULL, document TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX tickets_expiry ON tickets (expires_ms)",
    "CREATE TABLE usage (owner TEXT NOT NULL, day TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (owner, day)) WITHOUT ROWID",
    "CREATE INDEX usage_day ON usage (day)",
)

_RETENTION = (
    "ALTER TABLE jobs ADD COLUMN expired INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX jobs_unexpired ON jobs (created_ms, id) WHERE active = 0 AND expired = 0",
)

_WEBHOOKS = (
    """CREATE TABLE webhook_events (
        id TEXT PRIMARY KEY, job_id TEXT NOT NULL, attempt INTEGER NOT NULL, look_ms INTEGER, document TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX webhook_events_job ON webhook_events (job_id, attempt)",
    "CREATE INDEX webhook_events_waiting ON webhook_events (look_ms, id) WHERE look_ms IS NOT NULL",
)

_LEDGER = (
    "CREATE TABLE storage_identity (one INTEGER PRIMARY KEY CHECK (one = 1), document TEXT NOT NULL)",
    """CREATE TABLE tombstones (
        key TEXT PRIMARY KEY, job_id TEXT NOT NULL, reason TEXT NOT NULL, written_ms INTEGER NOT NULL, done_ms INTEGER
    ) WITHOUT ROWID""",
    "CREATE INDEX tombstones_unfinished ON tombstones (written_ms, key) WHERE done_ms IS NULL",
    "CREATE INDEX tombstones_done ON tombstones (done_ms) WHERE done_ms IS NOT NULL",
    "CREATE TABLE notes (name TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID",
)

_HOLDS = (
    """CREATE TABLE holds (
        owner TEXT NOT NULL, day TEXT NOT NULL, id TEXT NOT NULL, amount INTEGER NOT NULL, until_ms INTEGER NOT NULL, kind TEXT NOT NULL,
        PRIMARY KEY (owner, day, id)
    ) WITHOUT ROWID""",
    "CREATE INDEX holds_day ON holds (day)",
)

VERSIONS = (_JOBS + _STATS, _CALIBRATIONS, _ACCESS, _WEBHOOKS, _RETENTION, _LEDGER, _HOLDS)
"""The statements that upgrade each version to the next."""
