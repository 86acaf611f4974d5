//! A guess written down before a run, so that it can stand beside the outcome.
//!
//! It is kept in a cookie: no script is needed, and cookies do not tell ports apart, so that two servers of one
//! experiment see the same guess.

use axum::Router;
use axum::extract::Form;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use std::collections::BTreeMap;

use crate::page::origin::refuse_other_sites;

/// Longest guess that is kept, in characters.
const LONGEST: usize = 12;

/// One figure that can be guessed.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The figure of the outcome that answers it, with the prefix of its server.
    pub figure: &'static str,
    /// What is asked.
    pub label: &'static str,
    /// How the figure is written.
    pub unit: &'static str,
}

/// The guesses of one visitor, by figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guesses(BTreeMap<String, String>);

impl Guesses {
    /// Reads the guesses of the experiment `name`.
    pub fn read(cookies: &CookieJar, name: &str) -> Self {
        let Some(cookie) = cookies.get(&cookie_name(name)) else {
            return Self::default();
        };
        let pairs = cookie.value().split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.filter(|(_, guess)| is_number(guess)).map(|(key, guess)| (key.into(), guess.into())).collect())
    }

    /// The guess for a figure.
    pub fn get(&self, figure: &str) -> Option<&str> {
        self.0.get(figure).map(String::as_str)
    }
}

/// `POST /guess`: keeps the numbers of the form and leads back to the page it stands on.
pub fn routes() -> Router {
    Router::new().route("/guess", post(keep)).layer(axum::middleware::from_fn(refuse_other_sites))
}

async fn keep(cookies: CookieJar, Form(fields): Form<BTreeMap<String, String>>) -> Response {
    let name = fields.get("experiment").map_or("", String::as_str);
    let back = fields.get("back").map_or("/", String::as_str);
    if !is_plain(name) || !is_local(back) {
        return (axum::http::StatusCode::BAD_REQUEST, "this form is not one of the lab's\n").into_response();
    }
    let kept: Vec<String> = fields
        .iter()
        .map(|(key, guess)| (key, guess.trim().replace(',', ".")))
        .filter(|(key, guess)| is_plain(key) && is_number(guess))
        .map(|(key, guess)| format!("{key}={guess}"))
        .collect();
    let cookie = Cookie::build((cookie_name(name), kept.join("&"))).path("/").same_site(SameSite::Lax).http_only(true);
    (cookies.add(cookie), Redirect::to(&format!("{back}#watch"))).into_response()
}

fn cookie_name(experiment: &str) -> String {
    format!("guess-{experiment}")
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_number(text: &str) -> bool {
    text.len() <= LONGEST && text.parse::<f64>().is_ok_and(f64::is_finite) && !text.contains(['+', 'e', 'E'])
}

fn is_local(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && path.chars().all(|c| c.is_ascii_graphic() && c != '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_numbers_only() {
        let cookies = CookieJar::new().add(Cookie::new("guess-resource", "rate=12.5&p99=<script>&x&peak_use=50"));
        let guesses = Guesses::read(&cookies, "resource");
        assert_eq!(guesses.get("rate"), Some("12.5"));
        assert_eq!(guesses.get("peak_use"), Some("50"));
        assert_eq!(guesses.get("p99"), None);
        assert_eq!(Guesses::read(&cookies, "forms"), Guesses::default());
    }

    #[test]
    fn leads_back_to_this_server_only() {
        for path in ["/", "/part1?resource=a"] {
            assert!(is_local(path), "{path}");
        }
        for path in ["", "//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example", "/a\r\nb"] {
            assert!(!is_local(path), "{path}");
        }
    }
}
