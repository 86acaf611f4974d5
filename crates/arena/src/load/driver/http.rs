//! HTTP/1.1 as a client reads it, over `httparse`.

use std::borrow::Cow;
use std::mem::MaybeUninit;

/// Longer answers than this are refused.
pub const LONGEST_ANSWER: usize = 16 << 20;

const MOST_HEADERS: usize = 128;

/// Interim answers (1xx) that may come before the one that counts.
const MOST_INTERIM: usize = 16;

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Status code.
    pub status: u16,
    /// Value of the `Location` header.
    pub location: Option<&'a [u8]>,
    /// Whether it has a `Retry-After` header.
    pub has_retry_after: bool,
    /// Content, with the transfer coding taken off.
    pub body: Cow<'a, [u8]>,
    /// What came behind the answer, though nothing was asked for.
    pub excess: &'a [u8],
    /// Whether another request may follow on the same connection.
    pub reusable: bool,
}

/// What a buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The answer is here.
    Whole(Answer<'a>),
    /// More is to come; not before the buffer holds this many bytes is it worth another look.
    Partial { until: usize },
}

/// Why the bytes of a server are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The server spoke something else.
    NotHttp,
    /// The connection ended in the middle of the answer.
    Truncated,
    /// Longer than [`LONGEST_ANSWER`].
    TooLong,
}

/// Reads an answer from all that a connection has brought since the request; `ended` says that nothing will follow.
pub fn read(input: &[u8], ended: bool) -> Result<Input<'_>, Malformed> {
    let outcome = parse(input, ended)?;
    match outcome {
        Input::Partial { .. } if ended => Err(Malformed::Truncated),
        Input::Partial { until } if until.max(input.len()) > LONGEST_ANSWER => Err(Malformed::TooLong),
        outcome => Ok(outcome),
    }
}

fn parse(input: &[u8], ended: bool) -> Result<Input<'_>, Malformed> {
    let mut start = 0;
    for _ in 0..=MOST_INTERIM {
        let mut headers = [MaybeUninit::uninit(); MOST_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            &input[start..],
            &mut headers,
        );
        let length = match parsed.map_err(not_understood)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(Input::Partial { until: input.len() + 1 }),
        };
        start += length;
        let status = response.code.ok_or(Malformed::NotHttp)?;
        if !(100..200).contains(&status) || status == 101 {
            return with_body(input, start, status, Head::of(response.headers, response.version)?, ended);
        }
    }
    Err(Malformed::TooLong)
}

fn not_understood(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => Malformed::TooLong,
        _ => Malformed::NotHttp,
    }
}

/// The answer whose head ends at `length`.
fn with_body<'a>(
    input: &'a [u8],
    length: usize,
    status: u16,
    head: Head<'a>,
    ended: bool,
) -> Result<Input<'a>, Malformed> {
    let rest = &input[length..];
    let (body, after) = match head.body_length(status) {
        BodyLength::Known(bytes) if rest.len() < bytes => {
            return Ok(Input::Partial { until: length.saturating_add(bytes) });
        }
        BodyLength::Known(bytes) => (Cow::Borrowed(&rest[..bytes]), &rest[bytes..]),
        BodyLength::Chunked => match dechunk(rest)? {
            Some((body, after)) => (Cow::Owned(body), after),
            None => return Ok(Input::Partial { until: input.len() + 1 }),
        },
        BodyLength::UntilEnd if ended => (Cow::Borrowed(rest), &rest[rest.len()..]),
        BodyLength::UntilEnd => return Ok(Input::Partial { until: input.len() + 1 }),
    };
    let reusable = head.keep_alive && !ended && after.is_empty();
    Ok(Input::Whole(Answer {
        status,
        location: head.location,
        has_retry_after: head.has_retry_after,
        body,
        excess: after,
        reusable,
    }))
}

enum BodyLength {
    Known(usize),
    Chunked,
    UntilEnd,
}

/// The headers that matter here.
struct Head<'a> {
    length: Option<usize>,
    chunked: bool,
    keep_alive: bool,
    location: Option<&'a [u8]>,
    has_retry_after: bool,
}

impl<'a> Head<'a> {
    fn of(headers: &[httparse::Header<'a>], version: Option<u8>) -> Result<Self, Malformed> {
        let keep_alive = version == Some(1);
        let mut head = Self { length: None, chunked: false, keep_alive, location: None, has_retry_after: false };
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                let text = std::str::from_utf8(header.value).map_err(|_| Malformed::NotHttp)?;
                head.length = Some(text.trim().parse().map_err(|_| Malformed::NotHttp)?);
            } else if is("transfer-encoding") {
                head.chunked = has_token(header.value, b"chunked");
            } else if is("connection") && has_token(header.value, b"close") {
                head.keep_alive = false;
            } else if is("connection") && has_token(header.value, b"keep-alive") {
                head.keep_alive = true;
            } else if is("location") {
                head.location = Some(header.value);
            } else if is("retry-after") {
                head.has_retry_after = true;
            }
        }
        head.keep_alive &= head.chunked || head.length.is_some();
        Ok(head)
    }

    /// RFC 9112, section 6.3.
    fn body_length(&self, status: u16) -> BodyLength {
        match self {
            _ if status == 204 || status == 304 => BodyLength::Known(0),
            Self { chunked: true, .. } => BodyLength::Chunked,
            Self { length: Some(length), .. } => BodyLength::Known(*length),
            _ => BodyLength::UntilEnd,
        }
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}

/// Content, and what stands behind it.
type Dechunked<'a> = (Vec<u8>, &'a [u8]);

/// The content of a chunked body and what comes after it; `None` while it is not complete.
fn dechunk(mut input: &[u8]) -> Result<Option<Dechunked<'_>>, Malformed> {
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(input).map_err(|_| Malformed::NotHttp)? {
            httparse::Status::Complete(chunk) => chunk,
            httparse::Status::Partial => return Ok(None),
        };
        let size = usize::try_from(size).map_err(|_| Malformed::TooLong)?;
        input = &input[start..];
        if size == 0 {
            return Ok(after_trailers(input).map(|after| (body, after)));
        }
        if size > LONGEST_ANSWER {
            return Err(Malformed::TooLong);
        }
        if input.len() < size + 2 {
            return Ok(None);
        }
        let (chunk, rest) = input.split_at(size);
        body.extend_from_slice(chunk);
        input = rest.strip_prefix(b"\r\n").ok_or(Malformed::NotHttp)?;
    }
}

/// Skips lines up to and including the empty one.
fn after_trailers(mut input: &[u8]) -> Option<&[u8]> {
    loop {
        let end = input.windows(2).position(|pair| pair == b"\r\n")?;
        input = &input[end + 2..];
        if end == 0 {
            return Some(input);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8], ended: bool) -> Answer<'_> {
        match read(input, ended) {
            Ok(Input::Whole(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_status_location_and_body() {
        let answer = whole(b"HTTP/1.1 201 Created\r\nlocation: /users/1\r\nContent-Length: 3\r\n\r\nabc", false);
        assert_eq!((answer.status, answer.location), (201, Some(&b"/users/1"[..])));
        assert_eq!(&*answer.body, b"abc");
        assert!(answer.reusable);
    }

    #[test]
    fn waits_for_the_rest_byte_by_byte() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        ] {
            for cut in 0..text.len() {
                match read(&text[..cut], false) {
                    Ok(Input::Partial { until }) => assert!(until > cut && until <= text.len(), "{cut} {until}"),
                    other => panic!("{cut}: {other:?}"),
                }
                assert_eq!(read(&text[..cut], true), Err(Malformed::Truncated));
            }
            let answer = whole(text, false);
            assert_eq!(&*answer.body, b"hello");
            assert!(answer.reusable);
        }
    }

    #[test]
    fn a_body_without_length_goes_until_the_end() {
        let text = b"HTTP/1.1 200 OK\r\n\r\nhello";
        assert!(matches!(read(text, false), Ok(Input::Partial { .. })));
        let answer = whole(text, true);
        assert_eq!((&*answer.body, answer.reusable), (&b"hello"[..], false));
    }

    #[test]
    fn some_answers_have_no_body() {
        assert!(whole(b"HTTP/1.1 204 No Content\r\n\r\n", false).body.is_empty());
        assert!(whole(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", false).body.is_empty());
    }

    #[test]
    fn a_connection_is_reused_only_where_both_allow() {
        for (head, reusable) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: foo, keep-alive", true),
        ] {
            assert_eq!(whole(format!("{head}\r\n\r\n").as_bytes(), false).reusable, reusable, "{head}");
        }
    }

    #[test]
    fn bytes_behind_an_answer_are_told_apart_from_it() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
            b"HTTP/1.1 204 No Content\r\n\r\nmore",
        ] {
            let answer = whole(text, false);
            assert_eq!((answer.excess, answer.reusable), (&b"more"[..], false));
        }
    }

    #[test]
    fn refuses_what_is_not_http() {
        for text in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n",
        ] {
            assert_eq!(read(text, false), Err(Malformed::NotHttp));
        }
        assert_eq!(read(b"", true), Err(Malformed::Truncated));
    }

    #[test]
    fn refuses_answers_without_end() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", false), Err(Malformed::TooLong));
        let longest = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", usize::MAX);
        assert_eq!(read(longest.as_bytes(), false), Err(Malformed::TooLong));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n";
        assert_eq!(read(chunked, false), Err(Malformed::TooLong));
        let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(read(headers.as_bytes(), false), Err(Malformed::TooLong));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000);
        assert_eq!(read(&interim, false), Err(Malformed::TooLong));
    }
}
