-- Shared dialect of SQLite and PostgreSQL: text ids, BIGINT milliseconds since 1970 (UTC), BOOLEAN, JSON as TEXT.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

CREATE TABLE channels (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL UNIQUE,
    private    BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);

-- digest: hex HMAC-SHA256 of the key under the server secret. The key itself is never stored.
CREATE TABLE stream_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    digest     TEXT NOT NULL UNIQUE,
    prefix     TEXT NOT NULL,
    label      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    used_at    BIGINT
);
CREATE INDEX stream_keys_channel ON stream_keys (channel_id, created_at);

CREATE TABLE admin_tokens (
    id         TEXT PRIMARY KEY NOT NULL,
    digest     TEXT NOT NULL UNIQUE,
    prefix     TEXT NOT NULL,
    label      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- source: what the publisher sent, as JSON; state: starting, live, reconnecting, ended, failed.
CREATE TABLE streams (
    id         TEXT PRIMARY KEY NOT NULL,
    channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    state      TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ended_at   BIGINT,
    source     TEXT,
    reason     TEXT
);
CREATE INDEX streams_channel ON streams (channel_id, started_at);
CREATE INDEX streams_state ON streams (state);
