//! One request outside of the load, waited for.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::entry::Entry;
use super::http::{self, Input};

/// How long to wait for a connection, and for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks how many people are stored.
///
/// # Errors
///
/// The entry does not answer, or not with 200 and a number.
pub fn count(entry: &Entry) -> anyhow::Result<u64> {
    let path = &entry.count_path;
    let (status, body) =
        get(entry, path).with_context(|| format!("cannot count people: GET {path} at {}", entry.address))?;
    let text = String::from_utf8_lossy(&body);
    match (status, text.trim().parse()) {
        (200, Ok(count)) => Ok(count),
        (200, Err(_)) => bail!("cannot count people: GET {path} answers {:?}, which is no number", shorten(&text)),
        _ => bail!("cannot count people: GET {path} answers with status {status}"),
    }
}

/// Asks for a path: the status of the answer, and its body.
///
/// # Errors
///
/// The entry does not answer in time, or not with HTTP.
pub fn get(entry: &Entry, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&entry.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", entry.host);
    stream.write_all(request.as_bytes())?;
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("no answer within {PATIENCE:?}"),
            read => read?,
        };
        input.extend_from_slice(&buffer[..read]);
        match http::read(&input, read == 0) {
            Ok(Input::Whole(answer)) => return Ok((answer.status, answer.body.into_owned())),
            Ok(Input::Partial { .. }) => {}
            Err(malformed) => return Err(anyhow!("the answer is no HTTP ({malformed:?})")),
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
