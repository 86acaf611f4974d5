//! Where a server says that it put what it created.

use anyhow::Context;
use fluent_uri::{Uri, UriRef};

/// The URL that creates go to, which relative references begin at.
#[derive(Clone, Debug)]
pub struct Origin(Uri<String>);

impl Origin {
    /// The given path of a server.
    ///
    /// # Errors
    ///
    /// It is no URL.
    pub fn new(authority: &str, path: &str) -> anyhow::Result<Self> {
        let url = format!("http://{authority}{path}");
        let url = Uri::parse(url.as_str()).with_context(|| format!("{url} is no URL"))?;
        Ok(Self(url.with_fragment(None)))
    }

    /// The path, with the query if there is one, that the value of a `Location` header stands for (RFC 9110, 10.2.2);
    /// `None` where it stands for none. Whatever host it names, the server under load is asked.
    pub fn locate(&self, location: &[u8]) -> Option<String> {
        let reference = UriRef::parse(std::str::from_utf8(location).ok()?).ok()?;
        if reference.path().is_empty() && reference.query().is_none() {
            return None;
        }
        let target = reference.resolve_against(&self.0).ok()?;
        if !["http", "https"].contains(&target.scheme().as_str().to_ascii_lowercase().as_str()) {
            return None;
        }
        let query = target.query().map(|query| format!("?{query}"));
        Some(format!("{}{}", target.path(), query.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_reference_leads_to_its_path() {
        let locate =
            |path: &str, location: &str| Origin::new("localhost:9999", path).unwrap().locate(location.as_bytes());
        for location in [
            "/users/1",
            "users/1",
            "./users/1",
            "http://localhost:9999/users/1",
            "https://localhost:9999/users/1",
            "HTTP://other.example/users/1",
            "//localhost:9999/users/1#top",
            "/api/../users/1",
        ] {
            assert_eq!(locate("/users", location).as_deref(), Some("/users/1"), "{location}");
        }
        assert_eq!(locate("/users", "/users/1/").as_deref(), Some("/users/1/"));
        assert_eq!(locate("/users", "/users?id=1").as_deref(), Some("/users?id=1"));
        assert_eq!(locate("/users", "?id=1").as_deref(), Some("/users?id=1"));
        assert_eq!(locate("/users/", "1").as_deref(), Some("/users/1"));
        assert_eq!(locate("/api/v1/users", "users/1").as_deref(), Some("/api/v1/users/1"));
        for location in ["", "http://localhost", "#1", "/users/1 2", "ftp://localhost/users/1", "/users/\u{e9}"] {
            assert_eq!(locate("/users", location), None, "{location}");
        }
        assert_eq!(Origin::new("localhost", "/").unwrap().locate(b"/users/\xff"), None);
        assert!(Origin::new("localhost", "/a b").is_err());
    }
}
