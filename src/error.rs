//! Everything that can go wrong with a request, and how the client is told.

use std::fmt::Write;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::json;

/// Why a request was not served. A variant's text begins with the status that it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// 400: the body is not a JSON object.
    Malformed,
    /// 400: a value has the wrong type; key of the field, and the reason.
    WrongType(&'static str, String),
    /// 400: the search has no usable term; name of the parameter, and the reason.
    Term(&'static str, &'static str),
    /// 404: no such path.
    UnknownPath,
    /// 404: nobody has that id.
    UnknownPerson,
    /// 405: the path has other methods; the value of `Allow`.
    Method(&'static str),
    /// 408: the body did not come in time.
    SlowBody,
    /// 413: the body is over the limit.
    BodyTooLarge,
    /// 415: the body is not JSON.
    MediaType,
    /// 415: the body is compressed, or coded in another way.
    ContentCoding,
    /// 422: a field is missing, null, too long or not storable; its key, and the reason.
    Unprocessable(&'static str, String),
    /// 422: somebody else has the nickname; key of the field.
    NicknameTaken(&'static str),
    /// 500: the database holds or answered something unexpected.
    Internal,
    /// 503: too many wait already; the request was refused before anything was done for it.
    Overloaded,
    /// 503: the database did not answer in time, and what became of the request is not known.
    Unavailable,
    /// 403: the instance is still reading everyone. nginx asks the other one then, without holding it against this one as it
    /// would do with any other status, and makes a 503 of it where that one says the same.
    NotYet,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed | Self::WrongType(..) | Self::Term(..) => StatusCode::BAD_REQUEST,
            Self::UnknownPath | Self::UnknownPerson => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType | Self::ContentCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable(..) | Self::NicknameTaken(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotYet => StatusCode::FORBIDDEN,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::WrongType(field, _) | Self::Unprocessable(field, _) => Some(field),
            Self::Term(field, _) | Self::NicknameTaken(field) => Some(field),
            _ => None,
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Malformed => "The body is not a JSON object in UTF-8.",
            Self::WrongType(_, reason) | Self::Unprocessable(_, reason) => reason,
            Self::Term(_, reason) => reason,
            Self::NicknameTaken(_) => "is taken",
            Self::UnknownPath => "There is nothing at this path.",
            Self::UnknownPerson => "Nobody has this id.",
            Self::Method(_) => "The path does not take this method.",
            Self::SlowBody => "The body did not arrive in time.",
            Self::BodyTooLarge => "The body is larger than 16 KiB.",
            Self::MediaType => "The body must be application/json.",
            Self::ContentCoding => "The body must not be coded; of Content-Encoding only identity is understood.",
            Self::Internal => "The request could not be served.",
            Self::Overloaded => "Too many requests wait already; nothing was done.",
            Self::Unavailable => "The request could not be served in time; what it asked for may or may not be done.",
            Self::NotYet => "Everyone is still being read, and the term was not found often enough by then.",
        }
    }

    /// The answer: a problem document after RFC 9457, with the member `field` where a field is at fault.
    pub fn response(&self) -> Response<Full<Bytes>> {
        let status = self.status();
        let mut body = Vec::with_capacity(160);
        body.extend_from_slice(b"{\"type\":\"about:blank\",\"title\":");
        json::write_string(&mut body, status.canonical_reason().unwrap_or("Error"));
        body.extend_from_slice(b",\"status\":");
        body.extend_from_slice(status.as_str().as_bytes());
        let mut detail = String::new();
        if let Some(field) = self.field() {
            body.extend_from_slice(b",\"field\":");
            json::write_string(&mut body, field);
            // Writing to a String cannot fail.
            let _ = write!(detail, "{field} {}.", self.detail());
        } else {
            detail.push_str(self.detail());
        }
        body.extend_from_slice(b",\"detail\":");
        json::write_string(&mut body, &detail);
        body.push(b'}');

        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::Method(allow) => headers.insert(ALLOW, HeaderValue::from_static(allow)),
            Self::ContentCoding => headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            Self::Overloaded | Self::Unavailable => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            Self::NotYet => headers.insert("X-Accel-Redirect", HeaderValue::from_static("/problem/503")),
            _ => None,
        };
        response
    }
}
