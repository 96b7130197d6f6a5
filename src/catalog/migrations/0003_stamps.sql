-- What the listings of the repositories said of manifests and of records of the journal when they were last read and
-- accepted: an object that was changed since is read again.

CREATE TABLE stamps (
    system     TEXT NOT NULL,
    repository TEXT NOT NULL,
    -- Its key.
    object     TEXT NOT NULL,
    stamp      TEXT NOT NULL,
    PRIMARY KEY (system, repository, object)
);
