//! What the role may do that an instance connects as, and how it comes to be.

use std::process::Command;
use std::time::Duration;

use arena::stack::process::wait_until;
use nix::sys::signal::Signal;
use postgres::error::SqlState;
use postgres::{Client, NoTls};

use crate::http::{get, json_request, post, repeatable_create, request, send_unix};
use crate::stack::Stack;

const PERSON: &str = r#"{"nickname":"n","fullname":"f","dob":"2000-01-01"}"#;

/// Of a create that is sent until it is acknowledged.
const ID: &str = "00000000000000000000000000000001";

/// The other client's connection string with another role in it.
fn parameters(stack: &Stack, role: &str) -> String {
    stack.database_parameters().replace("user=postgres password=rinha", role)
}

fn instance_s_role(stack: &Stack) -> Client {
    Client::connect(&parameters(stack, "user=peleja password=peleja"), NoTls).unwrap()
}

#[test]
fn instances_may_find_and_add_people_and_nothing_else() {
    let stack = Stack::own();
    assert_eq!(post(stack.address(), "/users", PERSON).status, 201);
    let mut everything = stack.database();
    let of_instances =
        "SELECT string_agg(DISTINCT usename, ' ') FROM pg_stat_activity WHERE application_name = 'peleja'";
    let roles: String = everything.query_one(of_instances, &[]).unwrap().get(0);
    assert_eq!(roles, "peleja");
    let granted = "SELECT string_agg(table_name || ' ' || privilege_type, ', ' ORDER BY table_name, privilege_type) \
        FROM information_schema.table_privileges WHERE grantee IN ('peleja', 'PUBLIC') AND table_schema = 'public'";
    let granted: String = everything.query_one(granted, &[]).unwrap().get(0);
    assert_eq!(granted, "departed SELECT, users INSERT, users SELECT");

    let mut role = instance_s_role(&stack);
    for allowed in [
        "SELECT count(*) FROM users",
        "SELECT count(*) FROM departed",
        "LISTEN news",
        "SELECT forget_old_departures()",
        "INSERT INTO users VALUES (gen_random_uuid(), 'other', 'f', '2000-01-01')",
    ] {
        role.batch_execute(allowed).unwrap_or_else(|error| panic!("{allowed}: {error}"));
    }
    for refused in [
        "UPDATE users SET fullname = ''",
        "DELETE FROM users",
        "TRUNCATE users",
        "DROP TABLE users",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "DO $$ BEGIN LOCK TABLE users; END $$",
        "CREATE TRIGGER mine AFTER INSERT ON users EXECUTE FUNCTION write_down_departures()",
        "INSERT INTO departed DEFAULT VALUES",
        "DELETE FROM departed",
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "ALTER ROLE peleja SUPERUSER",
        "SET ROLE postgres",
        "ALTER SYSTEM SET fsync = off",
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('PG_VERSION')",
        "COPY users TO '/dev/null'",
        "COPY users FROM PROGRAM 'true'",
    ] {
        let error = role.batch_execute(refused).expect_err(refused);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused}: {error}");
    }
    assert_eq!(get(stack.address(), "/users-count").body, "2");
}

#[test]
fn nobody_connects_without_a_password_and_instances_only_to_their_own_database() {
    let stack = Stack::shared();
    for role in ["user=postgres", "user=postgres password=x", "user=peleja", "user=peleja password=rinha"] {
        assert!(Client::connect(&parameters(&stack, role), NoTls).is_err(), "{role}");
    }
    let elsewhere = parameters(&stack, "user=peleja password=peleja").replace("dbname=postgres", "dbname=template1");
    assert!(Client::connect(&elsewhere, NoTls).is_err());
}

/// As after a start with an earlier version, whose instances connected as a superuser.
#[test]
fn a_database_without_the_role_is_carried_over() {
    let stack = Stack::own();
    assert_eq!(post(stack.address(), "/users", PERSON).status, 201);
    stack.kill("api1");
    stack.kill("api2");
    stack.database().batch_execute("DROP OWNED BY peleja; DROP ROLE peleja").unwrap();
    stack.mend();
    assert_eq!(get(stack.address(), "/users?q=n").json()[0]["nickname"], "n");
    assert_eq!(post(stack.address(), "/users", PERSON.replace("\"n\"", "\"new\"")).status, 201);
}

#[test]
fn a_table_that_is_put_back_without_the_role_s_rights_gets_them() {
    let stack = Stack::own();
    stack.database().batch_execute("REVOKE ALL ON users FROM peleja").unwrap();
    let create = || send_unix(&stack.socket("api1"), &repeatable_create(ID, PERSON.as_bytes())).unwrap().status;
    assert_eq!(create(), 500);
    assert!(wait_until(Duration::from_secs(20), || create() == 201), "no rights");
}

/// With its role alone an instance serves, but cannot make a table.
#[test]
fn the_other_role_is_needed_only_where_the_schema_is_missing() {
    let stack = Stack::own();
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "peleja\n").unwrap();
    let file = ["--database-password-file", password.to_str().unwrap()];
    let alone = stack.another_instance_at("alone", &parameters(&stack, "user=peleja"), &file);
    let status = |bytes: Vec<u8>| send_unix(&alone.socket, &bytes).unwrap().status;
    assert_eq!(status(json_request("/users", PERSON.as_bytes())), 201);
    assert_eq!(status(request("GET", "/users?q=n")), 200);
    for instance in ["api1", "api2"] {
        stack.signal(instance, Signal::SIGSTOP);
    }
    stack.database().batch_execute("DROP TABLE users").unwrap();
    assert_eq!(status(json_request("/users", PERSON.as_bytes())), 503);
    for instance in ["api1", "api2"] {
        stack.signal(instance, Signal::SIGCONT);
    }
    assert!(wait_until(Duration::from_secs(20), || status(repeatable_create(ID, PERSON.as_bytes())) == 201));
}

#[test]
fn both_roles_must_not_be_the_same() {
    let words = ["--database", "user=a", "--migration", "user=a"];
    let output = Command::new(env!("CARGO_BIN_EXE_peleja")).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not the same"));
}
