//! What a request says about who looks at a page.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum_extra::extract::CookieJar;

use super::Experiment;
use crate::guess::{GUESS, TOOL};
use crate::server::{Ports, Word};
use crate::visitor::{Name, Notes};

/// A visitor's view of the server.
#[derive(Debug)]
pub struct Visit {
    /// Path and query of the page.
    pub path: String,
    /// Where the other servers of the lab listen.
    pub ports: Ports,
    /// What this visitor's runs are called.
    pub run: String,
    /// Whether the lab asks for a word before it empties, retries or switches anything.
    pub asks_for_word: bool,
    authority: String,
    host: String,
    cookies: CookieJar,
}

impl Visit {
    /// What this visitor guessed on a sheet.
    pub fn guesses(&self, sheet: &str) -> Notes {
        Notes::read(&self.cookies, GUESS, sheet)
    }

    /// What this visitor's tool said.
    pub fn tool(&self, sheet: &str) -> Notes {
        Notes::read(&self.cookies, TOOL, sheet)
    }

    /// Address of an experiment, seen from a page of the experiment `here`.
    pub fn address(&self, experiment: Experiment, here: Experiment) -> String {
        if experiment == here { "/".into() } else { self.on_port(experiment.port(self.ports)) }
    }

    /// Address of another server on the host that the visitor used for this one.
    pub fn on_port(&self, port: u16) -> String {
        format!("http://{}:{port}/", self.host)
    }

    /// Address of a path on this server, by the host and port that the visitor used.
    pub fn here(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// The same for a request of this visitor's run, quoted for a shell.
    pub fn request(&self, path: &str) -> String {
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("'{}{mark}run={}'", self.here(path), self.run)
    }

    /// The host that the visitor used, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        Ok(Self {
            path: parts.uri.path_and_query().map_or("/".into(), |path| path.as_str().to_owned()),
            ports: parts.extensions.get().copied().unwrap_or_default(),
            run: parts.extensions.get::<Name>().map(|name| name.0.clone()).unwrap_or_default(),
            asks_for_word: parts.extensions.get::<Word>().is_some_and(Word::is_set),
            authority: host.to_owned(),
            host: name_of(host).to_owned(),
            cookies: CookieJar::from_headers(&parts.headers),
        })
    }
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn finds_the_name_in_a_host() {
        for (host, name) in
            [("localhost:4000", "localhost"), ("lab.example", "lab.example"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
        {
            assert_eq!(name_of(host), name);
        }
    }
}
