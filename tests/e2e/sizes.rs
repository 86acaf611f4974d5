//! Many people: how they come, and what is answered meanwhile, and where they are too many to be remembered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use arena::load::payloads::{self, SEED};
use arena::load::vocabulary::Vocabulary;
use arena::stack::process::wait_until;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::http::{get, json_request, post, request, send_unix};
use crate::stack::{Instance, Stack};

fn search(term: &str) -> Vec<u8> {
    request("GET", &format!("/users?q={}", utf8_percent_encode(term, NON_ALPHANUMERIC)))
}

fn nicknames(found: &Value) -> BTreeSet<String> {
    found.as_array().unwrap().iter().map(|person| person["nickname"].as_str().unwrap().to_owned()).collect()
}

fn insert_many(nickname: &str, count: usize) -> String {
    format!(
        "INSERT INTO users SELECT gen_random_uuid(), '{nickname} ' || n, 'Full Name of ' || md5(n::text), \
        '2000-01-01', ARRAY['Rust', 'PostgreSQL', md5((-n)::text)] FROM generate_series(1, {count}) AS n"
    )
}

/// One client's life: creates somebody, fetches and finds them, looks for nobody, counts.
fn live(stack: &Stack, nickname: &str) {
    let body = json!({"nickname": nickname, "fullname": "f", "dob": "2000-01-01"}).to_string();
    let created = post(stack.address(), "/users", body);
    assert_eq!(created.status, 201, "{created:?}");
    let fetched = get(stack.address(), created.header("location").unwrap());
    assert_eq!(fetched.status, 200, "{nickname}: {fetched:?}");
    for (term, hits) in [(nickname, 1), ("nobody has this", 0)] {
        let found = get(stack.address(), &format!("/users?q={}", utf8_percent_encode(term, NON_ALPHANUMERIC)));
        assert_eq!(found.status, 200, "{term}: {found:?}");
        assert_eq!(found.json().as_array().unwrap().len(), hits, "{term}");
    }
    assert_eq!(get(stack.address(), "/users-count").status, 200);
}

#[test]
fn a_mass_of_people_at_once_holds_nobody_up() {
    const MASS: usize = 200_000;
    let stack = Stack::own();
    let (under_way, lives) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..3 {
            let (stack, under_way, lives) = (&stack, &under_way, &lives);
            scope.spawn(move || {
                while under_way.load(Ordering::Relaxed) {
                    live(stack, &format!("load {client} {}!", lives.fetch_add(1, Ordering::Relaxed)));
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        stack.database().batch_execute(&insert_many("mass", MASS)).unwrap();
        let last = format!("mass {MASS}");
        for instance in ["api1", "api2"] {
            let found = send_unix(&stack.socket(instance), &search(&last)).unwrap();
            assert_eq!(nicknames(&found.json()), BTreeSet::from([last.clone()]), "{instance}");
        }
        thread::sleep(Duration::from_millis(500));
        under_way.store(false, Ordering::Relaxed);
    });
    let people = MASS + lives.load(Ordering::Relaxed);
    assert_eq!(get(stack.address(), "/users-count").body, people.to_string());
}

/// To read everyone anew takes longer than that here.
#[test]
fn one_change_after_the_other_shows_within_a_second_among_many_people() {
    let stack = Stack::own();
    let mut database = stack.database();
    database.batch_execute(&insert_many("many", 200_000)).unwrap();
    let shows = |name: &str| {
        ["api1", "api2"].iter().all(|instance| {
            send_unix(&stack.socket(instance), &search(name)).unwrap().json().as_array().unwrap().len() == 1
        })
    };
    assert!(wait_until(Duration::from_secs(60), || shows("many 200000")));
    for name in ["Changed A", "Changed B", "Changed C", "Changed D"] {
        database.execute("UPDATE users SET fullname = $1 WHERE nickname = 'many 7'", &[&name]).unwrap();
        assert!(wait_until(Duration::from_secs(1), || shows(name)), "{name}");
    }
}

/// Searches that read the table take connections of their own.
#[test]
fn slow_searches_hold_up_nobody_else() {
    let stack = Stack::own();
    let instance = stack.another_instance("forgetful", &["--memory", "0"]);
    let ask = |request: &[u8]| send_unix(&instance.socket, request).unwrap();
    let body = json!({"nickname": "n", "fullname": "f", "dob": "2000-01-01"}).to_string();
    let location = ask(&json_request("/users", body.as_bytes())).header("location").unwrap().to_owned();
    stack
        .database()
        .batch_execute(
            "CREATE OR REPLACE FUNCTION fold(input text) RETURNS text LANGUAGE plpgsql AS $$ \
            BEGIN PERFORM pg_sleep(60); RETURN input; END $$",
        )
        .unwrap();
    thread::scope(|scope| {
        let searches: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(&search("slow")).status)).collect();
        thread::sleep(Duration::from_millis(500));
        let quick = [request("GET", "/health/ready"), request("GET", &location), request("GET", "/users-count")];
        for request in quick {
            assert_eq!(ask(&request).status, 200, "{}", String::from_utf8_lossy(&request));
        }
        assert!(searches.iter().all(|search| !search.is_finished()), "the searches are not slow");
        for search in searches {
            assert_eq!(search.join().unwrap(), 503);
        }
    });
}

/// An instance that starts says so while it still reads everyone, and nginx asks the other one, which knows them.
#[test]
fn a_search_is_answered_by_who_knows_everyone_while_the_other_still_reads() {
    let stack = Stack::own();
    let body = json!({"nickname": "known", "fullname": "f", "dob": "2000-01-01"}).to_string();
    assert_eq!(post(stack.address(), "/users", body).status, 201);
    stack
        .database()
        .batch_execute(
            "DO $$ BEGIN EXECUTE format( \
                'CREATE FUNCTION is_read() RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN \
                IF (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) > %L THEN \
                PERFORM pg_sleep(60); END IF; RETURN true; END $f$', clock_timestamp()); END $$; \
            CREATE POLICY slow_for_who_comes_later ON users FOR SELECT USING (is_read()); \
            ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        )
        .unwrap();
    let restart = |instance| {
        stack.kill(instance);
        stack.mend();
    };
    restart("api1");
    let alone = send_unix(&stack.socket("api1"), &search("known")).unwrap();
    assert_eq!((alone.status, alone.header("x-accel-redirect")), (403, Some("/problem/503")), "{alone:?}");
    for _ in 0..2 {
        let found = get(stack.address(), "/users?q=known");
        assert_eq!(nicknames(&found.json()), BTreeSet::from(["known".to_owned()]), "{found:?}");
    }
    restart("api2");
    let nobody_knows = get(stack.address(), "/users?q=known");
    assert_eq!((nobody_knows.status, nobody_knows.header("retry-after")), (503, Some("1")), "{nobody_knows:?}");
    assert_eq!(nobody_knows.header("x-accel-redirect"), None);
}

/// An event's people, and every term answered as a plain reading of them answers it.
#[test]
fn every_term_is_answered_right_whether_or_not_people_are_too_many_to_remember() {
    let stack = Stack::own();
    let mut taken = BTreeSet::new();
    let valid = payloads::people(SEED).filter(|row| row.status == 201 && taken.insert(row.nickname.clone()));
    let people: Vec<Value> =
        valid.take(20_000).map(|row| serde_json::from_str(&row.json(Vocabulary::Users)).unwrap()).collect();
    let mut database = stack.database();
    let people_json = Value::Array(people.clone()).to_string();
    database
        .execute(
            "INSERT INTO users SELECT gen_random_uuid(), nickname, fullname, dob, stack \
            FROM json_to_recordset($1::text::json) AS new (nickname text, fullname text, dob date, stack text[])",
            &[&people_json],
        )
        .unwrap();
    let small = stack.another_instance("small", &["--memory", "2"]);
    assert_eq!(remembered(&small), Some(0), "this test wants people who are too many");
    let texts = |person: &Value| -> Vec<String> {
        let stack = person["stack"].as_array().into_iter().flatten();
        let values = [&person["nickname"], &person["fullname"]].into_iter().chain(stack);
        values.map(|value| value.as_str().unwrap().to_lowercase()).collect()
    };
    let all: Vec<(String, Vec<String>)> =
        people.iter().map(|person| (person["nickname"].as_str().unwrap().to_owned(), texts(person))).collect();
    let some = payloads::terms(SEED).take(60).chain(["a", "zq", "java", "ostgre", "C#", "%", "qqq"].map(str::to_owned));
    for term in some {
        let lower = term.to_lowercase();
        let hold = |texts: &[String]| texts.iter().any(|text| text.contains(&lower));
        let expected: BTreeSet<String> =
            all.iter().filter(|(_, texts)| hold(texts)).map(|(nickname, _)| nickname.clone()).collect();
        for socket in [&small.socket, &stack.socket("api1")] {
            let answer = send_unix(socket, &search(&term)).unwrap();
            assert_eq!(answer.status, 200, "{term}: {answer:?}");
            let found = nicknames(&answer.json());
            assert_eq!(found.len(), expected.len().min(50), "{term} {socket:?}");
            assert!(found.is_subset(&expected), "{term} {socket:?}");
        }
    }
    let count = |socket| send_unix(socket, &request("GET", "/users-count")).unwrap().body;
    assert_eq!(count(&small.socket), count(&stack.socket("api1")));
    database.batch_execute("TRUNCATE users").unwrap();
    let body = json!({"nickname": "few", "fullname": "f", "dob": "2000-01-01"}).to_string();
    assert_eq!(send_unix(&small.socket, &json_request("/users", body.as_bytes())).unwrap().status, 201);
    assert!(wait_until(Duration::from_secs(10), || remembered(&small) == Some(1)), "few people are not remembered");
}

/// As the instance itself counts them, once it has looked.
fn remembered(instance: &Instance) -> Option<usize> {
    assert_eq!(send_unix(&instance.socket, &search("nobody has this")).unwrap().status, 200);
    let figures = send_unix(&instance.socket, &request("GET", "/metrics")).unwrap().body;
    let line = figures.lines().find_map(|line| line.strip_prefix("peleja_people_remembered "))?;
    line.parse().ok()
}

/// People with texts of the largest kind, far more of them than there is room for: they are given up in time.
#[test]
fn people_who_are_too_many_are_given_up_before_memory_runs_out() {
    const LIMIT_MIB: usize = 64;
    /// What a process takes besides people: its program, stacks, connections, rows on their way.
    const BESIDES_MIB: usize = 96;
    let stack = Stack::own();
    let limit = LIMIT_MIB.to_string();
    let known = stack.another_instance("known", &["--memory", &limit]);
    let mut database = stack.database();
    database.batch_execute(&insert_many("few", 10)).unwrap();
    assert_eq!(remembered(&known), Some(10));
    for round in 0..4 {
        let insert = format!(
            "INSERT INTO users SELECT gen_random_uuid(), {round} || '-' || n, md5(n::text), '2000-01-01', \
                ARRAY(SELECT md5(random()::text || n) FROM generate_series(1, 15)) FROM generate_series(1, 100000) AS n"
        );
        database.batch_execute(&insert).unwrap();
        send_unix(&known.socket, &search("nobody has this")).unwrap();
    }
    let new = stack.another_instance("new", &["--memory", &limit]);
    for instance in [&known, &new] {
        assert_eq!(remembered_in_time(instance), 0, "{:?}", instance.socket);
        let peak = instance.peak_memory_mib();
        assert!(peak < LIMIT_MIB + BESIDES_MIB, "{:?} took {peak} MiB", instance.socket);
    }
}

fn remembered_in_time(instance: &Instance) -> usize {
    let mut people = usize::MAX;
    wait_until(Duration::from_secs(60), || {
        let figures = send_unix(&instance.socket, &request("GET", "/metrics")).unwrap().body;
        let line = figures.lines().find_map(|line| line.strip_prefix("peleja_people_remembered ")).unwrap().to_owned();
        people = line.parse().unwrap();
        people == 0
    });
    people
}
