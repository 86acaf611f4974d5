//! A client for the tests: requests as bytes where it matters, answers whole.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let pair = |line: &'_ str| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|_| ());
        let line = self.head.lines().find(|line| pair(line).is_some())?;
        line.split_once(": ").map(|(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request on a connection of its own. `None` if the connection ended without an answer.
pub fn send(address: &str, request: &[u8]) -> Option<Answer> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    exchange(stream, request)
}

/// The same over a Unix socket.
pub fn send_unix(path: &Path, request: &[u8]) -> Option<Answer> {
    exchange(UnixStream::connect(path).ok()?, request)
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Option<Answer> {
    // A server that has heard enough may close before it has read all.
    let _ = stream.write_all(request);
    read_answer(stream)
}

/// What the other side says until it ends its own. `None` if that is no answer.
pub fn read_answer(mut stream: impl Read) -> Option<Answer> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A request without a body.
pub fn request(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").into_bytes()
}

/// A request with a JSON body.
pub fn json_request(target: &str, body: &[u8]) -> Vec<u8> {
    posted(target, "", body)
}

/// A create for an instance itself that may be sent until it is acknowledged: one that was answered 503 may have been done.
/// The id is of 32 hexadecimal digits.
pub fn repeatable_create(id: &str, body: &[u8]) -> Vec<u8> {
    posted("/users", &format!("X-Request-Id: {id}\r\n"), body)
}

fn posted(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// GET, through nginx.
pub fn get(address: &str, target: &str) -> Answer {
    send(address, &request("GET", target)).unwrap_or_else(|| panic!("no answer to GET {target}"))
}

/// POST of JSON, through nginx.
pub fn post(address: &str, target: &str, body: impl AsRef<[u8]>) -> Answer {
    send(address, &json_request(target, body.as_ref())).unwrap_or_else(|| panic!("no answer to POST {target}"))
}
