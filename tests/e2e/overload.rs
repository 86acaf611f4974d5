//! More than can be served: who is refused, what is done for them, and what the others notice.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

use crate::http::{Answer, get, json_request, post, read_answer};
use crate::stack::Stack;

fn create(nickname: &str) -> Vec<u8> {
    json_request("/users", json!({"nickname": nickname, "fullname": "f", "dob": "2000-01-01"}).to_string().as_bytes())
}

fn stored(stack: &Stack) -> BTreeSet<String> {
    let rows = stack.database().query("SELECT nickname FROM users", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn is_refusal(answer: &Answer) -> bool {
    answer.status == 503
        && answer.header("retry-after") == Some("1")
        && answer.header("content-type") == Some("application/problem+json")
        && answer.json()["detail"].as_str().unwrap().ends_with("nothing was done.")
}

fn answer(stream: TcpStream) -> Option<Answer> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    read_answer(stream)
}

#[test]
fn an_instance_that_is_full_refuses_a_create_before_its_body_has_come() {
    let stack = Stack::own();
    let instance = stack.another_instance("small", &["--queue", "4", "--patience", "20"]);
    let mut locker = stack.database();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("LOCK TABLE users IN SHARE MODE").unwrap();
    let send = |request: &[u8]| {
        let mut stream = UnixStream::connect(&instance.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        stream
    };
    // One is under way before the others come, and they wait behind it.
    let mut waiting = vec![send(&create("0"))];
    let under_way = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let mut database = stack.database();
    let waits = || database.query_one(under_way, &[]).unwrap().get::<_, i64>(0) == 1;
    assert!(arena::stack::process::wait_until(Duration::from_secs(5), waits), "the create does not wait for the lock");
    waiting.extend((1..=4).map(|number| send(&create(&number.to_string()))));
    let head = b"POST /users HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n";
    for request in [&create("refused")[..], head] {
        let answer = read_answer(send(request)).unwrap();
        assert!(is_refusal(&answer), "{answer:?}");
    }
    lock.rollback().unwrap();
    assert!(waiting.into_iter().all(|stream| read_answer(stream).unwrap().status == 201));
    assert_eq!(stored(&stack), (0..=4).map(|number| number.to_string()).collect());
    assert_eq!(read_answer(send(&create("after"))).unwrap().status, 201);
}

#[test]
fn who_is_refused_by_nginx_is_not_stored_and_everybody_is_answered() {
    const UNDER_WAY: usize = 1024;
    const REFUSED: usize = 100;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).unwrap();
    let stack = Stack::own();
    let known = post(stack.address(), "/users", r#"{"nickname":"known","fullname":"f","dob":"2000-01-01"}"#);
    let known = known.header("location").unwrap();
    let mut locker = stack.database();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("LOCK TABLE users IN SHARE MODE").unwrap();
    let send = |number: usize| {
        let mut stream = TcpStream::connect(stack.address()).unwrap();
        stream.write_all(&create(&number.to_string())).unwrap();
        stream
    };
    let under_way: Vec<_> = (0..UNDER_WAY).map(send).collect();
    for number in UNDER_WAY..UNDER_WAY + REFUSED {
        let answer = answer(send(number)).unwrap();
        assert!(is_refusal(&answer), "{answer:?}");
    }
    let fetched = get(stack.address(), known);
    assert_eq!(fetched.status, 200, "a fetch of somebody who was created before: {fetched:?}");
    lock.rollback().unwrap();
    for stream in under_way {
        assert_eq!(answer(stream).unwrap().status, 201);
    }
    let expected = (0..UNDER_WAY).map(|number| number.to_string()).chain(["known".to_owned()]).collect();
    assert_eq!(stored(&stack), expected);
    let after: Vec<_> = (UNDER_WAY..UNDER_WAY + REFUSED).map(send).collect();
    assert!(after.into_iter().all(|stream| answer(stream).unwrap().status == 201));
}

/// A huge page is cleared whole for the first byte that is needed of it.
#[test]
fn an_instance_takes_small_pages() {
    let stack = Stack::own();
    let status = stack.another_instance("small", &[]).status();
    assert!(status.lines().any(|line| line.split_whitespace().eq(["THP_enabled:", "0"])), "{status}");
}
