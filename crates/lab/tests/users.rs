//! Blocking and non-blocking, from outside, over a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::thread;

use arena::stack::cluster::Cluster;

mod support;
use support::{Lab, eventually};

const SIDES: [&str; 2] = ["blocking", "nonblocking"];

fn serve(side: &str, cluster: &Cluster, more: &[&str]) -> Lab {
    let database = cluster.connection("lab");
    let mut arguments = vec![side, "--database-url", &database];
    arguments.extend(more);
    let lab = Lab::serve(&arguments);
    eventually("the database is ready", || post(&lab, r#"{"name":"first"}"#) == 200);
    lab
}

fn post(lab: &Lab, body: &str) -> u16 {
    lab.post("/users", "application/json", body.as_bytes(), &[]).status
}

fn rows(cluster: &Cluster, condition: &str) -> i64 {
    let mut client = postgres::Client::connect(&cluster.connection("lab"), postgres::NoTls).unwrap();
    client.query_one(&format!("SELECT count(*) FROM users WHERE {condition}"), &[]).unwrap().get(0)
}

#[test]
fn both_sides_answer_every_row_of_the_table() {
    let cluster = Cluster::start(&[]).unwrap();
    for side in SIDES {
        let lab = serve(side, &cluster, &[]);
        let invalid = "{\"error\":\"Invalid input\"}\n";
        for (media_type, body, status, answer) in [
            ("application/json", r#"{"name":"one"}"#, 200, Some("{\"message\":\"User one created.\"}\n")),
            (
                "application/json; charset=utf-8",
                r#"{"name":"one","age":3}"#,
                200,
                Some("{\"message\":\"User one created.\"}\n"),
            ),
            (
                "application/json",
                r#"{"name":"a \"b\" é"}"#,
                200,
                Some("{\"message\":\"User a \\\"b\\\" é created.\"}\n"),
            ),
            ("application/json", "{}", 400, Some(invalid)),
            ("application/json", "[]", 400, Some(invalid)),
            ("application/json", "null", 400, Some(invalid)),
            ("application/json", r#"{"nome":"one"}"#, 400, Some(invalid)),
            ("application/json", r#"{"name":null}"#, 400, Some(invalid)),
            ("application/json", r#"{"name":1}"#, 400, Some(invalid)),
            ("application/json", r#"{"name":["one"]}"#, 400, Some(invalid)),
            ("application/json", r#"{"name":"a\u0000b"}"#, 400, Some(invalid)),
            ("application/json", r#"{"name":"#, 400, None),
            ("application/json", "", 400, None),
            ("application/json", "\u{1}", 400, None),
            ("text/plain", r#"{"name":"one"}"#, 415, None),
            ("", r#"{"name":"one"}"#, 415, None),
        ] {
            let found = lab.post("/users", media_type, body.as_bytes(), &[]);
            assert_eq!(found.status, status, "{side} {media_type} {body}: {found:?}");
            assert_eq!(found.header("content-type"), "application/json", "{side} {body}");
            assert_eq!(answer.unwrap_or(&found.body), found.body, "{side} {body}");
            assert!(found.body.ends_with("\n"), "{side} {body}");
        }
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(20_000));
        assert_eq!(post(&lab, &long), 413, "{side}");
        let other = lab.get("/users");
        assert_eq!((other.status, other.header("allow")), (405, "POST"), "{side}");
        assert_eq!(lab.get("/").status, 200);
        assert_eq!(lab.get("/ping").body, "pong\n");
    }
    assert_eq!(rows(&cluster, "name = 'one'"), 4);
}

#[test]
fn as_many_rows_as_answers_with_200_and_init_wipes_nothing() {
    let cluster = Cluster::start(&[]).unwrap();
    for side in SIDES {
        let lab = serve(side, &cluster, &["--connections", "3"]);
        thread::scope(|scope| {
            for user in 0..10 {
                let lab = &lab;
                scope.spawn(move || {
                    for name in ["one", "two", "three", "four", "five"] {
                        assert_eq!(post(lab, &format!(r#"{{"name":"{side} {user} {name}"}}"#)), 200);
                    }
                });
            }
        });
        let database = cluster.connection("lab");
        assert!(Lab::start(&["init", "--database-url", &database]).wait().success());
        assert_eq!(rows(&cluster, &format!("name LIKE '{side} %'")), 50);
    }
}

#[test]
fn a_thread_waits_or_a_task_does() {
    let cluster = Cluster::start(&["max_connections=60"]).unwrap();
    let threads = SIDES.map(|side| {
        let lab = serve(side, &cluster, &["--connections", "20", "--query-delay", "1000"]);
        let mut most = 0.0_f64;
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert_eq!(post(&lab, r#"{"name":"slow"}"#), 200));
            }
            lab.watch("/live", |message| {
                most = most.max(message["threads"].as_f64().unwrap());
                message["in_flight"].as_f64().unwrap() == 20.0
            });
        });
        most
    });
    assert!(threads[0] >= 20.0, "each of 20 requests holds a thread: {threads:?}");
    assert!(threads[1] < 20.0, "no request holds a thread: {threads:?}");
}

#[test]
fn a_database_that_was_away_fails_nobody_once_it_is_back() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let labs = SIDES.map(|side| serve(side, &cluster, &["--query-delay", "200"]));
    for lab in &labs {
        // Several connections, which then lie idle.
        thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| assert_eq!(post(lab, r#"{"name":"before"}"#), 200));
            }
        });
    }
    cluster.kill();
    thread::sleep(std::time::Duration::from_secs(1));
    cluster.start_again().unwrap();
    for lab in &labs {
        for _ in 0..6 {
            assert_eq!(post(lab, r#"{"name":"after"}"#), 200);
        }
    }
}

#[test]
fn a_lost_database_is_said_and_forgotten() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let labs = SIDES.map(|side| serve(side, &cluster, &[]));
    cluster.kill();
    for lab in &labs {
        let answer = lab.post("/users", "application/json", br#"{"name":"lost"}"#, &[]);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
        assert!(!answer.body.contains("/var/tmp"), "no internals leak: {answer:?}");
    }
    cluster.start_again().unwrap();
    for lab in &labs {
        eventually("it is taken again", || post(lab, r#"{"name":"again"}"#) == 200);
    }
}

#[test]
fn a_ping_waits_where_all_threads_do() {
    let cluster = Cluster::start(&[]).unwrap();
    let pings = SIDES.map(|side| {
        let threads: &[&str] = if side == "blocking" { &["--threads", "2"] } else { &[] };
        let lab = serve(side, &cluster, &[threads, &["--query-delay", "1000", "--connections", "2"]].concat());
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let path = "/users?run=ana";
                    assert_eq!(lab.post(path, "application/json", br#"{"name":"slow"}"#, &[]).status, 200);
                });
            }
            if side == "blocking" {
                lab.watch("/live", |message| message["ping"].as_f64() > Some(500.0));
            }
        });
        let outcomes: serde_json::Value = serde_json::from_str(&lab.get("/outcomes?run=ana").body).unwrap();
        outcomes[side]["longest_ping"].as_f64().unwrap()
    });
    assert!(pings[0] > 500.0 && pings[1] < pings[0], "{pings:?}");
}

#[test]
fn a_delay_is_switched_for_both_sides_at_once() {
    let cluster = Cluster::start(&[]).unwrap();
    let labs = SIDES.map(|side| serve(side, &cluster, &[]));
    assert_eq!(labs[0].post_form("/class/switch", "query_delay=400").status, 303);
    let is_slow = |lab: &Lab| {
        let before = std::time::Instant::now();
        assert_eq!(post(lab, r#"{"name":"x"}"#), 200);
        before.elapsed() >= std::time::Duration::from_millis(400)
    };
    assert!(is_slow(&labs[0]));
    eventually("the other side hears of it", || is_slow(&labs[1]));
    assert_eq!(labs[1].post_form("/class/reset", "").status, 303);
    assert_eq!(rows(&cluster, "true"), 0);
    eventually("both are as they were", || labs.iter().all(|lab| !is_slow(lab)));
}
