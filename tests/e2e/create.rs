//! Creating and fetching: every row of the contract's tables, in both vocabularies.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use arena::stack::process::wait_until;
use serde_json::{Value, json};

use crate::http::{get, json_request, post, send_unix};
use crate::stack::Stack;

/// People whose nickname nobody else in the tests has.
fn unique(what: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{what} {}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A body with a valid value for every field but those given; a field given as `None` is missing.
fn body(changes: &[(&str, Option<Value>)]) -> Value {
    let mut body = json!({"nickname": unique("n"), "fullname": "Full Name", "dob": "2000-01-01", "stack": ["Rust"]});
    for (field, value) in changes {
        match value {
            Some(value) => body[*field] = value.clone(),
            None => {
                body.as_object_mut().unwrap().remove(*field);
            }
        }
    }
    body
}

/// The same body with the event's own keys.
fn translated(body: &Value) -> Value {
    let pairs = [("nickname", "apelido"), ("fullname", "nome"), ("dob", "nascimento"), ("stack", "stack")];
    let object = body.as_object().unwrap();
    let key = |key: &str| pairs.iter().find(|(english, _)| *english == key).map_or(key, |(_, event)| event).to_owned();
    Value::Object(object.iter().map(|(name, value)| (key(name), value.clone())).collect())
}

fn expect(stack: &Stack, status: u16, changes: &[(&str, Option<Value>)]) {
    for path in ["/users", "/pessoas"] {
        let mut body = body(changes);
        if path == "/pessoas" {
            body = translated(&body);
        }
        let answer = post(stack.address(), path, body.to_string());
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
        if status == 201 {
            assert!(answer.header("location").unwrap().starts_with(&format!("{path}/")), "{answer:?}");
            assert_eq!(answer.body, "");
        } else {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
            assert_eq!(answer.json()["status"], status);
        }
    }
}

fn x(count: usize) -> Value {
    Value::String("x".repeat(count))
}

#[test]
fn valid_people_are_created() {
    let stack = Stack::shared();
    expect(&stack, 201, &[]);
    expect(&stack, 201, &[("stack", None)]);
    expect(&stack, 201, &[("stack", Some(Value::Null))]);
    expect(&stack, 201, &[("stack", Some(json!([""])))]);
    expect(&stack, 201, &[("stack", Some(json!([x(32), "🥊".repeat(32)])))]);
    expect(&stack, 201, &[("fullname", Some(x(100)))]);
    expect(&stack, 201, &[("fullname", Some(json!("")))]);
    expect(&stack, 201, &[("dob", Some(json!("2000-02-29")))]);
    expect(&stack, 201, &[("dob", Some(json!("0001-01-01")))]);
    expect(&stack, 201, &[("dob", Some(json!("9999-12-31")))]);
    expect(&stack, 201, &[("unknown", Some(json!({"nickname": [1, 2, {"dob": null}]})))]);
}

#[test]
fn empty_blank_and_long_nicknames_are_valid_once() {
    let stack = Stack::own();
    for nickname in ["", "   ", "\t", " trimmed? ", "trimmed?", "Case", "case", "é", "e\u{301}"] {
        let body = body(&[("nickname", Some(json!(nickname)))]).to_string();
        assert_eq!(post(stack.address(), "/users", &body).status, 201, "{nickname:?}");
        let again = post(stack.address(), "/users", &body);
        assert_eq!((again.status, again.json()["field"].clone()), (422, json!("nickname")), "{nickname:?}");
    }
    let emoji = body(&[("nickname", Some(json!("🥊".repeat(32))))]).to_string();
    assert_eq!(post(stack.address(), "/users", &emoji).status, 201);
}

#[test]
fn what_is_null_missing_or_too_long_is_422() {
    let stack = Stack::shared();
    for field in ["nickname", "fullname", "dob"] {
        expect(&stack, 422, &[(field, Some(Value::Null))]);
        expect(&stack, 422, &[(field, None)]);
    }
    expect(&stack, 422, &[("nickname", Some(x(33)))]);
    expect(&stack, 422, &[("nickname", Some(json!("🥊".repeat(33))))]);
    expect(&stack, 422, &[("fullname", Some(x(101)))]);
    expect(&stack, 422, &[("stack", Some(json!([x(33)])))]);
    expect(&stack, 422, &[("stack", Some(json!(["ok", x(40)])))]);
    expect(&stack, 422, &[("stack", Some(json!([])))]);
    expect(&stack, 422, &[("stack", Some(json!([null])))]);
    expect(&stack, 422, &[("nickname", Some(json!("a\u{0}b")))]);
    expect(&stack, 422, &[("fullname", Some(json!("\u{0}")))]);
    expect(&stack, 422, &[("stack", Some(json!(["\u{0}"])))]);
    assert_eq!(post(stack.address(), "/users", "{}").status, 422);
}

#[test]
fn what_has_the_wrong_type_is_400() {
    let stack = Stack::shared();
    for value in [json!(1), json!(1.5), json!(true), json!([]), json!({}), json!(["a"])] {
        expect(&stack, 400, &[("nickname", Some(value.clone()))]);
        expect(&stack, 400, &[("fullname", Some(value))]);
    }
    for value in [json!("s"), json!(1), json!(true), json!({}), json!([1, "PHP"]), json!([["a"]]), json!([{}])] {
        expect(&stack, 400, &[("stack", Some(value))]);
    }
    for value in [
        json!(""),
        json!("12-12-2000"),
        json!("?!?!?"),
        json!("10"),
        json!(10),
        json!(0),
        json!(true),
        json!([]),
        json!("2000-13-01"),
        json!("2001-02-29"),
        json!("2000-1-1"),
        json!(" 2000-01-01"),
        json!("20000101"),
        json!("0000-01-01"),
        json!("2000-01-01T00:00:00Z"),
        json!("1900-02-29"),
        json!("2000-01-01 "),
    ] {
        expect(&stack, 400, &[("dob", Some(value))]);
    }
}

#[test]
fn the_first_wrong_type_decides() {
    let stack = Stack::shared();
    let bad_date = || Some(json!("2000-13-01"));
    expect(&stack, 422, &[("nickname", Some(Value::Null)), ("fullname", Some(json!(1)))]);
    expect(&stack, 400, &[("nickname", Some(x(33))), ("fullname", Some(json!(1)))]);
    expect(&stack, 400, &[("nickname", None), ("fullname", Some(json!(1)))]);
    expect(&stack, 400, &[("nickname", Some(json!(1))), ("fullname", Some(Value::Null))]);
    expect(&stack, 400, &[("nickname", Some(x(33))), ("dob", bad_date())]);
    expect(&stack, 400, &[("stack", Some(json!([x(33), 1])))]);
    expect(&stack, 422, &[("nickname", Some(Value::Null)), ("dob", bad_date())]);
    expect(&stack, 422, &[("dob", Some(Value::Null)), ("stack", Some(json!(1)))]);
    expect(&stack, 422, &[("stack", Some(json!([null, 1])))]);
}

#[test]
fn what_is_no_json_object_is_400() {
    let stack = Stack::shared();
    let bodies: [&[u8]; 16] = [
        b"",
        b" ",
        b"NaN",
        b"[]",
        b"null",
        b"\"x\"",
        b"1",
        b"{",
        b"{}x",
        b"{\"nickname\":}",
        b"{\"nickname\":\"\xff\"}",
        b"{\"nickname\":\"\\ud800\"}",
        b"{\"nickname\":\"\xed\xa0\x80\"}",
        b"\xef\xbb\xbf{}",
        b"{\"nickname\":NaN}",
        b"nickname=x",
    ];
    for body in bodies {
        let answer = post(stack.address(), "/users", body);
        assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(body));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
}

#[test]
fn the_last_of_a_duplicated_key_wins() {
    let stack = Stack::shared();
    let nickname = unique("last");
    let body = format!(
        r#"{{"nickname":7,"nickname":null,"nickname":"{nickname}","fullname":"f","dob":"10","dob":"2000-01-01","stack":1,"stack":null}}"#
    );
    let created = post(stack.address(), "/users", body);
    assert_eq!(created.status, 201, "{created:?}");
    let fetched = get(stack.address(), created.header("location").unwrap()).json();
    assert_eq!(fetched["nickname"], nickname);
}

#[test]
fn a_problem_names_the_field_in_the_words_of_the_request() {
    let stack = Stack::shared();
    let answer = post(stack.address(), "/pessoas", r#"{"apelido":"a","nome":"b","nascimento":"x"}"#);
    let expected = json!({
        "type": "about:blank", "title": "Bad Request", "status": 400, "field": "nascimento",
        "detail": "nascimento is not a calendar date written YYYY-MM-DD.",
    });
    assert_eq!(answer.json(), expected);
    let answer = post(stack.address(), "/users", r#"{"nickname":"a","dob":"2000-01-01"}"#);
    assert_eq!(answer.json()["detail"], "fullname is missing.");
}

#[test]
fn a_person_is_fetched_as_sent_in_either_vocabulary() {
    let stack = Stack::shared();
    let nickname = unique("\"quotes\\\" é 🥊");
    let body = json!({"nickname": nickname, "fullname": "a\nb\u{1}\u{7f}", "dob": "1999-12-31", "stack": ["{\"a\",}", "NULL", ""]});
    let created = post(stack.address(), "/users", body.to_string());
    let id = created.header("location").unwrap().strip_prefix("/users/").unwrap().to_owned();
    let nickname = serde_json::to_string(&nickname).unwrap();
    let rest = r#""1999-12-31","stack":["{\"a\",}","NULL",""]}"#;
    let fullname = "\"a\\nb\\u0001\u{7f}\"";
    let fetched = get(stack.address(), &format!("/users/{id}"));
    assert_eq!(fetched.header("content-type"), Some("application/json"));
    assert_eq!(fetched.body, format!(r#"{{"id":"{id}","nickname":{nickname},"fullname":{fullname},"dob":{rest}"#));
    let fetched = get(stack.address(), &format!("/pessoas/{id}"));
    assert_eq!(fetched.body, format!(r#"{{"id":"{id}","apelido":{nickname},"nome":{fullname},"nascimento":{rest}"#));
    for instance in ["api1", "api2"] {
        let request = crate::http::request("GET", &format!("//users/{}", id.to_uppercase()));
        assert_eq!(send_unix(&stack.socket(instance), &request).unwrap().status, 200);
    }
}

#[test]
fn an_absent_stack_is_null() {
    let stack = Stack::shared();
    for change in [None, Some(Value::Null)] {
        let created = post(stack.address(), "/users", body(&[("stack", change)]).to_string());
        assert_eq!(get(stack.address(), created.header("location").unwrap()).json()["stack"], Value::Null);
    }
}

#[test]
fn of_those_who_race_for_a_nickname_exactly_one_wins() {
    let stack = Stack::shared();
    for round in 0..10 {
        let nickname = unique(&format!("race {round}"));
        let barrier = Barrier::new(16);
        let won = AtomicUsize::new(0);
        thread::scope(|scope| {
            for racer in 0..16 {
                let (stack, nickname, barrier, won) = (&stack, &nickname, &barrier, &won);
                scope.spawn(move || {
                    let body = body(&[("nickname", Some(json!(nickname)))]).to_string();
                    let request = json_request("/users", body.as_bytes());
                    barrier.wait();
                    let instance = if racer % 2 == 0 { "api1" } else { "api2" };
                    match send_unix(&stack.socket(instance), &request).unwrap().status {
                        201 => drop(won.fetch_add(1, Ordering::Relaxed)),
                        422 => {}
                        status => panic!("a racer was answered {status}"),
                    }
                });
            }
        });
        assert_eq!(won.load(Ordering::Relaxed), 1, "{nickname}");
    }
}

/// Somebody whom the database refuses, for a reason that no rule of ours knows, is stored by nobody's fault but their own.
#[test]
fn one_bad_row_costs_nobody_else() {
    let stack = Stack::own();
    stack.database().batch_execute("ALTER TABLE users ADD CHECK (fullname <> 'poison')").unwrap();
    thread::scope(|scope| {
        for client in 0..24 {
            let stack = &stack;
            scope.spawn(move || {
                for round in 0..20 {
                    let poison = (client + round) % 6 == 0;
                    let fullname = if poison { "poison" } else { "fine" };
                    let answer =
                        post(stack.address(), "/users", body(&[("fullname", Some(json!(fullname)))]).to_string());
                    assert_eq!(answer.status, if poison { 500 } else { 201 }, "{answer:?}");
                    assert!(!answer.body.contains("check"), "internals: {answer:?}");
                }
            });
        }
    });
    assert_eq!(get(stack.address(), "/users-count").body, "400");
}

#[test]
fn another_client_of_the_table_is_seen() {
    let stack = Stack::own();
    let mut database = stack.database();
    let id = "11111111-2222-3333-4444-555555555555";
    let insert = format!("INSERT INTO users VALUES ('{id}', 'Outsider', 'Ñandú', '1970-01-01', ARRAY['X', NULL])");
    database.batch_execute(&insert).unwrap();
    let found = get(stack.address(), &format!("/users/{id}"));
    assert_eq!(
        found.body,
        format!(r#"{{"id":"{id}","nickname":"Outsider","fullname":"Ñandú","dob":"1970-01-01","stack":["X",null]}}"#)
    );
    assert_eq!(get(stack.address(), "/users?q=%C3%B1AND%C3%9A").json()[0]["id"], id);
    assert_eq!(get(stack.address(), "/users-count").body, "1");
    database.batch_execute("UPDATE users SET fullname = 'Changed'").unwrap();
    let fetched = || get(stack.address(), &format!("/users/{id}"));
    // Round robin: two answers are one from each instance.
    let both = |holds: &dyn Fn() -> bool| wait_until(Duration::from_secs(1), || holds() && holds());
    assert!(both(&|| fetched().json()["fullname"] == "Changed"));
    assert!(both(&|| get(stack.address(), "/users?q=changed").json()[0]["id"] == id));
    assert!(both(&|| get(stack.address(), "/users?q=%C3%B1and").body == "[]"));
    database.batch_execute("TRUNCATE users").unwrap();
    assert!(both(&|| fetched().status == 404));
    assert_eq!(get(stack.address(), "/users?q=changed").body, "[]");
    assert_eq!(get(stack.address(), "/contagem-pessoas").body, "0");
    database.batch_execute(&insert).unwrap();
    assert!(fetched().status == 200 && fetched().status == 200, "the same person comes back");
    database.batch_execute("DELETE FROM users").unwrap();
    assert!(both(&|| fetched().status == 404));
}

/// What the table takes from others and no rule of ours allows.
#[test]
fn odd_people_of_another_client_are_shown_and_hide_nobody() {
    let stack = Stack::own();
    let forgetful = stack.another_instance("forgetful", &["--memory", "0"]);
    let mut database = stack.database();
    // For whoever connects from now on: the instance below.
    database.batch_execute("ALTER DATABASE postgres SET datestyle = 'German'").unwrap();
    let foreign = stack.another_instance("foreign", &["--memory", "0"]);
    let odd = [
        ("'plain', '', '2000-01-31', ARRAY['deep']", json!("2000-01-31"), json!(["deep"])),
        ("'none', '', '2000-01-01', '{}'", json!("2000-01-01"), json!([])),
        (
            "'nested', '', '2000-01-01', ARRAY[['deep', NULL], ['c', 'd']]",
            json!("2000-01-01"),
            json!(["deep", null, "c", "d"]),
        ),
        ("'nulls', '', 'infinity', ARRAY[NULL, 'deep']", json!("infinity"), json!([null, "deep"])),
        ("'', '', '0044-03-15 BC', ARRAY['']", json!("0044-03-15 BC"), json!([""])),
    ];
    let sockets = [&stack.socket("api1"), &stack.socket("api2"), &forgetful.socket, &foreign.socket];
    let ask = |socket: &std::path::Path, target: &str| send_unix(socket, &crate::http::request("GET", target)).unwrap();
    for (number, (values, dob, elements)) in odd.iter().enumerate() {
        let id = format!("00000000-0000-4000-8000-{number:012}");
        database.batch_execute(&format!("INSERT INTO users VALUES ('{id}', {values})")).unwrap();
        for socket in sockets {
            let fetched = ask(socket, &format!("/users/{id}")).json();
            assert_eq!((&fetched["dob"], &fetched["stack"]), (dob, elements), "{values} {socket:?}");
        }
    }
    for socket in sockets {
        assert_eq!(ask(socket, "/users?q=DEEP").json().as_array().unwrap().len(), 3, "{socket:?}");
        assert_eq!(ask(socket, "/users?q=plain").json().as_array().unwrap().len(), 1, "{socket:?}");
    }
}

#[test]
fn transactions_that_commit_in_another_order_than_they_began_are_all_seen() {
    let stack = Stack::own();
    let insert =
        |nickname: &str| format!("INSERT INTO users VALUES (gen_random_uuid(), '{nickname}', 'f', '2000-01-01', NULL)");
    let (mut slow, mut quick) = (stack.database(), stack.database());
    let found = |term: &str| get(stack.address(), &format!("/users?q={term}")).json().as_array().unwrap().len();
    let mut first = slow.transaction().unwrap();
    first.batch_execute(&insert("began first")).unwrap();
    for number in 0..4 {
        quick.batch_execute(&insert(&format!("began later {number}"))).unwrap();
        assert_eq!(found("began"), number + 1);
    }
    let mut undone = quick.transaction().unwrap();
    undone.batch_execute(&insert("never was")).unwrap();
    assert_eq!((found("never"), found("began")), (0, 4));
    undone.rollback().unwrap();
    first.commit().unwrap();
    for _ in 0..2 {
        assert_eq!((found("never"), found("began"), found("first")), (0, 5, 1));
    }
}
