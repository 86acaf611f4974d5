//! The base URL of a server, as people write one.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::Context;
use hyper::Uri;

/// `http`, host, port and a path that all others are below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// As in the URL: an address of version 6 stands in brackets.
    host: String,
    port: u16,
    /// Empty, or begins with a slash and ends without one.
    base_path: String,
}

impl BaseUrl {
    /// The value of the `Host` header.
    pub fn authority(&self) -> String {
        match self.port {
            80 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// The path to ask for so as to get `path` below the base.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base_path)
    }

    /// Host and port, as the system's resolver takes them.
    pub fn host_and_port(&self) -> (&str, u16) {
        (self.host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }

    /// The address of the host, one of version 4 where it has both.
    ///
    /// # Errors
    ///
    /// The name is not known.
    pub fn resolve(&self) -> anyhow::Result<SocketAddr> {
        let addresses = self.host_and_port().to_socket_addrs().with_context(|| format!("cannot find {}", self.host))?;
        let first = addresses.min_by_key(|address| !address.is_ipv4());
        first.with_context(|| format!("{} has no address", self.host))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "http://{}{}", self.authority(), self.base_path)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}; expected http://HOST[:PORT][/PATH]"))?;
        if uri.scheme_str() != Some("http") {
            return Err("expected http://HOST[:PORT][/PATH]; TLS is not supported".to_owned());
        }
        if text.contains(['?', '#', '@']) {
            return Err("expected http://HOST[:PORT][/PATH] and nothing more".to_owned());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("must name a host")?;
        // The crate's own reading takes a port that is none for a port that is not there.
        let behind_host = uri.authority().and_then(|authority| authority.as_str().strip_prefix(host));
        let port = match behind_host.and_then(|rest| rest.strip_prefix(':')) {
            Some(port) => port.parse().map_err(|_| format!("{port:?} is no port"))?,
            None => 80,
        };
        Ok(Self { host: host.to_owned(), port, base_path: uri.path().trim_end_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    #[test]
    fn is_taken_apart_and_written_again() {
        for (text, authority, path, written) in [
            ("http://localhost:9999", "localhost:9999", "/users", "http://localhost:9999"),
            ("http://localhost:9999/", "localhost:9999", "/users", "http://localhost:9999"),
            ("http://example.org/a/b/", "example.org", "/a/b/users", "http://example.org/a/b"),
            ("http://[::1]/api/", "[::1]", "/api/users", "http://[::1]/api"),
        ] {
            let url = read(text);
            assert_eq!(url.authority(), authority);
            assert_eq!(url.path("/users"), path);
            assert_eq!(url.to_string(), written);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "localhost:9999",
            "https://localhost",
            "http://",
            "http:///x",
            "http://a?b",
            "http://a#b",
            "http://u@h",
            "http://a:many",
            "http://a:99999",
            "9999",
            "",
            "http://a b",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn finds_addresses() {
        for (text, address) in [
            ("http://127.0.0.1", "127.0.0.1:80"),
            ("http://127.0.0.1:9999", "127.0.0.1:9999"),
            ("http://[::1]", "[::1]:80"),
            ("http://[::1]:81", "[::1]:81"),
        ] {
            assert_eq!(read(text).resolve().unwrap().to_string(), address);
        }
    }
}
