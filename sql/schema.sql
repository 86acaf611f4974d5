-- The whole schema, applied by every instance at its start, in one transaction under an advisory lock; each statement
-- may find its work done. Written for PostgreSQL 15 and later, and a superuser (`join_texts` needs one).

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Folds away case over full Unicode. By way of upper case, because characters that share an upper-case form (σ and ς,
-- ß and ss) are the same letter. What that leaves: ICU ends a word in ς where it lowers Σ, and takes ẞ for its own
-- upper case.
CREATE OR REPLACE FUNCTION fold(input text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(replace(lower(upper(input COLLATE "und-x-icu")), 'ς', 'σ'), 'ß', 'ss');

-- array_to_string is only stable, because some types print differently by session; text does not, and a generated
-- column wants an immutable function.
CREATE OR REPLACE FUNCTION join_texts(texts text[], separator text) RETURNS text
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE
AS 'array_to_text';

CREATE TABLE IF NOT EXISTS users (
    id uuid PRIMARY KEY,
    nickname varchar(32) COLLATE "C" NOT NULL UNIQUE,
    fullname varchar(100) NOT NULL,
    dob date NOT NULL,
    stack text[]
);

-- All that a search looks at, folded. U+001F stands between fields: a term without it cannot match across two.
-- Written out rather than by calling fold(): an SQL function in a generated column costs a start of the executor a row.
ALTER TABLE users ADD COLUMN IF NOT EXISTS search text COLLATE "C" GENERATED ALWAYS AS (
    replace(replace(
        lower(upper(
            (nickname || E'\x1f' || fullname || coalesce(E'\x1f' || join_texts(stack, E'\x1f'), '')) COLLATE "und-x-icu"
        )),
        'ς', 'σ'), 'ß', 'ss'
    )
) STORED;

-- A row has a hundred trigrams, and each has its own place in the index: moving them there in groups takes a fifth of the
-- time. The instances do so a few times a second (src/store/sweep.rs); the limit, in kB, only bounds the list if they do not.
CREATE INDEX IF NOT EXISTS users_search ON users USING gin (search gin_trgm_ops)
    WITH (fastupdate = on, gin_pending_list_limit = 16384);
