-- Signing keys of path tokens. Only their names are here: the secret of each is derived from the server secret.

CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
