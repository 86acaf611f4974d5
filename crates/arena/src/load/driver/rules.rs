//! What users send, and what they take for an answer.

use std::io::Write;

use super::checks;
use super::entry::Entry;
use super::feed::{Expected, Feed};
use super::http::Answer;
use super::monitor::Failure;
use super::schedule::Kind;

/// How strict users are.
#[derive(Clone, Copy, Debug)]
pub struct Strictness {
    /// Whether bodies are looked at, and creates held to what their row deserves.
    pub check: bool,
    /// Whether 400 and 422 may stand for one another.
    pub any_refusal: bool,
    /// Whether the feed knows of everybody who was there before, so that a valid row with a new nickname must be accepted.
    pub knows_everybody: bool,
}

/// What the users of one entry send and expect.
#[derive(Debug)]
pub struct Rules<'a> {
    entry: &'a Entry,
    feed: &'a Feed,
    strictness: Strictness,
    /// What follows the path in every request, up to the body's own headers.
    common: String,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Which create or search it is, counted from 0; for a fetch, the create that it follows.
    pub number: u64,
    /// The path of a fetch.
    pub path: &'a [u8],
}

impl<'a> Rules<'a> {
    /// The rules for one entry.
    pub fn new(entry: &'a Entry, feed: &'a Feed, strictness: Strictness) -> Self {
        let common = format!(" HTTP/1.1\r\nHost: {}\r\nUser-Agent: arena-bench\r\nAccept: */*\r\n", entry.host);
        Self { entry, feed, strictness, common }
    }

    /// Writes the request.
    pub fn write(&self, output: &mut Vec<u8>, subject: Subject) {
        let Self { entry, feed, .. } = self;
        // Writing to memory does not fail.
        let _ = match subject.kind {
            Kind::Create => write!(output, "POST {}", entry.people_path),
            Kind::Fetch => output.write_all(b"GET ").and_then(|()| output.write_all(subject.path)),
            Kind::Search => {
                write!(output, "GET {}?{}={}", entry.people_path, entry.search_parameter, feed.query(subject.number))
            }
            Kind::InvalidSearch => write!(output, "GET {}", entry.people_path),
        };
        output.extend_from_slice(self.common.as_bytes());
        if subject.kind != Kind::Create {
            return output.extend_from_slice(b"\r\n");
        }
        let body = feed.payload(subject.number);
        let _ = write!(output, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        output.extend_from_slice(body);
    }

    /// Whether an answer is right.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, subject: Subject, answer: &Answer) -> Result<(), Failure> {
        let status = answer.status;
        if !self.entry.statuses(subject.kind).contain(status) {
            let failure = Failure::new(format!("status {status}")).with(&answer.body);
            return Err(if is_overload(status) { failure.of_overload() } else { failure });
        }
        if !answer.excess.is_empty() {
            return Err(Failure::new("bytes behind the answer").with(answer.excess));
        }
        if subject.kind == Kind::Create && status == 201 && self.location(answer).is_none() {
            return Err(Failure::new("no path in Location"));
        }
        if !self.strictness.check {
            return Ok(());
        }
        let outcome = match subject.kind {
            Kind::Create => return self.check_create(subject.number, answer),
            Kind::Fetch => checks::fetched(&answer.body, self.feed.payload(subject.number), subject.path),
            Kind::Search => checks::found(&answer.body, self.feed.term(subject.number)).map(drop),
            Kind::InvalidSearch => Ok(()),
        };
        outcome.map_err(|reason| Failure::new(reason).with(&answer.body))
    }

    /// The path of whom an answer says that it created.
    pub fn location(&self, answer: &Answer) -> Option<String> {
        self.entry.origin.locate(answer.location?)
    }

    fn check_create(&self, number: u64, answer: &Answer) -> Result<(), Failure> {
        let Strictness { any_refusal, knows_everybody, .. } = self.strictness;
        let status = answer.status;
        let is_refusal = |status| status == 422 || (any_refusal && status == 400);
        let (is_right, wanted) = match self.feed.expected(number) {
            Expected::Created if knows_everybody => (status == 201, "for a valid row"),
            Expected::Created | Expected::CreatedOrTaken => (status == 201 || is_refusal(status), "for a valid row"),
            Expected::Refused(400 | 422) if any_refusal => (matches!(status, 400 | 422), "for a row to refuse"),
            Expected::Refused(400) => (status == 400, "instead of 400"),
            Expected::Refused(422) => (status == 422, "instead of 422"),
            Expected::Refused(_) => (status != 201, "for a row to refuse"),
        };
        match is_right {
            true => Ok(()),
            false => Err(Failure::new(format!("status {status} {wanted}")).with(self.feed.payload(number))),
        }
    }
}

/// Whether a server says with this status that it has too much to do, or broke down: nobody knows then what it did.
pub fn is_overload(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}
