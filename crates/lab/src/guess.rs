//! Guesses written down before a run, and what a tool said after it, so that both can stand beside the outcome.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use axum_extra::extract::CookieJar;

use crate::live::run::is_name;
use crate::page::origin::refuse_other_sites;
use crate::tool;
use crate::visitor::{Notes, named};

/// Kind of notes that hold guesses.
pub const GUESS: &str = "guess";

/// Kind of notes that hold a tool's figures.
pub const TOOL: &str = "tool";

/// Longest guess that is kept, in characters.
const LONGEST: usize = 24;

/// Longest output of a tool that is read, in bytes.
const LONGEST_OUTPUT: usize = 64 * 1024;

/// One figure that can be guessed.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The figure of the outcome that answers it, with its side in front.
    pub figure: &'static str,
    /// What is asked.
    pub label: &'static str,
    /// How the figure is written.
    pub unit: &'static str,
}

/// `POST /guess`, `/tool` and `/name`: each keeps what a form says and leads back to the page it stands on.
pub fn routes() -> Router {
    Router::new()
        .route("/guess", post(keep_guesses))
        .route("/tool", post(keep_tool).layer(DefaultBodyLimit::max(LONGEST_OUTPUT * 3)))
        .route("/name", post(keep_name))
        .layer(axum::middleware::from_fn(refuse_other_sites))
}

type Fields = BTreeMap<String, String>;

async fn keep_guesses(cookies: CookieJar, Form(fields): Form<Fields>) -> Response {
    let Some((experiment, back)) = page_of(&fields) else {
        return not_ours();
    };
    let guesses = fields.iter().filter(|(key, text)| key.contains('.') && is_plain(key) && !text.trim().is_empty());
    let notes: Vec<(String, String)> =
        guesses.map(|(key, text)| (key.clone(), text.trim().chars().take(LONGEST).collect())).collect();
    let place = if notes.iter().all(|(_, text)| read(text).is_ok()) { "watch" } else { "guess" };
    let Some(cookie) = Notes::default().with(notes).cookie(GUESS, experiment) else {
        return (StatusCode::BAD_REQUEST, "more guesses than this lab asks for\n").into_response();
    };
    (cookies.add(cookie), Redirect::to(&format!("{back}#{place}"))).into_response()
}

async fn keep_tool(cookies: CookieJar, Form(fields): Form<Fields>) -> Response {
    let (Some((experiment, back)), Some(side)) = (page_of(&fields), fields.get("side")) else {
        return not_ours();
    };
    let figures = tool::read(fields.get("text").map_or("", String::as_str));
    let empty = figures.is_empty().then(|| ("unread".to_owned(), side.clone()));
    let figures = figures.into_iter().map(|(figure, value)| (format!("{side}.{figure}"), value.to_string()));
    let known = Notes::read(&cookies, TOOL, experiment).with([("unread".to_owned(), String::new())]);
    match known.with(figures).with(empty).cookie(TOOL, experiment) {
        Some(cookie) if is_plain(side) => {
            (cookies.add(cookie), Redirect::to(&format!("{back}#compare"))).into_response()
        }
        _ => not_ours(),
    }
}

async fn keep_name(cookies: CookieJar, Form(fields): Form<Fields>) -> Response {
    let name = fields.get("name").map_or("", |name| name.trim());
    let Some((_, back)) = page_of(&fields) else {
        return not_ours();
    };
    if !is_name(name) {
        let says = "A run's name has at most 40 ASCII letters, digits, - _ and . Go back and choose another.\n";
        return (StatusCode::BAD_REQUEST, says).into_response();
    }
    (cookies.add(named(name.to_owned())), Redirect::to(&format!("{back}#run"))).into_response()
}

/// The experiment that a form belongs to, and the page it stands on.
fn page_of(fields: &Fields) -> Option<(&str, &str)> {
    let name = fields.get("experiment").map_or("", String::as_str);
    let back = fields.get("back").map_or("/", String::as_str);
    (is_plain(name) && is_local(back)).then_some((name, back))
}

fn not_ours() -> Response {
    (StatusCode::BAD_REQUEST, "this form is not one of the lab's\n").into_response()
}

/// Reads a number as people write it, with a comma or a point before decimals and either, or spaces, between groups of
/// three digits. One mark before three digits is taken for a group, as in `3,000` and `3.000`, but not behind a zero.
///
/// # Errors
///
/// Says in one sentence why it is no guess.
pub fn read(text: &str) -> Result<f64, &'static str> {
    let text = text.trim();
    if text.starts_with(['-', '−']) {
        return Err("no figure here is below zero");
    }
    if !text.chars().all(|c| c.is_ascii_digit() || is_mark(c)) || !text.contains(|c: char| c.is_ascii_digit()) {
        return Err("write digits only, without unit or exponent");
    }
    plain(text).and_then(|digits| digits.parse().ok()).ok_or("write it like 3,000 or 0.5")
}

fn is_mark(c: char) -> bool {
    ",.'\u{a0}\u{202f}\u{2009} ".contains(c)
}

/// The same number in digits and a point at most.
fn plain(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(is_mark).collect();
    let marks: Vec<char> = text.chars().filter(|c| is_mark(*c)).collect();
    let (&first, rest) = parts.split_first()?;
    let Some((&last, groups)) = rest.split_last() else {
        return Some(first.to_owned());
    };
    let are_groups = |groups: &[&str]| {
        (1..=3).contains(&first.len()) && !first.starts_with('0') && groups.iter().all(|group| group.len() == 3)
    };
    let one_mark = marks.windows(2).all(|pair| pair[0] == pair[1]);
    if one_mark && are_groups(rest) {
        return Some(parts.concat());
    }
    let (mark, before) = marks.split_last()?;
    let decimals = ",.".contains(*mark) && !before.contains(mark) && before.windows(2).all(|pair| pair[0] == pair[1]);
    let whole = groups.is_empty() || are_groups(groups);
    (decimals && whole && !(first.is_empty() && last.is_empty()))
        .then(|| format!("{}{}.{last}0", first, groups.concat()))
        .map(|text| if text.starts_with('.') { format!("0{text}") } else { text })
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_local(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && path.chars().all(|c| c.is_ascii_graphic() && c != '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_in_either_language_s_habit() {
        for (text, number) in [
            ("3,000", 3_000.0),
            ("3.000", 3_000.0),
            ("3 000", 3_000.0),
            ("3\u{a0}000", 3_000.0),
            ("1,234,567", 1_234_567.0),
            ("1.234.567", 1_234_567.0),
            ("1,234.5", 1_234.5),
            ("1.234,5", 1_234.5),
            ("1 234,5", 1_234.5),
            ("12,5", 12.5),
            ("12.5", 12.5),
            ("0.005", 0.005),
            ("0,005", 0.005),
            (".5", 0.5),
            ("5.", 5.0),
            ("1234.567", 1_234.567),
            ("3000", 3_000.0),
            (" 7 ", 7.0),
            ("0", 0.0),
        ] {
            assert_eq!(read(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn says_of_what_it_cannot_read_why() {
        for (text, says) in [
            ("abc", "digits"),
            ("5 ms", "digits"),
            ("1e3", "digits"),
            ("", "digits"),
            (".", "digits"),
            ("-5", "below zero"),
            ("1,2,3", "3,000"),
            ("1.2.3,4", "3,000"),
            ("12,34,567", "3,000"),
            ("1,234.567.8", "3,000"),
        ] {
            assert!(read(text).is_err_and(|error| error.contains(says)), "{text}: {:?}", read(text));
        }
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
