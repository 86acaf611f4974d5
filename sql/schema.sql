-- The whole schema, applied by an instance at its start, in one transaction under an advisory lock, unless the table's
-- comment says that it is there as it stands here; each statement may find its work done. Written for PostgreSQL 15 and
-- later.

CREATE TABLE IF NOT EXISTS users (
    id uuid PRIMARY KEY,
    nickname varchar(32) COLLATE "C" NOT NULL UNIQUE,
    fullname varchar(100) NOT NULL,
    dob date NOT NULL,
    stack text[],
    -- The transaction that wrote the row: an instance asks for the rows of all transactions that it has not seen, whoever
    -- stored them (src/store/follow.rs).
    written xid8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE INDEX IF NOT EXISTS users_written ON users (written);

-- An instance answers from memory; whoever changes or deletes people tells it so.
CREATE OR REPLACE FUNCTION tell_of_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('users_changed', '');
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER users_changed AFTER UPDATE OR DELETE OR TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION tell_of_change();

-- Folds away case over full Unicode, as src/memory/fold.rs does: by way of upper case, because characters that share an
-- upper-case form (σ and ς, ß and ss) are the same letter. What that leaves: ICU ends a word in ς where it lowers Σ, and
-- takes ẞ for its own upper case.
CREATE OR REPLACE FUNCTION fold(input text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(replace(lower(upper(input COLLATE "und-x-icu")), 'ς', 'σ'), 'ß', 'ss');
