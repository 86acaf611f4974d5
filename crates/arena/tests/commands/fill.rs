//! `arena fill` from outside, over a PostgreSQL of its own.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use arena::load::payloads;
use arena::stack::cluster::Cluster;
use postgres::{Client, NoTls};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql/schema.sql");

/// A database with the contender's table, and nobody in it.
struct Database(Cluster);

impl Database {
    fn new() -> Self {
        let database = Self(Cluster::start(&[]).unwrap());
        database.client().batch_execute(&std::fs::read_to_string(Path::new(SCHEMA)).unwrap()).unwrap();
        database
    }

    fn client(&self) -> Client {
        Client::connect(&self.0.connection("postgres"), NoTls).unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = arena(words);
        command.args(["--database", &self.0.connection("postgres")]);
        command
    }

    fn fill(&self, words: &[&str]) -> String {
        told(&self.command(words).output().unwrap())
    }
}

fn arena(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.arg("fill").args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a fill that went well says, without how long it took.
fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.split_once("; in ").unwrap().0.to_owned()
}

/// Everybody's columns as text, sorted.
fn everybody(client: &mut Client) -> BTreeSet<[String; 5]> {
    let columns = "id::text, nickname, fullname, dob::text, coalesce(array_to_json(stack)::text, 'null')";
    let rows = client.query(&format!("SELECT {columns} FROM users"), &[]).unwrap();
    rows.iter().map(|row| [0, 1, 2, 3, 4].map(|column| row.get::<_, String>(column))).collect()
}

#[test]
fn the_first_people_of_the_seed_are_stored_as_they_are() {
    let database = Database::new();
    assert_eq!(database.fill(&["3000"]), "3,000 people: 3,000 stored, 0 were there already");
    let mut client = database.client();
    let there = everybody(&mut client);
    let expected: BTreeSet<[String; 4]> = payloads::stored(payloads::people(1))
        .take(3000)
        .map(|person| [person.nickname, person.fullname, person.dob.replace('"', ""), person.stack.replace(", ", ",")])
        .collect();
    let texts: BTreeSet<[String; 4]> = there
        .iter()
        .map(|[_, nickname, fullname, dob, stack]| [nickname, fullname, dob, stack].map(String::clone))
        .collect();
    assert!(texts == expected);
    let row = client.query_one("SELECT count(*) FROM users WHERE substr(id::text, 15, 1) = '4'", &[]).unwrap();
    assert_eq!(row.get::<_, i64>(0), 3000, "every id is a UUID of version 4");
    let row = client.query_one("SELECT reltuples FROM pg_class WHERE oid = 'users'::regclass", &[]).unwrap();
    assert_eq!(row.get::<_, f32>(0), 3000.0, "the planner knows of them");

    client.batch_execute("TRUNCATE users").unwrap();
    database.fill(&["3000"]);
    assert!(there == everybody(&mut client), "the same seed gives the same people with the same ids");
    client.batch_execute("TRUNCATE users").unwrap();
    database.fill(&["3000", "--seed", "2"]);
    assert!(there.is_disjoint(&everybody(&mut client)));
}

#[test]
fn another_time_only_those_are_stored_who_are_missing() {
    let database = Database::new();
    let mut client = database.client();
    let taken = payloads::stored(payloads::people(1)).nth(4).unwrap().nickname;
    for nickname in [taken.as_str(), "somebody else"] {
        let insert = "INSERT INTO users VALUES (gen_random_uuid(), $1, 'f', '2000-01-01', NULL)";
        client.execute(insert, &[&nickname]).unwrap();
    }
    let others = everybody(&mut client);
    assert_eq!(database.fill(&["1000"]), "1,000 people: 999 stored, 1 were there already");
    let first = everybody(&mut client);
    assert_eq!(database.fill(&["1000"]), "1,000 people: 0 stored, 1,000 were there already");
    assert!(first == everybody(&mut client));
    client
        .batch_execute("DELETE FROM users WHERE nickname IN (SELECT nickname FROM users LIMIT 10 OFFSET 500)")
        .unwrap();
    assert_eq!(database.fill(&["2000"]), "2,000 people: 1,010 stored, 990 were there already");
    let all = everybody(&mut client);
    assert!(others.is_subset(&all) && first.is_subset(&all), "who is there is left alone");
    assert_eq!(all.len(), 2001);
}

#[test]
fn somebody_who_comes_meanwhile_stays() {
    let database = Database::new();
    let mut other = database.client();
    let nickname = payloads::stored(payloads::people(1)).nth(77).unwrap().nickname;
    let mut transaction = other.transaction().unwrap();
    let insert = "INSERT INTO users VALUES (gen_random_uuid(), $1, 'meanwhile', '2000-01-01', NULL)";
    transaction.execute(insert, &[&nickname]).unwrap();
    let fill = database.command(&["500"]).spawn().unwrap();
    let mut client = database.client();
    let waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let mut patience = 1000;
    while client.query(waiting, &[]).unwrap().is_empty() {
        patience -= 1;
        assert!(patience > 0, "nobody waits for the nickname");
        std::thread::sleep(Duration::from_millis(20));
    }
    transaction.commit().unwrap();
    assert_eq!(told(&fill.wait_with_output().unwrap()), "500 people: 499 stored, 1 were there already");
    let row = client.query_one("SELECT fullname FROM users WHERE nickname = $1", &[&nickname]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "meanwhile");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for words in [&["0"][..], &["-1"], &["many"], &["100000001"], &[], &["5", "--seed", "x"], &["5", "--database", "x"]]
    {
        let output = arena(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{words:?}: {said}");
    }
    let nobody = arena(&["5", "--data", "/var/tmp/no-stack-here"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no stack runs"), "{nobody:?}");
}

#[test]
fn a_database_that_refuses_is_told_of() {
    let database = Database(Cluster::start(&[]).unwrap());
    let output = database.command(&["5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(r#""users" does not exist"#), "{output:?}");
}
