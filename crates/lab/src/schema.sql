CREATE TABLE IF NOT EXISTS users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- id is made when an opinion is accepted, so that storing it again changes nothing.
CREATE TABLE IF NOT EXISTS opinions (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    name text NOT NULL,
    text text NOT NULL,
    queued boolean NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Who sent it, as the address said with ?run=; empty where nobody was named.
ALTER TABLE opinions ADD COLUMN IF NOT EXISTS run text NOT NULL DEFAULT '';

-- What was switched while the lab runs; a setting that is missing here is what its process was told at its start.
CREATE TABLE IF NOT EXISTS settings (
    name text PRIMARY KEY,
    value text NOT NULL
);

CREATE INDEX IF NOT EXISTS opinions_latest ON opinions (created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS opinions_stored ON opinions (stored_at DESC) WHERE queued;
CREATE INDEX IF NOT EXISTS opinions_of_runs ON opinions (run, created_at) WHERE queued;
