//! The only file that knows a path: which request goes where, and what it must look like to get there.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode;
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::App;
use crate::error::Error;
use crate::json::{self, BODY_LIMIT};
use crate::metrics::{self, Kind};
use crate::person::{self, Field};
use crate::store::{Created, NewPerson};
use crate::vocabulary::{self, Vocabulary};

/// The instance runs.
pub const LIVE: &str = "/health/live";
/// The instance runs and its database answers.
pub const READY: &str = "/health/ready";

/// Figures for Prometheus.
const METRICS: &str = "/metrics";

/// The id that nginx gives a request, the same one when it sends it to another instance because the first died. It
/// becomes the person's id, and so a create can be tried again without storing anybody twice.
const REQUEST_ID: &str = "x-request-id";

type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub async fn answer(app: &App, request: Request<Incoming>) -> Answer {
    let start = Instant::now();
    let under_way = app.metrics.begin();
    let route = route(request.uri().path());
    let kind = route.as_ref().map_or(Kind::Other, |route| route.kind(request.method()));
    let answer = respond(app, route, request).await.unwrap_or_else(|error| error.response());
    under_way.end(kind, answer.status(), start.elapsed());
    answer
}

/// What is at a path.
pub enum Route {
    /// All people, in the vocabulary of the path.
    People(&'static Vocabulary),
    /// One of them. No id where what stands in its place is none.
    Person(&'static Vocabulary, Option<Uuid>),
    /// How many they are.
    Count,
    /// [`LIVE`].
    Live,
    /// [`READY`].
    Ready,
    /// Figures for Prometheus.
    Metrics,
}

impl Route {
    fn kind(&self, method: &Method) -> Kind {
        match self {
            Self::People(_) => Kind::of_people(method),
            Self::Person(..) => Kind::Fetch,
            Self::Count => Kind::Count,
            Self::Live | Self::Ready | Self::Metrics => Kind::Other,
        }
    }
}

/// Where a path leads, if anywhere.
pub fn route(path: &str) -> Option<Route> {
    // `%2D` and `-` are the same character of a path (RFC 3986, section 6.2.2.2).
    let path = percent_decode(path.as_bytes()).decode_utf8().ok()?;
    // A client that joins its base URL and a Location without looking sends `//users/...`.
    let path = path.strip_prefix("//").or_else(|| path.strip_prefix('/'))?;
    for vocabulary in vocabulary::ALL {
        if path == vocabulary.count {
            return Some(Route::Count);
        }
        match path.strip_prefix(vocabulary.collection) {
            Some("") => return Some(Route::People(vocabulary)),
            Some(rest) => match rest.strip_prefix('/') {
                Some(id) if !id.contains('/') => return Some(Route::Person(vocabulary, person_id(id))),
                _ => {}
            },
            None => {}
        }
    }
    match path {
        path if path == &LIVE[1..] => Some(Route::Live),
        path if path == &READY[1..] => Some(Route::Ready),
        path if path == &METRICS[1..] => Some(Route::Metrics),
        _ => None,
    }
}

/// An id as a `Location` has it: a UUID has other forms too, but one person has one path.
fn person_id(text: &str) -> Option<Uuid> {
    const HYPHENATED: usize = 36;
    Uuid::try_parse(text).ok().filter(|_| text.len() == HYPHENATED)
}

async fn respond(app: &App, route: Option<Route>, request: Request<Incoming>) -> Result<Answer, Error> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match route.ok_or(Error::UnknownPath)? {
        Route::People(vocabulary) if reads => search(app, vocabulary, request.uri().query()).await,
        Route::People(vocabulary) if request.method() == Method::POST => create(app, vocabulary, request).await,
        Route::People(_) => Err(Error::Method("GET, HEAD, POST")),
        _ if !reads => Err(Error::Method("GET, HEAD")),
        Route::Person(vocabulary, id) => fetch(app, vocabulary, id.ok_or(Error::UnknownPerson)?).await,
        Route::Count => Ok(text(app.store.count().await?.to_string())),
        Route::Live => Ok(text("alive")),
        Route::Ready => app.store.ready().await.map(|()| text("ready")),
        Route::Metrics => metrics(app),
    }
}

async fn create(app: &App, vocabulary: &'static Vocabulary, request: Request<Incoming>) -> Result<Answer, Error> {
    if !is_json(request.headers()) {
        return Err(Error::MediaType);
    }
    if is_coded(request.headers()) {
        return Err(Error::ContentCoding);
    }
    app.store.admit_create()?;
    let id = new_id(request.headers());
    let mut body = read_body(request.into_body(), app.body_patience).await?;
    let draft = json::read_draft(&mut body, vocabulary).map_err(|_| Error::Malformed)?;
    let person = person::judge(draft).map_err(|invalid| {
        let key = vocabulary.key(invalid.field);
        if invalid.wrong_type {
            Error::WrongType(key, invalid.reason)
        } else {
            Error::Unprocessable(key, invalid.reason)
        }
    })?;
    match app.store.create(NewPerson::new(id, &person)).await? {
        Created::Stored => {}
        Created::NicknameTaken => return Err(Error::NicknameTaken(vocabulary.key(Field::Nickname))),
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::CREATED;
    let location = format!("/{}/{}", vocabulary.collection, id.hyphenated());
    let location = HeaderValue::try_from(location).map_err(|_| Error::Internal)?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

async fn fetch(app: &App, vocabulary: &Vocabulary, id: Uuid) -> Result<Answer, Error> {
    let person = app.store.fetch(id).await?.ok_or(Error::UnknownPerson)?;
    let mut body = Vec::with_capacity(512);
    person.write(&mut body, vocabulary);
    Ok(json_body(body))
}

async fn search(app: &App, vocabulary: &Vocabulary, query: Option<&str>) -> Result<Answer, Error> {
    let term = search_term(query.unwrap_or_default(), vocabulary.term)?;
    let people = app.store.search(&term).await?;
    let mut body = Vec::with_capacity(2 + 512 * people.len());
    json::write_list(&mut body, &people, |body, person| person.write(body, vocabulary));
    Ok(json_body(body))
}

/// The first parameter of that name, decoded as a form is: `+` is a space, `%XX` a byte.
///
/// # Errors
///
/// [`Error::Term`] where it is missing, empty or not UTF-8.
pub fn search_term<'q>(query: &'q str, name: &'static str) -> Result<Cow<'q, str>, Error> {
    let value = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| form_decode(key).is_ok_and(|key| key == name))
        .map(|(_, value)| value)
        .ok_or(Error::Term(name, "is missing"))?;
    match form_decode(value) {
        Ok(term) if term.is_empty() => Err(Error::Term(name, "is empty")),
        Ok(term) => Ok(term),
        Err(_) => Err(Error::Term(name, "is not UTF-8")),
    }
}

fn form_decode(text: &str) -> Result<Cow<'_, str>, std::str::Utf8Error> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Ok(Cow::Owned(percent_decode(spaced.as_bytes()).decode_utf8()?.into_owned()));
    }
    percent_decode(text.as_bytes()).decode_utf8()
}

fn metrics(app: &App) -> Result<Answer, Error> {
    let figures = app.metrics.text(app.store.remembered()).map_err(|error| {
        eprintln!("peleja: figures: {error}");
        Error::Internal
    })?;
    Ok(with_type(figures.into(), metrics::MEDIA_TYPE))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// Whether the body is in a content coding (RFC 9110, section 8.4). `identity` is none.
fn is_coded(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(CONTENT_ENCODING).into_iter();
    let mut codings = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

fn new_id(headers: &HeaderMap) -> Uuid {
    let given = headers.get(REQUEST_ID).and_then(|id| Uuid::try_parse_ascii(id.as_bytes()).ok());
    match given {
        Some(random) => uuid::Builder::from_random_bytes(random.into_bytes()).into_uuid(),
        None => Uuid::new_v4(),
    }
}

async fn read_body(body: Incoming, patience: Duration) -> Result<json::Body, Error> {
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(Error::BodyTooLarge);
    }
    match timeout(patience, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::BodyTooLarge),
        Ok(Err(_)) => Err(Error::Malformed),
        Err(_) => Err(Error::SlowBody),
    }
}

fn json_body(body: Vec<u8>) -> Answer {
    with_type(body.into(), "application/json")
}

fn text(body: impl Into<Bytes>) -> Answer {
    with_type(body.into(), "text/plain; charset=utf-8")
}

fn with_type(body: Bytes, media_type: &'static str) -> Answer {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_decoded_as_a_form_is() {
        let term = |query| search_term(query, "q").map(Cow::into_owned);
        assert_eq!(term("q=a+b%2Bc%25"), Ok("a b+c%".into()));
        assert_eq!(term("x=1&q=%C3%A9&q=second"), Ok("é".into()));
        assert_eq!(term("%71=a=b"), Ok("a=b".into()));
        assert_eq!(term("q=%"), Ok("%".into()));
        assert_eq!(term("q=+"), Ok(" ".into()));
        assert_eq!(term(""), Err(Error::Term("q", "is missing")));
        assert_eq!(term("t=a"), Err(Error::Term("q", "is missing")));
        assert_eq!(term("q"), Err(Error::Term("q", "is empty")));
        assert_eq!(term("q=%ff"), Err(Error::Term("q", "is not UTF-8")));
        assert_eq!(term("q=%ED%A0%80+"), Err(Error::Term("q", "is not UTF-8")));
    }

    #[test]
    fn identity_is_no_coding() {
        let is_coded = |values: &[&'static str]| {
            let values = values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value)));
            is_coded(&values.collect())
        };
        for uncoded in
            [&[][..], &[""], &["identity"], &["IDENTITY "], &["identity, identity"], &[" , "], &["", "identity"]]
        {
            assert!(!is_coded(uncoded), "{uncoded:?}");
        }
        for coded in [&["gzip"][..], &["GZIP"], &["identity, br"], &["gzip,identity"], &["identity", "gzip"], &["x"]] {
            assert!(is_coded(coded), "{coded:?}");
        }
    }

    #[test]
    fn an_id_from_nginx_is_kept_but_for_its_version() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("ffffffffffffffffffffffffffffffff"));
        assert_eq!(new_id(&headers).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        headers.insert(REQUEST_ID, HeaderValue::from_static("nonsense"));
        assert_ne!(new_id(&headers), new_id(&headers));
    }
}
