-- What refers to the objects. Digests are SHA-256 of the objects' bytes, times milliseconds since 1970 (UTC).

CREATE TABLE recordings (
    stream_id   TEXT PRIMARY KEY NOT NULL,
    channel_id  TEXT NOT NULL,
    channel     TEXT NOT NULL,
    started_ms  BIGINT NOT NULL,
    -- recording, sealed (its stream ended), cut (the server or the recording stopped before)
    state       TEXT NOT NULL,
    pinned      BOOLEAN NOT NULL,
    -- Of a title: root of its manifest, length, bytes of its segments.
    manifest    BLOB,
    duration_ms BIGINT NOT NULL,
    bytes       BIGINT NOT NULL
);
CREATE INDEX recordings_age ON recordings (started_ms);
CREATE INDEX recordings_channel ON recordings (channel_id, started_ms);

-- track: what players are told of it, DAG-CBOR.
CREATE TABLE renditions (
    stream_id TEXT NOT NULL REFERENCES recordings (stream_id) ON DELETE CASCADE,
    name      TEXT NOT NULL,
    position  BIGINT NOT NULL,
    role      TEXT NOT NULL,
    track     BLOB NOT NULL,
    PRIMARY KEY (stream_id, name)
);

CREATE TABLE periods (
    stream_id     TEXT NOT NULL REFERENCES recordings (stream_id) ON DELETE CASCADE,
    number        BIGINT NOT NULL,
    ticks         BIGINT NOT NULL,
    timescale     BIGINT NOT NULL,
    origin_utc_ms BIGINT NOT NULL,
    PRIMARY KEY (stream_id, number)
);

CREATE TABLE inits (
    stream_id TEXT NOT NULL REFERENCES recordings (stream_id) ON DELETE CASCADE,
    rendition TEXT NOT NULL,
    number    BIGINT NOT NULL,
    digest    BLOB NOT NULL,
    bytes     BIGINT NOT NULL,
    PRIMARY KEY (stream_id, rendition, number)
);
CREATE INDEX inits_object ON inits (digest);

-- digest is NULL for a gap.
CREATE TABLE segments (
    stream_id     TEXT NOT NULL REFERENCES recordings (stream_id) ON DELETE CASCADE,
    rendition     TEXT NOT NULL,
    msn           BIGINT NOT NULL,
    digest        BLOB,
    bytes         BIGINT NOT NULL,
    init          BIGINT NOT NULL,
    period        BIGINT NOT NULL,
    discontinuity BOOLEAN NOT NULL,
    independent   BOOLEAN NOT NULL,
    timescale     BIGINT NOT NULL,
    start         BIGINT NOT NULL,
    duration      BIGINT NOT NULL,
    utc_ms        BIGINT NOT NULL,
    PRIMARY KEY (stream_id, rendition, msn)
);
CREATE INDEX segments_object ON segments (digest);

-- Nodes of the manifests.
CREATE TABLE nodes (
    stream_id TEXT NOT NULL REFERENCES recordings (stream_id) ON DELETE CASCADE,
    digest    BLOB NOT NULL,
    PRIMARY KEY (stream_id, digest)
);
CREATE INDEX nodes_object ON nodes (digest);

-- Every object that is kept. How often one is referred to follows from the tables above.
CREATE TABLE objects (
    digest BLOB PRIMARY KEY NOT NULL,
    bytes  BIGINT NOT NULL
);
