-- events: the types that are sent, with one space between; empty: all. from_seq: events up to this one are not sent.
CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY NOT NULL,
    url           TEXT NOT NULL,
    label         TEXT NOT NULL,
    events        TEXT NOT NULL,
    enabled       BOOLEAN NOT NULL,
    created_at    BIGINT NOT NULL,
    from_seq      BIGINT NOT NULL,
    failing_since BIGINT
);

-- One row for each event and webhook: the queue and the log. state: pending, delivered, failed; at: of the last attempt.
CREATE TABLE webhook_deliveries (
    id          TEXT PRIMARY KEY NOT NULL,
    webhook_id  TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_seq   BIGINT NOT NULL,
    event_id    TEXT NOT NULL,
    type        TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempt     BIGINT NOT NULL,
    next_at     BIGINT NOT NULL,
    give_up_at  BIGINT NOT NULL,
    status      BIGINT,
    error       TEXT,
    at          BIGINT,
    duration_ms BIGINT
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, state, next_at);
