//! Who looks at the pages: a name for runs, and what was written down. It is kept in cookies: no script is needed, and
//! cookies do not tell ports apart, so that all servers of the lab see the same.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::SET_COOKIE;
use axum::middleware::Next;
use axum::response::Response;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use uuid::Uuid;

use crate::live::run::is_name;

const NAME: &str = "run";

/// Longest cookie that every browser keeps, with room for its name and attributes.
const LONGEST: usize = 3_500;

/// What a visitor's runs are called.
#[derive(Clone, Debug)]
pub struct Name(pub String);

/// Middleware: gives whoever comes without a name one that no other is likely to have.
pub async fn name_visitor(cookies: CookieJar, mut request: Request, next: Next) -> Response {
    let known = cookies.get(NAME).map(|cookie| cookie.value().to_owned()).filter(|name| is_name(name));
    let name = known.clone().unwrap_or_else(fresh_name);
    request.extensions_mut().insert(Name(name.clone()));
    let mut response = next.run(request).await;
    if known.is_none()
        && let Ok(cookie) = HeaderValue::from_str(&named(name).to_string())
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The cookie that keeps a visitor's name.
pub fn named(name: String) -> Cookie<'static> {
    cookie(NAME.into(), name)
}

/// What a visitor wrote down, by what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes(BTreeMap<String, String>);

impl Notes {
    /// Reads the notes of this kind about an experiment.
    pub fn read(cookies: &CookieJar, kind: &str, experiment: &str) -> Self {
        let cookie = cookies.get(&format!("{kind}-{experiment}"));
        Self(cookie.and_then(|cookie| serde_urlencoded::from_str(cookie.value()).ok()).unwrap_or_default())
    }

    /// What was written for a figure.
    pub fn get(&self, figure: &str) -> Option<&str> {
        self.0.get(figure).map(String::as_str)
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes more beside what is there, in place of what was written of the same figures.
    pub fn with(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        self.0.extend(more);
        self
    }

    /// The cookie that keeps them; none where it would be longer than browsers keep.
    pub fn cookie(&self, kind: &str, experiment: &str) -> Option<Cookie<'static>> {
        let text = serde_urlencoded::to_string(&self.0).ok().filter(|text| text.len() <= LONGEST)?;
        Some(cookie(format!("{kind}-{experiment}"), text))
    }
}

fn cookie(name: String, value: String) -> Cookie<'static> {
    Cookie::build((name, value)).path("/").same_site(SameSite::Lax).http_only(true).build()
}

fn fresh_name() -> String {
    let id = Uuid::now_v7().simple().to_string();
    format!("guest-{}", &id[id.len() - 5..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_as_they_were_written() {
        let text = "5 ms & é; \"x\"";
        let notes = Notes::default().with([("serial.p99".to_owned(), text.to_owned())]);
        let cookie = notes.cookie("guess", "resource").expect("short enough");
        assert!(cookie.value().chars().all(|c| c.is_ascii_graphic() && !";,\"\\".contains(c)), "{}", cookie.value());
        let read = Notes::read(&CookieJar::new().add(cookie), "guess", "resource");
        assert_eq!(read.get("serial.p99"), Some(text));
        assert_eq!(Notes::read(&CookieJar::new(), "guess", "resource"), Notes::default());
    }

    #[test]
    fn what_browsers_would_drop_is_not_kept() {
        let many = (0..2_000).map(|number| (format!("f{number}"), "5".to_owned()));
        assert!(Notes::default().with(many).cookie("guess", "resource").is_none());
    }

    #[test]
    fn fresh_names_are_names() {
        assert!(is_name(&fresh_name()));
    }
}
