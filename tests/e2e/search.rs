//! Searching: what is found, what is not, and what a term may hold.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::http::{get, json_request, post, request, send_unix};
use crate::stack::Stack;

fn store(stack: &Stack, nickname: &str, fullname: &str, stack_of: Value) {
    let body = json!({"nickname": nickname, "fullname": fullname, "dob": "2000-01-01", "stack": stack_of});
    let answer = post(stack.address(), "/users", body.to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// The nicknames of those who are found, sorted.
fn found(stack: &Stack, term: &str) -> Vec<String> {
    let target = format!("/users?q={}", utf8_percent_encode(term, NON_ALPHANUMERIC));
    let answer = get(stack.address(), &target);
    assert_eq!(answer.status, 200, "{term:?}: {answer:?}");
    let people = answer.json();
    let nickname = |person: &Value| person["nickname"].as_str().unwrap().to_owned();
    let mut nicknames: Vec<_> = people.as_array().unwrap().iter().map(nickname).collect();
    nicknames.sort();
    nicknames
}

#[test]
fn every_field_is_searched_without_regard_to_case() {
    let stack = Stack::own();
    store(&stack, "Zoë", "Ångström Ödland", json!(["PostgreSQL", "C#"]));
    store(&stack, "ΣΊΣΥΦΟΣ", "Straße", json!(null));
    store(&stack, "🥊 boxer", "ÑANDÚ İstanbul", json!(["Go"]));
    for term in ["zoË", "zoë", "Zo", "ZO", "ångSTRÖM", "öd", "postgres", "SQL", "c#", "#", "m Ö"] {
        assert_eq!(found(&stack, term), ["Zoë"], "{term}");
    }
    for term in ["σίσυφος", "Σίσυφοσ", "ΣΊΣ", "σ", "STRASSE", "straße", "STRAẞE", "ß"] {
        assert_eq!(found(&stack, term), ["ΣΊΣΥΦΟΣ"], "{term}");
    }
    for term in ["🥊", "🥊 B", "ñandú", "go", "İSTANBUL", "İst"] {
        assert_eq!(found(&stack, term), ["🥊 boxer"], "{term}");
    }
    for term in ["nobody at all", "zz", "Zoë ", "🥋"] {
        assert!(found(&stack, term).is_empty(), "{term}");
    }
    assert_eq!(get(stack.address(), "/users?q=nobody").body, "[]");
}

#[test]
fn wildcards_quotes_and_backslashes_are_plain() {
    let stack = Stack::own();
    store(&stack, "percent", "100% sure", json!(["a_b"]));
    store(&stack, "backslash", r"C:\dir\new", json!(["it's"]));
    store(&stack, "none", "plain", json!(["axb"]));
    assert_eq!(found(&stack, "%"), ["percent"]);
    assert_eq!(found(&stack, "100%"), ["percent"]);
    assert_eq!(found(&stack, "0% S"), ["percent"]);
    assert_eq!(found(&stack, "a_b"), ["percent"]);
    assert_eq!(found(&stack, "_"), ["percent"]);
    assert_eq!(found(&stack, r"\"), ["backslash"]);
    assert_eq!(found(&stack, r"\dir\NEW"), ["backslash"]);
    assert_eq!(found(&stack, "it's"), ["backslash"]);
    assert!(found(&stack, "%%%").is_empty());
    assert!(found(&stack, "p%t").is_empty());
    assert!(found(&stack, "' OR 1=1 --").is_empty());
}

#[test]
fn a_match_never_spans_two_fields() {
    let stack = Stack::own();
    store(&stack, "abc", "def", json!(["ghi", "jkl"]));
    store(&stack, "sep\u{1f}arated", "x\u{1f}y", json!(["one\u{1f}two"]));
    for term in
        ["abcdef", "cd", "abc def", "ghijkl", "fghi", "abc\u{1f}def", "ghi\u{1f}jkl", "arated\u{1f}x", "c\u{1f}d"]
    {
        assert!(found(&stack, term).is_empty(), "{term:?}");
    }
    for term in ["P\u{1f}A", "x\u{1f}y", "one\u{1f}TWO", "\u{1f}"] {
        assert_eq!(found(&stack, term), ["sep\u{1f}arated"], "{term:?}");
    }
}

#[test]
fn at_most_fifty_are_found() {
    let stack = Stack::own();
    let mut database = stack.database();
    let many = "INSERT INTO users SELECT gen_random_uuid(), 'many ' || n, 'Full Name', '2000-01-01', '{Rust}' FROM generate_series(1, 120) n";
    database.batch_execute(many).unwrap();
    for term in ["many", "full name", "RUST", "ru", "a", " "] {
        assert_eq!(found(&stack, term).len(), 50, "{term}");
    }
    assert_eq!(found(&stack, "many 12").len(), 2);
}

#[test]
fn the_query_is_decoded_as_a_form_is() {
    let stack = Stack::own();
    store(&stack, "a b", "c+d", json!(null));
    store(&stack, "é", "", json!(null));
    for (target, status, hits) in [
        ("/users?q=a+b", 200, 1),
        ("/users?q=A%20B", 200, 1),
        ("/users?q=c%2Bd", 200, 1),
        ("/users?x=y&q=a+b&z", 200, 1),
        ("/pessoas?t=a+b", 200, 1),
        ("/users?q=%C3%89", 200, 1),
        ("/users?q=%00", 200, 0),
        ("/users?q=a%00", 200, 0),
        ("/users?q=+", 200, 1),
        ("/users", 400, 0),
        ("/users?", 400, 0),
        ("/users?q", 400, 0),
        ("/users?q=", 400, 0),
        ("/users?t=a", 400, 0),
        ("/pessoas?q=a", 400, 0),
        ("/users?q=%FF", 400, 0),
        ("/users?q=a%C3", 400, 0),
    ] {
        let answer = get(stack.address(), target);
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.json().as_array().unwrap().len(), hits, "{target}: {answer:?}");
        } else {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
    }
}

#[test]
fn the_event_s_words_are_answered_in_them() {
    let stack = Stack::own();
    store(&stack, "n", "f", json!(["s"]));
    let id = get(stack.address(), "/users?q=n").json()[0]["id"].as_str().unwrap().to_owned();
    let expected = format!(r#"[{{"id":"{id}","apelido":"n","nome":"f","nascimento":"2000-01-01","stack":["s"]}}]"#);
    assert_eq!(get(stack.address(), "/pessoas?t=N").body, expected);
}

#[test]
fn whoever_was_created_through_one_instance_is_found_through_the_other_at_once() {
    let stack = Stack::own();
    for number in 0..50 {
        let nickname = format!("someone {number:03}");
        let body = json!({"nickname": nickname, "fullname": "f", "dob": "2000-01-01"}).to_string();
        let (one, other) = if number % 2 == 0 { ("api1", "api2") } else { ("api2", "api1") };
        let created = send_unix(&stack.socket(one), &json_request("/users", body.as_bytes())).unwrap();
        assert_eq!(created.status, 201);
        let search = request("GET", &format!("/users?q=someone+{number:03}"));
        let found = send_unix(&stack.socket(other), &search).unwrap();
        assert_eq!(found.json()[0]["nickname"], nickname);
        let count = send_unix(&stack.socket(other), &request("GET", "/users-count")).unwrap();
        assert_eq!(count.body, (number + 1).to_string());
    }
}

#[test]
fn the_database_answers_where_memory_is_too_small() {
    let stack = Stack::own();
    let forgetful = stack.another_instance("forgetful", &["--memory", "0"]);
    store(&stack, "Zoë", "Ångström % Ödland", json!(["PostgreSQL", "C#"]));
    store(&stack, "ΣΊΣΥΦΟΣ", "Straße", json!(null));
    let ask = |target: &str| send_unix(&forgetful.socket, &request("GET", target)).unwrap();
    for (term, nickname) in [
        ("zoË", "Zoë"),
        ("m % Ö", "Zoë"),
        ("c#", "Zoë"),
        ("σίσυφοσ", "ΣΊΣΥΦΟΣ"),
        ("STRASSE", "ΣΊΣΥΦΟΣ"),
        ("aẞe", "ΣΊΣΥΦΟΣ"),
    ] {
        let target = format!("/users?q={}", utf8_percent_encode(term, NON_ALPHANUMERIC));
        let found = ask(&target).json();
        assert_eq!((found.as_array().unwrap().len(), &found[0]["nickname"]), (1, &json!(nickname)), "{term}");
        let id = found[0]["id"].as_str().unwrap();
        assert_eq!(ask(&format!("/users/{id}")).json(), found[0]);
    }
    assert_eq!(ask("/users?q=l%23c").body, "[]");
    assert_eq!(ask("/users?q=%00").body, "[]");
    assert_eq!(ask("/users/11111111-2222-4333-8444-555555555555").status, 404);
    let created =
        send_unix(&forgetful.socket, &json_request("/users", br#"{"nickname":"n","fullname":"f","dob":"2000-01-01"}"#));
    let location = created.unwrap().header("location").unwrap().to_owned();
    assert_eq!(ask(&location).status, 200);
    assert_eq!(get(stack.address(), &location).status, 200);
}
