-- What the role may do that an instance connects as, and nothing else: applied behind sql/schema.sql by the role that
-- applies that, in the same transaction. The settings `peleja.role` and `peleja.verifier` (a SCRAM verifier, so that no
-- password gets into a log) come from the instance's configuration.
DO $$
DECLARE
    role text := current_setting('peleja.role');
    verifier text := nullif(current_setting('peleja.verifier'), '');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        EXECUTE format('CREATE ROLE %I', role);
    END IF;
    EXECUTE format(
        'ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS PASSWORD %L',
        role, verifier
    );
    EXECUTE format('REVOKE ALL ON users, departed FROM PUBLIC, %I', role);
    EXECUTE format('GRANT SELECT, INSERT ON users TO %I', role);
    EXECUTE format('GRANT SELECT ON departed TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION forget_old_departures() TO %I', role);
    -- What everybody may do in a database unless told otherwise.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    REVOKE EXECUTE ON FUNCTION forget_old_departures() FROM PUBLIC;
END
$$;
