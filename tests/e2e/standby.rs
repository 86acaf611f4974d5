//! A primary whose commits wait for a standby: who is told 201 is on both, and memories are right when the standby takes over.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use arena::stack::cluster::Cluster;
use arena::stack::process::{self, wait_until};
use nix::sys::signal::Signal;
use postgres::{Client, NoTls};
use serde_json::json;

use crate::http::{repeatable_create, request, send_unix};

const PATIENCE: Duration = Duration::from_secs(30);

/// A primary, its standby, and an instance that knows both.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    instance: Child,
    folder: tempfile::TempDir,
}

impl Pair {
    fn start() -> Self {
        let primary = Cluster::start(&[]).unwrap();
        let standby = primary.standby(&["hot_standby_feedback=on"]).unwrap();
        set_for_all(&primary, "synchronous_standby_names = '*'");
        let folder = tempfile::tempdir().unwrap();
        let hosts = format!("{},{}", primary.folder().display(), standby.folder().display());
        let database = format!("host={hosts} user=postgres dbname=postgres target_session_attrs=read-write");
        let mut command = Command::new(env!("CARGO_BIN_EXE_peleja"));
        command.arg("--listen").arg(format!("unix:{}", folder.path().join("socket").display()));
        command.args(["--patience", "2", "--database", &database]);
        let pair = Self { primary, standby, instance: command.spawn().unwrap(), folder };
        assert!(wait_until(PATIENCE, || pair.status("GET", "/health/ready") == 200), "the instance is not ready");
        assert_eq!(pair.create("before"), 201);
        pair
    }

    fn status(&self, method: &str, path: &str) -> u16 {
        self.send(&request(method, path)).0
    }

    /// Sent again, it is the same create.
    fn create(&self, nickname: &str) -> u16 {
        let id: String = nickname.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.send(&repeatable_create(&format!("{id:0>32}"), person(nickname).as_bytes())).0
    }

    /// The status of the answer, and its body.
    fn send(&self, request: &[u8]) -> (u16, String) {
        let socket = self.folder.path().join("socket");
        if UnixStream::connect(&socket).is_err() {
            return (0, String::new());
        }
        send_unix(&socket, request).map_or((0, String::new()), |answer| (answer.status, answer.body))
    }

    /// Creates somebody while the standby is away, calls `event` when the commit waits for it, and returns the status.
    fn create_without_standby(&self, nickname: &str, event: impl FnOnce()) -> u16 {
        let mut primary = client(&self.primary);
        thread::scope(|scope| {
            let create = scope.spawn(|| self.create(nickname));
            assert!(wait_until(PATIENCE, || !waiting(&mut primary).is_empty()), "nobody waits for the standby");
            event();
            create.join().unwrap()
        })
    }

    /// Ends every wait for the standby that there is with a function of PostgreSQL's, until the nickname is to be seen.
    fn end_waits(&self, function: &str, nickname: &str) {
        let mut primary = client(&self.primary);
        for pid in waiting(&mut primary) {
            primary.execute(&format!("SELECT {function}($1)"), &[&pid]).unwrap();
        }
        assert!(wait_until(PATIENCE, || nicknames(&self.primary).contains(nickname)), "{nickname} is not to be seen");
    }

    fn take_over(&self) {
        self.standby.signal(Signal::SIGCONT);
        client(&self.standby).batch_execute("SELECT pg_promote()").unwrap();
    }

    fn is_served_again(&self) -> bool {
        wait_until(PATIENCE, || self.create("after") == 201)
    }

    /// Whom the instance finds.
    fn found(&self) -> BTreeSet<String> {
        let (status, body) = self.send(&request("GET", "/users?q=everybody"));
        assert_eq!(status, 200, "{body}");
        let people: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        people.iter().map(|person| person["nickname"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        process::signal([self.instance.id() as i32], Signal::SIGKILL);
        let _ = self.instance.wait();
        for cluster in [&self.primary, &self.standby] {
            cluster.signal(Signal::SIGCONT);
        }
    }
}

fn person(nickname: &str) -> String {
    json!({"nickname": nickname, "fullname": "everybody", "dob": "2000-01-01"}).to_string()
}

fn client(cluster: &Cluster) -> Client {
    Client::connect(&cluster.connection("postgres"), NoTls).unwrap()
}

/// A setting of the server, for sessions that are there too.
fn set_for_all(cluster: &Cluster, setting: &str) {
    let mut client = client(cluster);
    client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
}

/// Sessions of instances whose commit waits for a standby.
fn waiting(primary: &mut Client) -> Vec<i32> {
    let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'peleja'";
    primary.query(waiting, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn nicknames(cluster: &Cluster) -> BTreeSet<String> {
    let rows = client(cluster).query("SELECT nickname FROM users", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn set(nicknames: &[&str]) -> BTreeSet<String> {
    nicknames.iter().map(|&nickname| nickname.to_owned()).collect()
}

/// PostgreSQL calls such a commit a success, with a warning.
#[test]
fn a_create_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged_and_may_be_lost() {
    a_create_whose_wait_is_ended_may_be_lost("pg_cancel_backend");
}

#[test]
fn a_create_whose_session_is_ended_while_it_waits_for_the_standby_is_not_acknowledged_and_may_be_lost() {
    a_create_whose_wait_is_ended_may_be_lost("pg_terminate_backend");
}

fn a_create_whose_wait_is_ended_may_be_lost(function: &str) {
    let mut pair = Pair::start();
    // One that stands still would have the log in its socket.
    pair.standby.kill();
    let status = pair.create_without_standby("lost", || pair.end_waits(function, "lost"));
    assert_eq!(status, 503);
    pair.primary.kill();
    pair.standby.start_again().unwrap();
    pair.take_over();
    assert_eq!(nicknames(&pair.standby), set(&["before"]), "the standby cannot have it");
    assert!(pair.is_served_again());
    assert_eq!(pair.found(), set(&["before", "after"]));
    assert_eq!(pair.send(&request("GET", "/users-count")).1, "2");
}

#[test]
fn a_create_whose_wait_is_ended_is_acknowledged_as_soon_as_the_standby_has_it() {
    for function in ["pg_cancel_backend", "pg_terminate_backend"] {
        let mut pair = Pair::start();
        pair.standby.signal(Signal::SIGSTOP);
        let status = pair.create_without_standby("late", || {
            pair.end_waits(function, "late");
            pair.standby.signal(Signal::SIGCONT);
        });
        assert_eq!(status, 201, "{function}");
        pair.primary.kill();
        pair.take_over();
        assert!(nicknames(&pair.standby).contains("late"), "{function}: acknowledged and lost");
    }
}

/// Sessions stay, and so does whoever follows the table, until somebody wants to write.
#[test]
fn a_primary_that_takes_no_writes_any_more_is_left_for_the_one_that_does() {
    let pair = Pair::start();
    set_for_all(&pair.primary, "default_transaction_read_only = on");
    pair.take_over();
    client(&pair.standby).batch_execute("DELETE FROM users").unwrap();
    assert_eq!(pair.create("after"), 201);
    assert_eq!(pair.found(), set(&["after"]));
    assert_eq!(nicknames(&pair.primary), set(&["before"]));
}

#[test]
fn a_primary_that_stands_still_is_left_for_the_one_that_took_over() {
    let pair = Pair::start();
    pair.primary.signal(Signal::SIGSTOP);
    pair.take_over();
    assert!(pair.is_served_again());
    assert_eq!(pair.found(), set(&["before", "after"]));
    assert_eq!(nicknames(&pair.standby), set(&["before", "after"]));
}
