-- What a token may do: words of `read`, `publish` and `admin` with one space between. Tokens made before may do all.
ALTER TABLE admin_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT 'read publish admin';
