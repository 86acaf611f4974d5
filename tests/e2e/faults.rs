//! Processes killed, stopped and started at the worst of times.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arena::stack::process::wait_until;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::http::{get, json_request, post, repeatable_create, request, send, send_unix};
use crate::stack::Stack;

fn person(nickname: &str) -> String {
    json!({"nickname": nickname, "fullname": "f", "dob": "2000-01-01", "stack": ["a", "b"]}).to_string()
}

/// What the clients of a load saw.
#[derive(Default)]
struct Seen {
    /// Ids that a 201 named.
    created: BTreeSet<String>,
    /// Statuses other than 201; 0 for a connection that ended without an answer.
    other: Vec<u16>,
}

/// Creates people from several clients at once while `event` happens, and until a while after it.
fn create_during(stack: &Stack, event: impl FnOnce()) -> Seen {
    let seen = Mutex::new(Seen::default());
    let under_way = AtomicBool::new(true);
    thread::scope(|scope| {
        let _end = EndOnDrop(&under_way);
        for client in 0..8 {
            let (seen, under_way) = (&seen, &under_way);
            scope.spawn(move || {
                let mut number = 0;
                while under_way.load(Ordering::Relaxed) {
                    number += 1;
                    let body = person(&format!("{client} {number}"));
                    let answer = send(stack.address(), &json_request("/users", body.as_bytes()));
                    let mut seen = seen.lock().unwrap();
                    match answer {
                        Some(answer) if answer.status == 201 => {
                            let location = answer.header("location").unwrap();
                            seen.created.insert(location.strip_prefix("/users/").unwrap().to_owned());
                        }
                        answer => seen.other.push(answer.map_or(0, |answer| answer.status)),
                    }
                }
            });
        }
        let count = || seen.lock().unwrap().created.len();
        assert!(wait_until(Duration::from_secs(30), || count() > 200), "nobody is created");
        event();
        let after = count();
        assert!(wait_until(Duration::from_secs(30), || count() > after + 200), "nobody is created afterwards");
    });
    seen.into_inner().unwrap()
}

/// Ends a load also where an assertion fails in its midst.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn stored(stack: &Stack) -> BTreeSet<String> {
    let rows = stack.database().query("SELECT id::text FROM users", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn an_instance_that_is_killed_is_missed_by_nobody() {
    let stack = Stack::own();
    let seen = create_during(&stack, || stack.kill("api1"));
    assert_eq!(seen.other, [] as [u16; 0]);
    assert_eq!(seen.created, stored(&stack), "a create that was tried on both instances is stored once");
    stack.mend();
    assert_eq!(send_unix(&stack.socket("api1"), &request("GET", "/health/ready")).unwrap().status, 200);
}

/// nginx leaves an instance alone for a second after it has failed, and must not do so where there is no other.
#[test]
fn an_instance_that_is_killed_when_the_other_has_just_come_back_is_missed_by_nobody() {
    let stack = Stack::own();
    let seen = create_during(&stack, || {
        stack.kill("api1");
        thread::sleep(Duration::from_millis(50));
        stack.mend();
        stack.kill("api2");
    });
    assert_eq!(seen.other, [] as [u16; 0]);
    assert_eq!(seen.created, stored(&stack));
}

/// What nginx does when an instance dies with a create: the same one, with the same id, to the other instance.
#[test]
fn a_create_that_is_sent_again_is_answered_again_and_stores_nobody_twice() {
    let stack = Stack::own();
    let id = "0123456789abcdef0123456789abcdef";
    let again = repeatable_create(id, person("once").as_bytes());
    for instance in ["api1", "api2", "api1"] {
        let answer = send_unix(&stack.socket(instance), &again).unwrap();
        assert_eq!(answer.status, 201, "{instance}: {answer:?}");
        assert_eq!(answer.header("location"), Some("/users/01234567-89ab-4def-8123-456789abcdef"));
        assert_eq!(get(stack.address(), "/users?q=once").json().as_array().unwrap().len(), 1);
    }
    let create = json_request("/users", person("once").as_bytes());
    assert_eq!(send_unix(&stack.socket("api1"), &create).unwrap().status, 422);
    assert_eq!(stored(&stack).len(), 1);
}

#[test]
fn a_database_that_is_killed_holds_every_201_when_it_is_back() {
    let stack = Stack::own();
    let seen = create_during(&stack, || {
        stack.kill("db");
        stack.mend();
    });
    assert!(seen.other.iter().all(|status| *status == 503), "{:?}", seen.other);
    let lost: Vec<_> = seen.created.difference(&stored(&stack)).cloned().collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[test]
fn connections_that_are_cut_in_mid_commit_lose_nobody_and_store_nobody_twice() {
    let stack = Stack::own();
    let seen = create_during(&stack, || {
        let mut database = stack.database();
        for _ in 0..20 {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'peleja'";
            database.batch_execute(cut).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(seen.other, [] as [u16; 0]);
    assert_eq!(seen.created, stored(&stack));
}

#[test]
fn what_changes_while_nobody_listens_shows_all_the_same() {
    let stack = Stack::own();
    let location = post(stack.address(), "/users", person("gone")).header("location").unwrap().to_owned();
    let gone = || get(stack.address(), &location).status == 404;
    // The connections and the deletion go in one transaction: nobody who listens is there to hear of it.
    let mut database = stack.database();
    database
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'peleja'; \
            ALTER TABLE users DISABLE TRIGGER USER; DELETE FROM users; ALTER TABLE users ENABLE TRIGGER USER",
        )
        .unwrap();
    assert!(wait_until(Duration::from_secs(1), || gone() && gone()));
    assert_eq!(get(stack.address(), "/users?q=gone").body, "[]");
}

#[test]
fn a_database_that_hangs_is_a_503_and_no_wait_without_end() {
    let stack = Stack::own();
    let created = post(stack.address(), "/users", person("before"));
    let location = created.header("location").unwrap().to_owned();
    let mut locker = stack.database();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    thread::scope(|scope| {
        let requests = [
            json_request("/users", person("during").as_bytes()),
            request("GET", "/users/11111111-2222-4333-8444-555555555555"),
            request("GET", "/users?q=before"),
            request("GET", "/users-count"),
        ];
        for request in requests {
            let stack = &stack;
            scope.spawn(move || {
                let answer = send(stack.address(), &request).unwrap();
                assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&request));
                assert_eq!(answer.header("retry-after"), Some("1"));
                assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            });
        }
    });
    lock.rollback().unwrap();
    assert_eq!(get(stack.address(), &location).status, 200);
    assert_eq!(post(stack.address(), "/users", person("after")).status, 201);
}

/// Whether the nickname is taken is not known until the other client is done; the database must give up sooner.
#[test]
fn a_nickname_that_somebody_holds_open_does_not_hold_up_the_next_one() {
    let stack = Stack::shared();
    let instance = stack.another_instance("holding", &["--patience", "0.5"]);
    let create =
        |nickname| send_unix(&instance.socket, &json_request("/users", person(nickname).as_bytes())).unwrap().status;
    let mut other = stack.database();
    let mut open = other.transaction().unwrap();
    open.batch_execute("INSERT INTO users VALUES (gen_random_uuid(), 'held', '', '2000-01-01')").unwrap();
    assert_eq!(create("held"), 503);
    assert_eq!(create("not held"), 201);
    // What was given up is cancelled, and would be stored if the nickname came free before that.
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted";
    let mut database = stack.database();
    let cancelled = || database.query_one(waiting, &[]).unwrap().get::<_, i64>(0) == 0;
    assert!(wait_until(Duration::from_secs(10), cancelled), "still waits for the nickname");
    open.rollback().unwrap();
    assert_eq!(create("held"), 201);
}

#[test]
fn a_statement_for_somebody_who_has_gone_is_cancelled() {
    let stack = Stack::own();
    let instance = stack.another_instance("left", &["--patience", "300"]);
    let mut other = stack.database();
    let mut open = other.transaction().unwrap();
    open.batch_execute("INSERT INTO users VALUES (gen_random_uuid(), 'left', '', '2000-01-01')").unwrap();
    let mut client = UnixStream::connect(&instance.socket).unwrap();
    client.write_all(&json_request("/users", person("left").as_bytes())).unwrap();
    let mut database = stack.database();
    let mut waiting = || {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted";
        database.query_one(sql, &[]).unwrap().get::<_, i64>(0)
    };
    // Longer than a group waits for anybody.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(waiting(), 1);
    drop(client);
    assert!(wait_until(Duration::from_secs(20), || waiting() == 0), "nobody waits for the answer any more");
    open.rollback().unwrap();
    assert_eq!(database.query_one("SELECT count(*) FROM users", &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn a_body_that_does_not_come_is_a_408() {
    let stack = Stack::shared();
    let hasty = stack.another_instance("hasty", &["--patience", "0.3"]);
    let mut create = json_request("/users", person("slow").as_bytes());
    create.pop();
    let start = Instant::now();
    let answer = send_unix(&hasty.socket, &create).unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

#[test]
fn without_any_instance_nginx_says_503() {
    let stack = Stack::own();
    stack.kill("api1");
    stack.kill("api2");
    let answer = get(stack.address(), "/users-count");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.json()["status"], 503);
    assert_eq!(get(stack.address(), "/health").status, 200);
    stack.mend();
    let back = || get(stack.address(), "/users-count").status == 200;
    assert!(wait_until(Duration::from_secs(10), back));
}

#[test]
fn a_request_under_way_is_answered_after_sigterm() {
    let stack = Stack::own();
    let mut locker = stack.database();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("LOCK TABLE users IN SHARE MODE").unwrap();
    thread::scope(|scope| {
        let create = scope.spawn(|| {
            let create = json_request("/users", person("under way").as_bytes());
            send_unix(&stack.socket("api1"), &create).unwrap().status
        });
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let mut database = stack.database();
        let under_way = || database.query_one(waiting, &[]).unwrap().get::<_, i64>(0) == 1;
        assert!(wait_until(Duration::from_secs(5), under_way), "the create does not wait for the lock");
        stack.signal("api1", Signal::SIGTERM);
        let refuses = || send_unix(&stack.socket("api1"), &request("GET", "/health/live")).is_none();
        assert!(wait_until(Duration::from_secs(5), refuses), "still takes connections");
        lock.rollback().unwrap();
        assert_eq!(create.join().unwrap(), 201);
    });
    let ended = || !stack.runs("api1");
    assert!(wait_until(Duration::from_secs(10), ended), "still runs");
    assert_eq!(stored(&stack).len(), 1);
}

#[test]
fn an_instance_that_starts_waits_for_nobody_s_transaction_and_holds_nobody_up() {
    let stack = Stack::own();
    let mut other = stack.database();
    let mut open = other.transaction().unwrap();
    open.batch_execute("UPDATE users SET fullname = ''").unwrap();
    let second = stack.another_instance("second", &[]);
    let ready = || send_unix(&second.socket, &request("GET", "/health/ready")).unwrap().status == 200;
    assert!(wait_until(Duration::from_secs(2), ready), "waits for the transaction");
    assert_eq!(send_unix(&second.socket, &json_request("/users", person("new").as_bytes())).unwrap().status, 201);
    assert_eq!(get(stack.address(), "/users?q=new").json()[0]["nickname"], "new");
    open.commit().unwrap();
}

#[test]
fn an_instance_may_start_before_its_database() {
    let stack = Stack::own();
    stack.kill("db");
    let mut early = stack.another_instance("early", &[]);
    let status = |path| send_unix(&early.socket, &request("GET", path)).map(|answer| answer.status);
    assert!(wait_until(Duration::from_secs(10), || status("/health/live") == Some(200)));
    assert_eq!(status("/health/ready"), Some(503));
    let address = format!("unix:{}", early.socket.display());
    let check = Command::new(stack.program()).args(["--check", "--listen", &address]).output().unwrap();
    assert_eq!(check.status.code(), Some(1));
    stack.mend();
    assert!(wait_until(Duration::from_secs(10), || status("/health/ready") == Some(200)));
    assert_eq!(status("/users-count"), Some(200));
    assert!(early.end().success());
}
