//! Clients that mean harm, or are broken: what each gets, and that nobody else waits for it.
//!
//! `PELEJA_CHURN=100000` in the environment has that many connections come and go instead of a few.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;

use crate::http::{get, json_request, post, read_answer, request, send_unix};
use crate::stack::Stack;

const PATIENCE: Duration = Duration::from_secs(20);

fn person(nickname: &str) -> String {
    format!(r#"{{"nickname":"{nickname}","fullname":"f","dob":"2000-01-01"}}"#)
}

fn connect(stack: &Stack) -> TcpStream {
    let stream = TcpStream::connect(stack.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Lets the test hold thousands of connections.
fn many_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).unwrap();
}

/// Somebody who behaves is served while others do not: creates, fetches and searches one after the other.
fn while_others_are_served(what: &str, stack: &Stack, hostile: impl FnOnce()) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let good = || {
        let (mut served, mut slowest) = (0, Duration::ZERO);
        while !over.load(Ordering::Relaxed) || served == 0 {
            let start = Instant::now();
            let nickname = format!("good {}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let created = post(stack.address(), "/users", person(&nickname));
            assert_eq!(created.status, 201, "{what}: {created:?}");
            let found = get(stack.address(), created.header("location").unwrap());
            assert_eq!(found.status, 200, "{what}: {found:?}");
            let found = get(stack.address(), &format!("/users?q={}", nickname.replace(' ', "+")));
            assert_eq!(found.status, 200, "{what}: {found:?}");
            served += 1;
            slowest = slowest.max(start.elapsed());
        }
        eprintln!("{what}: somebody else was served {served} times, three requests each, the slowest in {slowest:?}");
    };
    thread::scope(|scope| {
        let good = scope.spawn(good);
        // Also when the hostile part fails, or the other thread would go on without end.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hostile));
        over.store(true, Ordering::Relaxed);
        good.join().unwrap();
        if let Err(failure) = ended {
            std::panic::resume_unwind(failure);
        }
    });
}

/// Sends bytes, ends that side, and reads the status of each answer.
fn statuses(mut stream: impl Read + Write + Ends, bytes: &[u8]) -> Vec<u16> {
    // A server that has heard enough may close before it has read all.
    let _ = stream.write_all(bytes);
    stream.end();
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    let mut left = answers.as_slice();
    let mut statuses = Vec::new();
    while let Some(end) = left.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&left[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        statuses.push(head.split(' ').nth(1).unwrap().parse().unwrap());
        left = left.get(end + 4 + length.unwrap_or(0)..).unwrap_or_default();
    }
    statuses
}

trait Ends {
    fn end(&self);
}

impl Ends for TcpStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Ends for UnixStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

fn direct(stack: &Stack) -> UnixStream {
    let stream = UnixStream::connect(stack.socket("api1")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn heads_and_bodies_may_come_byte_by_byte() {
    const CLIENTS: usize = 100;
    let stack = Stack::shared();
    while_others_are_served("byte by byte", &stack, || {
        let mut streams: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&stack)).collect();
        let requests: Vec<Vec<u8>> = (0..CLIENTS)
            .map(|number| json_request("/users", person(&format!("dripped {number}")).as_bytes()))
            .collect();
        for at in 0..requests.iter().map(Vec::len).max().unwrap() {
            for (stream, request) in streams.iter_mut().zip(&requests) {
                stream.write_all(request.get(at..=at).unwrap_or_default()).unwrap();
            }
        }
        for stream in streams {
            assert_eq!(read_answer(stream).unwrap().status, 201);
        }
    });
}

#[test]
fn idle_and_half_closed_connections_hold_up_nobody() {
    const EACH: usize = 1_500;
    many_files();
    let stack = Stack::own();
    while_others_are_served("idle and half closed", &stack, || {
        let idle: Vec<TcpStream> = (0..EACH).map(|_| connect(&stack)).collect();
        let half_a_head: Vec<TcpStream> = (0..EACH)
            .map(|_| {
                let mut stream = connect(&stack);
                stream.write_all(b"GET /users?q=half HTTP/1.1\r\nHost: te").unwrap();
                stream
            })
            .collect();
        for stream in (0..EACH).map(|_| connect(&stack)) {
            assert_eq!(statuses(stream, b""), [] as [u16; 0], "half closed without a request");
        }
        for stream in (0..EACH).map(|_| connect(&stack)) {
            assert_eq!(statuses(stream, &request("GET", "/users-count")), [200], "half closed behind a request");
        }
        for mut stream in half_a_head {
            stream.write_all(b"st\r\nConnection: close\r\n\r\n").unwrap();
            assert_eq!(read_answer(stream).unwrap().status, 200, "the other half");
        }
        drop(idle);
    });
}

/// More than may be under way at a time: who only announces a body is not among those.
#[test]
fn bodies_that_are_announced_and_never_sent_hold_up_nobody() {
    const EACH: usize = 450;
    many_files();
    let stack = Stack::own();
    while_others_are_served("bodies that never come", &stack, || {
        let announce = |head: &str| {
            let mut stream = connect(&stack);
            stream.write_all(head.as_bytes()).unwrap();
            stream
        };
        let head = "Host: test\r\nContent-Type: application/json\r\n";
        let waiting: Vec<TcpStream> = (0..EACH)
            .flat_map(|_| {
                [
                    announce(&format!("POST /users HTTP/1.1\r\n{head}Content-Length: 50\r\n\r\n{{")),
                    announce(&format!("GET /users?q=a HTTP/1.1\r\n{head}Content-Length: 50\r\n\r\n")),
                    announce(&format!("POST /users HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n32\r\n")),
                ]
            })
            .collect();
        for stream in waiting {
            assert!(read_answer(stream).is_none(), "closed when the body had not come for 10 s");
        }
    });
    assert_eq!(get(stack.address(), "/users?q=never").body, "[]");
}

/// Each of them has a second request behind it, for whoever reads the first one shorter.
#[test]
fn what_two_servers_could_read_differently_gets_no_second_request_through() {
    let stack = Stack::own();
    let seen = || -> u64 {
        ["api1", "api2"]
            .map(|instance| {
                let figures = send_unix(&stack.socket(instance), &request("GET", "/metrics")).unwrap().body;
                let counts = figures.lines().filter(|line| line.starts_with("peleja_requests_total{"));
                counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum::<u64>()
            })
            .iter()
            .sum()
    };
    let mut differences = Vec::new();
    while_smuggling(|name, bytes, expected| {
        let before = seen();
        let answers = statuses(connect(&stack), bytes);
        // To be asked for figures counts too.
        let reached = seen() - before - 2;
        assert_eq!(answers, expected, "{name}: {}", bytes.escape_ascii());
        assert!(reached <= answers.len() as u64, "{name}: {reached} requests, and {answers:?}");
        let by_instance = statuses(direct(&stack), &renamed(bytes));
        if by_instance != answers {
            differences.push(format!("{name}: nginx {answers:?}, an instance by itself {by_instance:?}"));
        }
    });
    eprintln!("read differently, and stopped by nginx or sent on in one form:\n{}", differences.join("\n"));
    assert_eq!(get(stack.address(), "/users?q=smuggled").body, "[]", "somebody got through");
}

/// With another nickname of the same length.
fn renamed(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replace("smuggled", "unhidden").into_bytes()
}

/// Calls with a name, bytes, and what must come back of each way to let two servers disagree about where a request ends.
fn while_smuggling(mut each: impl FnMut(&str, &[u8], &[u16])) {
    let smuggled = json_request("/users", person("smuggled").as_bytes());
    let body = person("smuggled");
    let size = body.len();
    let chunked = format!("{size:x}\r\n{body}\r\n0\r\n\r\n");
    let length = smuggled.len();
    // A header, what follows the head, and the answers.
    let heads: &[(&str, String, &str, &[u16])] = &[
        ("a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked".into(), "0\r\n\r\n", &[400]),
        ("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 5".into(), "0\r\n\r\n", &[400]),
        ("a length of nothing and chunks", "Content-Length: 0\r\nTransfer-Encoding: chunked".into(), &chunked, &[400]),
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}"), "", &[400]),
        ("two lengths that agree", "Content-Length: 0\r\nContent-Length: 0".into(), "", &[400]),
        ("a list of lengths", format!("Content-Length: 0, {length}"), "", &[400]),
        ("a length with a plus", "Content-Length: +0".into(), "", &[400]),
        ("a length below nothing", "Content-Length: -1".into(), "", &[400]),
        ("a hexadecimal length", "Content-Length: 0x0".into(), "", &[400]),
        ("a length with a point", "Content-Length: 0.0".into(), "", &[400]),
        ("a length with an exponent", "Content-Length: 1e3".into(), "", &[400]),
        ("a length with a letter", "Content-Length: 0a".into(), "", &[400]),
        ("an empty length", "Content-Length: ".into(), "", &[400]),
        ("a length beyond 64 bits", "Content-Length: 18446744073709551616".into(), "", &[400]),
        ("a length of 64 bits", "Content-Length: 18446744073709551615".into(), "", &[400]),
        ("a length in quotation marks", "Content-Length: \"0\"".into(), "", &[400]),
        ("a length with a space before the colon", "Content-Length : 0".into(), "", &[400]),
        ("a length with a tab before the colon", "Content-Length\t: 0".into(), "", &[400]),
        ("chunks with a space before the colon", "Transfer-Encoding : chunked".into(), "0\r\n\r\n", &[400]),
        ("a length on a line of its own", "Content-Length:\r\n 0".into(), "", &[400]),
        ("chunks on a line of their own", "Transfer-Encoding:\r\n chunked".into(), "0\r\n\r\n", &[400]),
        ("chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked".into(), "0\r\n\r\n", &[400]),
        ("chunks in chunks", "Transfer-Encoding: chunked, chunked".into(), "0\r\n\r\n", &[501]),
        ("another coding behind chunks", "Transfer-Encoding: chunked, identity".into(), "0\r\n\r\n", &[501]),
        ("another coding before chunks", "Transfer-Encoding: gzip, chunked".into(), "0\r\n\r\n", &[501]),
        ("no chunks", "Transfer-Encoding: identity".into(), "0\r\n\r\n", &[501]),
        ("nearly chunks", "Transfer-Encoding: xchunked".into(), "0\r\n\r\n", &[501]),
        ("chunks with a comma", "Transfer-Encoding: chunked,".into(), "0\r\n\r\n", &[501]),
        ("chunks in quotation marks", "Transfer-Encoding: \"chunked\"".into(), "0\r\n\r\n", &[501]),
        ("chunks behind a vertical tab", "Transfer-Encoding: \x0bchunked".into(), "0\r\n\r\n", &[501]),
        ("chunks with a parameter", "Transfer-Encoding: chunked;q=1".into(), "0\r\n\r\n", &[501]),
        ("a header's name with a byte of nothing", "Content-Length\0: 0".into(), "", &[400]),
        ("a header's value with a byte of nothing", "X: \0".into(), "", &[400]),
        ("a return by itself in a header", "X: a\rContent-Length: 5".into(), "", &[400]),
        ("a header without a colon", "Content-Length 0".into(), "", &[400]),
        ("a header without a name", ": 0".into(), "", &[400]),
        ("a host twice", "Host: other".into(), "", &[400]),
    ];
    for (name, header, behind, expected) in heads {
        let head = format!("POST /users HTTP/1.1\r\nHost: test\r\n{header}\r\n\r\n{behind}");
        each(name, &[head.as_bytes(), &smuggled].concat(), expected);
    }
    let chunks: &[(&str, String, &[u16])] = &[
        ("a chunk's length that is none", "x\r\n".into(), &[400]),
        ("a chunk's length below nothing", "-1\r\n".into(), &[400]),
        ("a chunk's length with 0x", "0x0\r\n\r\n".into(), &[400]),
        ("a chunk's length with a plus", "+0\r\n\r\n".into(), &[400]),
        ("a chunk's length with a space before it", " 0\r\n\r\n".into(), &[400]),
        ("an empty chunk's length", "\r\n\r\n".into(), &[400]),
        ("a chunk beyond 64 bits", "10000000000000000\r\n".into(), &[400]),
        ("a chunk of 64 bits", "ffffffffffffffff\r\n".into(), &[400]),
        ("a chunk that is too large", "4001\r\n".into(), &[413]),
        ("a chunk without its line's end", format!("{size:x}\r\n{body}0\r\n\r\n"), &[400]),
        ("a chunk longer than it says", format!("1\r\n{body}\r\n0\r\n\r\n"), &[400]),
        ("a return by itself behind a chunk", format!("{size:x}\r\n{body}\r0\r\n\r\n"), &[400]),
    ];
    for (name, behind, expected) in chunks {
        let head = "POST /users HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        each(name, &[head.as_bytes(), behind.as_bytes(), &smuggled].concat(), expected);
    }
    let lines: &[(&str, &str, &[u16])] = &[
        ("a version with chunks that had none", "POST /users HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0", &[400]),
        ("a version to come", "GET /users-count HTTP/2.0\r\nHost: test", &[505]),
        ("two spaces and a path", "GET /users-count  /other HTTP/1.1\r\nHost: test", &[400]),
        ("a method in small letters", "get /users-count HTTP/1.1\r\nHost: test", &[400]),
        ("no host", "GET /users-count HTTP/1.1", &[400]),
        ("a host with a space", "GET /users-count HTTP/1.1\r\nHost: te st", &[400]),
        ("a host with a path", "GET /users-count HTTP/1.1\r\nHost: test/x", &[400]),
        ("a return in the line", "GET /users-count\r HTTP/1.1\r\nHost: test", &[400]),
        ("a byte of nothing in the line", "GET /users\0count HTTP/1.1\r\nHost: test", &[400]),
    ];
    for (name, line, expected) in lines {
        each(name, &[line.as_bytes(), b"\r\n\r\n", &smuggled].concat(), expected);
    }
}

#[test]
fn who_pipelines_behind_an_error_is_answered_in_order_or_not_at_all() {
    let stack = Stack::shared();
    let keep = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("Connection: close\r\n", "").into_bytes();
    let count = || keep(request("GET", "/users-count"));
    let create = |body: &str| keep(json_request("/users", body.as_bytes()));
    let not_json = String::from_utf8(create("{}")).unwrap().replace("application/json", "text/plain").into_bytes();
    let large = create(&" ".repeat(20_000));
    for (what, first, expected) in [
        ("an unknown path", keep(request("GET", "/nowhere")), &[404, 200, 200][..]),
        ("no term", keep(request("GET", "/users")), &[400, 200, 200]),
        ("another method", keep(request("PUT", "/users")), &[405, 200, 200]),
        ("a body that is no person", create("{}"), &[422, 200, 200]),
        ("a body that is no JSON", create("{"), &[400, 200, 200]),
        ("a body that does not say that it is JSON", not_json, &[415, 200, 200]),
        ("a path that is none", keep(request("GET", "/%00")), &[400]),
        ("a byte that is no UTF-8", [&b"GET /users?q=\xff HTTP/1.1\r\nHost: test\r\n\r\n"[..]].concat(), &[400]),
        ("what is no HTTP", b"nonsense\r\n\r\n".to_vec(), &[400]),
        ("a body that is too large", large, &[413]),
    ] {
        let answers = statuses(connect(&stack), &[first, count(), count()].concat());
        // Who is told that they could not be understood is told nothing more.
        assert_eq!(answers, expected, "{what}");
    }
    let many = count().repeat(500);
    assert_eq!(statuses(connect(&stack), &many), [200; 500]);
}

#[test]
fn broken_utf_8_and_bytes_of_nothing_are_answered() {
    let stack = Stack::shared();
    for (target, status) in [
        (&b"/users?q=%00"[..], 200),
        (b"/users?q=a%00b", 200),
        (b"/users?q=%ff", 400),
        (b"/users?q=%c3", 400),
        (b"/users?q=%c0%af", 400),
        (b"/users?q=%ed%a0%80", 400),
        (b"/users?q=%f4%90%80%80", 400),
        (b"/users?q=\xff", 400),
        (b"/users?q=\xc3\xa9", 200),
        (b"/users?q=\0", 400),
        (b"/users/%00", 400),
        (b"/users%00", 400),
        (b"/users/%ff", 404),
        (b"/users/\xff", 400),
        (b"/%c0%ae%c0%ae/users", 404),
        (b"/users/..%2f..%2fetc%2fpasswd", 400),
        (b"/../users-count", 400),
        (b"/%2e%2e/users-count", 400),
        (b"/users-count#x", 200),
        (b"http://test/users-count", 200),
        (b"*", 400),
    ] {
        let line = [b"GET ", target, b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"].concat();
        assert_eq!(statuses(connect(&stack), &line), [status], "{}", target.escape_ascii());
    }
    for body in [&b"\xff"[..], b"{\"nickname\":\"\xff\"}", b"{\"nickname\":\"\0\"}", b"\0"] {
        assert_eq!(statuses(connect(&stack), &json_request("/users", body)), [400], "{}", body.escape_ascii());
    }
}

#[test]
fn nobody_is_upgraded() {
    let stack = Stack::shared();
    let settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    let upgrade = |to: &str, more: &str| {
        format!(
            "GET /users-count HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {to}\r\n{more}\r\n\r\n"
        )
    };
    for (what, bytes) in [
        ("h2c", upgrade("h2c", settings)),
        ("a websocket", upgrade("websocket", key)),
        ("TLS", upgrade("TLS/1.0", "X: x")),
        ("whatever", upgrade("whatever", "X: x")),
    ] {
        assert_eq!(statuses(connect(&stack), bytes.as_bytes()), [200], "{what}");
        assert_eq!(statuses(direct(&stack), bytes.as_bytes()), [200], "direct: {what}");
    }
    for (what, bytes, status) in [
        ("HTTP/2 without asking", &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], 400),
        ("a tunnel", b"CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n", 400),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400),
    ] {
        assert_eq!(statuses(connect(&stack), bytes), [status], "{what}");
    }
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let churn: usize = std::env::var("PELEJA_CHURN").ok().and_then(|number| number.parse().ok()).unwrap_or(5_000);
    let stack = Stack::own();
    let open_files = || {
        let count = |service: &&str| std::fs::read_dir(format!("/proc/{}/fd", stack.worker(service))).unwrap().count();
        ["nginx", "api1", "api2"].iter().map(count).collect::<Vec<_>>()
    };
    let before = open_files();
    while_others_are_served(&format!("{churn} connections"), &stack, || {
        let cut_off = |mut stream: TcpStream, bytes: &[u8]| {
            // Closed by a reset instead of in order.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            let _ = stream.write_all(bytes);
        };
        for number in 0..churn {
            let stream = connect(&stack);
            match number % 6 {
                0 => drop(stream),
                1 => cut_off(stream, b""),
                2 => cut_off(stream, b"POST /users HTTP/1.1\r\nHost: te"),
                3 => cut_off(stream, &request("GET", "/users?q=a")),
                4 => assert_eq!(statuses(stream, &request("GET", "/users-count")), [200]),
                _ => {
                    let mut stream = stream;
                    stream.write_all(&json_request("/users", person(&format!("churn {number}")).as_bytes())).unwrap();
                }
            }
        }
    });
    // Those that nginx keeps to its instances stay, and are few.
    let few = 300;
    let is_as_before = || open_files().iter().zip(&before).all(|(now, before)| *now < before + few);
    assert!(arena::stack::process::wait_until(PATIENCE, is_as_before), "{before:?}, then {:?}", open_files());
}
