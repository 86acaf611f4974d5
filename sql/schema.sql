-- The whole schema, applied at an instance's start (src/store/schema.rs), in one transaction under an advisory lock, unless the table's
-- comment says that it is there as it stands here; each statement may find its work done, or a table of an earlier schema.
-- Written for PostgreSQL 15 and later.

-- The number of the transaction that calls it, under a name that may stand in a generated column. IMMUTABLE is not true,
-- and does no harm: PostgreSQL computes such a column anew with every INSERT and every UPDATE of one of the arguments, and
-- would only compute it once for arguments that are constants, which columns are not.
CREATE OR REPLACE FUNCTION transaction_of(VARIADIC "any") RETURNS xid8
LANGUAGE internal IMMUTABLE AS 'pg_current_xact_id';

CREATE TABLE IF NOT EXISTS users (
    id uuid PRIMARY KEY,
    nickname varchar(32) COLLATE "C" NOT NULL UNIQUE,
    fullname varchar(100) NOT NULL,
    dob date NOT NULL,
    stack text[]
);

-- The transaction that wrote the row: an instance asks for the rows of all transactions that it has not seen, whoever
-- stored them (src/store/follow.rs). Generated, so that nobody can write it himself: neither a dump that is put back, in
-- another cluster with numbers of its own, nor a trigger that is off (session_replication_role).
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'written' AND attgenerated = 's'
    ) THEN
        ALTER TABLE users
            DROP COLUMN IF EXISTS written,
            ADD COLUMN written xid8 NOT NULL
                GENERATED ALWAYS AS (transaction_of(id, nickname, fullname, dob, stack)) STORED;
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS users_written ON users (written);

-- Who is gone from the table, and by which transaction; without an id, everyone is. Instances have old rows taken away.
CREATE TABLE IF NOT EXISTS departed (
    id uuid,
    at timestamptz NOT NULL DEFAULT now(),
    written xid8 NOT NULL GENERATED ALWAYS AS (transaction_of(id)) STORED
);

CREATE INDEX IF NOT EXISTS departed_written ON departed (written);

-- Whoever may take people away may write down that they are gone, whatever the schemas that he looks for tables in.
CREATE OR REPLACE FUNCTION write_down_departures() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO departed (id) SELECT id FROM before;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO departed (id) SELECT id FROM before EXCEPT SELECT id FROM after;
    ELSE
        INSERT INTO departed (id) VALUES (NULL);
    END IF;
    RETURN NULL;
END
$$;

-- All that an instance may take away, and the one way to do it: its own role may not delete (sql/role.sql).
CREATE OR REPLACE FUNCTION forget_old_departures() RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DELETE FROM departed WHERE at < now() - interval '1 hour'
$$;

DROP TRIGGER IF EXISTS users_changed ON users;
DROP FUNCTION IF EXISTS tell_of_change();
CREATE OR REPLACE TRIGGER users_deleted AFTER DELETE ON users REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION write_down_departures();
CREATE OR REPLACE TRIGGER users_updated AFTER UPDATE ON users REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION write_down_departures();
CREATE OR REPLACE TRIGGER users_truncated AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION write_down_departures();
-- With session_replication_role = replica too.
ALTER TABLE users ENABLE ALWAYS TRIGGER users_deleted;
ALTER TABLE users ENABLE ALWAYS TRIGGER users_updated;
ALTER TABLE users ENABLE ALWAYS TRIGGER users_truncated;

-- Folds away case over full Unicode, as src/memory/fold.rs does: by way of upper case, because characters that share an
-- upper-case form (σ and ς, ß and ss) are the same letter. What that leaves: ICU ends a word in ς where it lowers Σ, and
-- takes ẞ for its own upper case.
CREATE OR REPLACE FUNCTION fold(input text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(replace(lower(upper(input COLLATE "und-x-icu")), 'ς', 'σ'), 'ß', 'ss');
