-- What people were told and is not over: known here only. What is lost of it is told again.
CREATE TABLE told (
    system   TEXT NOT NULL,
    channel  TEXT NOT NULL,
    notice   TEXT NOT NULL,   -- its key
    record   TEXT NOT NULL,   -- JSON
    PRIMARY KEY (system, channel, notice)
);
