//! Paths, methods, bodies and health.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use crate::http::{get, json_request, post, read_answer, request, send, send_unix};
use crate::stack::Stack;

const SOMEBODY: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn unknown_paths_and_people_are_404() {
    let stack = Stack::shared();
    let targets = [
        "/",
        "/user",
        "/users/",
        "/usersx",
        "/users/1",
        "/users/not-a-uuid",
        "/users/00000000-0000-4000-8000-00000000000g",
        "/users/00000000000040008000000000000000",
        "/users/{00000000-0000-4000-8000-000000000000}",
        "/users-count/",
        "/metrics",
        "/health/ready",
        "/health/live",
        "///users-count",
    ];
    let people = [format!("/users/{SOMEBODY}"), format!("/pessoas/{SOMEBODY}"), format!("/users/{SOMEBODY}/x")];
    for target in targets.into_iter().chain(people.iter().map(String::as_str)) {
        let answer = get(stack.address(), target);
        assert_eq!(answer.status, 404, "{target}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{target}");
        assert_eq!(answer.json()["status"], 404);
    }
}

#[test]
fn an_encoded_path_is_the_same_path() {
    let stack = Stack::shared();
    for target in ["/users%2Dcount", "/%63ontagem-pessoas", "/users-count", "//users-count"] {
        assert_eq!(get(stack.address(), target).status, 200, "{target}");
    }
    for target in ["/%6detrics", "/users%252Dcount", "/users%2Fcount", "/health%2Fready", "/%ff"] {
        assert_eq!(get(stack.address(), target).status, 404, "{target}");
    }
}

#[test]
fn other_methods_are_405_and_the_right_ones_are_named() {
    let stack = Stack::shared();
    let person = format!("/users/{SOMEBODY}");
    for (method, target, allow) in [
        ("PUT", "/users", "GET, HEAD, POST"),
        ("DELETE", "/pessoas", "GET, HEAD, POST"),
        ("PATCH", "/users", "GET, HEAD, POST"),
        ("OPTIONS", "/users", "GET, HEAD, POST"),
        ("POST", person.as_str(), "GET, HEAD"),
        ("DELETE", person.as_str(), "GET, HEAD"),
        ("POST", "/users-count", "GET, HEAD"),
        ("PUT", "/contagem-pessoas", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("TRACE", "/users?q=a", "GET, HEAD, POST"),
        ("TRACE", "/users-count", "GET, HEAD"),
    ] {
        let answer = send(stack.address(), &request(method, target)).unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
}

#[test]
fn what_nginx_refuses_by_itself_is_a_problem_too() {
    let stack = Stack::shared();
    let long = |what: &str| format!("GET /users{what}{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(17_000));
    let coded = "POST /users HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n";
    for (request, status) in [
        ("nonsense\r\n\r\n", 400),
        ("get /users HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        ("GET users HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        ("GET /users%zz HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        ("GET /../users HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        ("GET /users-count HTTP/1.1\r\n\r\n", 400),
        ("GET /users-count HTTP/2.0\r\nHost: test\r\n\r\n", 505),
        (coded, 501),
        (long("?q=").as_str(), 414),
        (long(" HTTP/1.1\r\nX: ").as_str(), 431),
    ] {
        let answer = send(stack.address(), request.as_bytes()).unwrap();
        let shown = &request[..request.len().min(60)];
        assert_eq!(answer.status, status, "{shown:?}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown:?}");
        assert_eq!(answer.json()["status"], status, "{shown:?}");
    }
}

#[test]
fn an_address_that_an_instance_cannot_read_is_a_problem() {
    let stack = Stack::shared();
    for target in ["/users?q=<b>", "/users?q=a>b", "/users?q=\"a\"", "/users/<b>", "/users/`"] {
        let answer = get(stack.address(), target);
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{target}");
    }
    for bytes in
        [&b"\xe9"[..], b"a\xff", b"\xc3", b"\x80", b"\xc3\xa9\xa9", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]
    {
        let answer = send(stack.address(), &[b"GET /users?q=", bytes, b" HTTP/1.0\r\n\r\n"].concat()).unwrap();
        assert_eq!(answer.status, 400, "{bytes:x?}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{bytes:x?}");
    }
    for target in ["/users?q=é", "/users?q=€🥊", "/users?q=%3Cb%3E", "/users?q=^`{|}\\", "/users?q=%22"] {
        assert_eq!(get(stack.address(), target).status, 200, "{target}");
    }
}

#[test]
fn headers_that_nobody_asked_for_do_no_harm() {
    let stack = Stack::shared();
    let many: String = (0..300).map(|number| format!("X-{number}: 1\r\n")).collect();
    for headers in [many.as_str(), "X: \u{1}\r\n", "X: \u{7f}\r\n", "X: é\r\n", "X@\"[]: 1\r\n"] {
        let request = format!("GET /users-count HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
        assert_eq!(send(stack.address(), request.as_bytes()).unwrap().status, 200, "{headers:?}");
    }
}

#[test]
fn head_is_get_without_a_body() {
    let stack = Stack::shared();
    for target in ["/users-count", "/users?q=nobody-at-all", "/health", "/users", "/nowhere"] {
        let head = send(stack.address(), &request("HEAD", target)).unwrap();
        let get = get(stack.address(), target);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{target}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
        assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{target}");
    }
}

#[test]
fn a_body_must_say_that_it_is_json() {
    let stack = Stack::shared();
    let with_type = |header: &str| {
        let body = r#"{"nickname":1}"#;
        let head = "POST /users HTTP/1.1\r\nHost: test\r\nConnection: close";
        let request = format!("{head}\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len());
        send(stack.address(), request.as_bytes()).unwrap().status
    };
    for good in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF-8"] {
        assert_eq!(with_type(&format!("Content-Type: {good}\r\n")), 400, "{good}");
    }
    for bad in ["text/plain", "application/jsonx", "application/problem+json", "application/x-www-form-urlencoded", ""]
    {
        assert_eq!(with_type(&format!("Content-Type: {bad}\r\n")), 415, "{bad}");
    }
    assert_eq!(with_type(""), 415);
}

/// An instance's parser refuses them without a word.
#[test]
fn a_control_character_in_a_header_that_matters_is_a_problem() {
    let stack = Stack::shared();
    let controls = (0x01..0x20u8).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte));
    for byte in controls {
        for header in ["Content-Type: application/json", "Content-Type: application/json\r\nContent-Encoding: identity"]
        {
            let head =
                [b"POST /users HTTP/1.1\r\nHost: test\r\nConnection: close\r\n", header.as_bytes(), &[byte]].concat();
            let request = [&head[..], b"x\r\nContent-Length: 2\r\n\r\n{}"].concat();
            let answer = send(stack.address(), &request).unwrap();
            assert_eq!(answer.status, 415, "{byte:#x}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{byte:#x}");
        }
        let search = [b"GET /users?q=a HTTP/1.0\r\nContent-Type: ", &[byte][..], b"\r\n\r\n"].concat();
        assert_eq!(send(stack.address(), &search).unwrap().status, 200, "{byte:#x}");
    }
}

#[test]
fn a_coded_body_is_415() {
    let stack = Stack::shared();
    let with_coding = |coding: &str| {
        let head = "POST /users HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json";
        let request = format!("{head}\r\nContent-Encoding:{coding}\r\nContent-Length: 2\r\n\r\n{{}}");
        let through_nginx = send(stack.address(), request.as_bytes()).unwrap();
        let direct = send_unix(&stack.socket("api1"), request.as_bytes()).unwrap();
        assert_eq!((through_nginx.status, &through_nginx.body), (direct.status, &direct.body), "{coding}");
        through_nginx
    };
    for coding in [" gzip", " GZIP", " br", " identity, gzip", " gzip,identity", " x", "deflate"] {
        let answer = with_coding(coding);
        assert_eq!((answer.status, answer.header("accept-encoding")), (415, Some("identity")), "{coding}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{coding}");
    }
    for coding in ["", " ", " identity", " Identity", " identity,identity", " ,"] {
        assert_eq!(with_coding(coding).status, 422, "{coding}");
    }
}

#[test]
fn who_ends_their_side_behind_a_request_is_answered() {
    let stack = Stack::shared();
    let body = |nickname: &str| format!(r#"{{"nickname":"{nickname}","fullname":"f","dob":"2000-01-01"}}"#);
    let create = |nickname: &str| json_request("/users", body(nickname).as_bytes());
    let location = post(stack.address(), "/users", body("before")).header("location").unwrap().to_owned();
    let through_nginx = |request: &[u8]| {
        let mut stream = TcpStream::connect(stack.address()).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        read_answer(stream).map(|answer| answer.status)
    };
    let direct = |request: &[u8]| {
        let mut stream = UnixStream::connect(stack.socket("api1")).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        read_answer(stream).map(|answer| answer.status)
    };
    for (request, status) in [
        (request("GET", "/users-count"), 200),
        (request("GET", "/users?q=before"), 200),
        (request("GET", &location), 200),
        (request("GET", "/users/nobody"), 404),
        (request("GET", "/users"), 400),
        (request("PUT", "/users"), 405),
        (request("HEAD", "/users-count"), 200),
        (create("before"), 422),
    ] {
        let shown = String::from_utf8(request.clone()).unwrap();
        for request in [request, shown.replace("Connection: close\r\n", "").into_bytes()] {
            assert_eq!(through_nginx(&request), Some(status), "{shown}");
            assert_eq!(direct(&request), Some(status), "direct: {shown}");
        }
    }
    assert_eq!((through_nginx(&create("half")), direct(&create("the other half"))), (Some(201), Some(201)));
    assert_eq!(through_nginx(&request("GET", "/health")), Some(200));
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let stack = Stack::shared();
    let padding = "x".repeat(8000);
    let body = format!(r#"{{"nickname":"byte by byte","fullname":"f","dob":"2000-01-01","padding":"{padding}"}}"#);
    let mut stream = UnixStream::connect(stack.socket("api1")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    for byte in json_request("/users", body.as_bytes()) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_answer(stream).unwrap().status, 201);
}

#[test]
fn a_body_may_have_16_kib() {
    let stack = Stack::shared();
    let body = |size: usize| {
        let empty = r#"{"nickname":1,"padding":""}"#;
        format!(r#"{{"nickname":1,"padding":"{}"}}"#, "x".repeat(size - empty.len()))
    };
    let limit = 16 * 1024;
    assert_eq!(post(stack.address(), "/users", body(limit)).status, 400);
    let too_large = post(stack.address(), "/users", body(limit + 1));
    assert_eq!((too_large.status, too_large.json()["status"].as_u64()), (413, Some(413)));
    for (size, status) in [(limit, 400), (limit + 1, 413)] {
        let direct = send_unix(&stack.socket("api1"), &json_request("/users", body(size).as_bytes())).unwrap();
        assert_eq!(direct.status, status);
        let head = "POST /users HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json";
        let chunked = format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n", body(size));
        for answer in [send(stack.address(), chunked.as_bytes()), send_unix(&stack.socket("api1"), chunked.as_bytes())]
        {
            assert_eq!(answer.unwrap().status, status, "chunked, {size} bytes");
        }
    }
}

#[test]
fn health_is_nginx_s_and_each_instance_has_its_own() {
    let stack = Stack::shared();
    assert_eq!(get(stack.address(), "/health").status, 200);
    for instance in ["api1", "api2"] {
        for path in ["/health/live", "/health/ready"] {
            assert_eq!(
                send_unix(&stack.socket(instance), &request("GET", path)).unwrap().status,
                200,
                "{instance} {path}"
            );
        }
    }
}

#[test]
fn figures_are_each_instance_s_own_and_not_for_the_outside() {
    let stack = Stack::own();
    let body = r#"{"nickname":"figure","fullname":"f","dob":"2000-01-01"}"#;
    let create = json_request("/users", body.as_bytes());
    for status in [201, 422] {
        assert_eq!(send_unix(&stack.socket("api1"), &create).unwrap().status, status);
    }
    let figures = send_unix(&stack.socket("api1"), &request("GET", "/metrics")).unwrap();
    assert_eq!(figures.header("content-type"), Some("text/plain; version=0.0.4"));
    for line in [
        r#"peleja_requests_total{kind="create",status="201"} 1"#,
        r#"peleja_requests_total{kind="create",status="422"} 1"#,
        r#"peleja_request_duration_seconds_count{kind="create"} 2"#,
        r#"peleja_create_group_people_bucket{le="1"} 2"#,
        "peleja_people_remembered 1",
    ] {
        assert!(figures.body.lines().any(|found| found == line), "{line} is missing in\n{}", figures.body);
    }
    assert_eq!(get(stack.address(), "/metrics").status, 404);
}

#[test]
fn a_wrong_setting_ends_the_program_before_anything_starts() {
    let stack = Stack::shared();
    let run = |arguments: &[&str]| Command::new(stack.program()).args(arguments).output().unwrap();
    for arguments in [["--listen", "nowhere"], ["--writers", "0"], ["--database", "host=x port=y"], ["--what", "x"]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
    let socket = format!("unix:{}", stack.socket("api1").display());
    let taken = run(&["--listen", &socket]);
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
}
