-- Both SQLite and PostgreSQL accept this text: TEXT and BIGINT only.
-- Times are RFC 3339, UTC, with milliseconds, and so sort as text.

CREATE TABLE repositories (
    system        TEXT NOT NULL,
    name          TEXT NOT NULL,
    location      TEXT NOT NULL,
    repository_id TEXT,
    -- When it was last listed whole.
    seen          TEXT,
    -- Why it could not be listed the last time, if it could not.
    problem       TEXT,
    PRIMARY KEY (system, name)
);

CREATE TABLE runs (
    system  TEXT NOT NULL,
    id      TEXT NOT NULL,
    verb    TEXT NOT NULL,
    begun   TEXT NOT NULL,
    ended   TEXT NOT NULL,
    host    TEXT NOT NULL,
    outcome TEXT NOT NULL,
    -- The journal's record, JSON.
    record  TEXT NOT NULL,
    PRIMARY KEY (system, id)
);

CREATE TABLE backups (
    system         TEXT NOT NULL,
    id             TEXT NOT NULL,
    source         TEXT NOT NULL,
    kind           TEXT NOT NULL,
    run            TEXT NOT NULL,
    recovery_point TEXT NOT NULL,
    begun          TEXT NOT NULL,
    ended          TEXT NOT NULL,
    host           TEXT NOT NULL,
    plain_size     BIGINT NOT NULL,
    stored_size    BIGINT NOT NULL,
    -- The manifest, JSON.
    manifest       TEXT NOT NULL,
    PRIMARY KEY (system, id)
);

CREATE TABLE artifacts (
    system       TEXT NOT NULL,
    backup       TEXT NOT NULL,
    name         TEXT NOT NULL,
    plain_size   BIGINT NOT NULL,
    plain_sha256 TEXT NOT NULL,
    stored_size  BIGINT NOT NULL,
    objects      BIGINT NOT NULL,
    PRIMARY KEY (system, backup, name)
);

-- Which repository holds which backup.
CREATE TABLE copies (
    system     TEXT NOT NULL,
    backup     TEXT NOT NULL,
    repository TEXT NOT NULL,
    -- stored, checked, proven
    state      TEXT NOT NULL,
    -- When a listing first showed it missing, if it is.
    vanished   TEXT,
    checked_at TEXT,
    -- The last check, JSON.
    last_check TEXT,
    PRIMARY KEY (system, backup, repository)
);

CREATE INDEX backups_by_source ON backups (system, source, begun);
CREATE INDEX runs_by_begin ON runs (system, begun);
