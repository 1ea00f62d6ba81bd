-- The outbox: what happened, in the order of commit. seq rises by one with each row; data is JSON.
CREATE TABLE events (
    seq        BIGINT PRIMARY KEY NOT NULL,
    id         TEXT NOT NULL,
    type       TEXT NOT NULL,
    at         BIGINT NOT NULL,
    channel    TEXT NOT NULL,
    channel_id TEXT NOT NULL,
    stream_id  TEXT,
    data       TEXT NOT NULL
);
CREATE INDEX events_at ON events (at);
