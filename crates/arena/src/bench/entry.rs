//! The server under load: where it is, what its paths are called, and which statuses are right.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};

use super::checks::Statuses;
use super::schedule::Kind;

/// A server that speaks the people API, or something near it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Base URL, without a slash at the end.
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Value of the `Host` header.
    pub host: String,
    /// The path that creates and searches.
    pub people_path: String,
    /// The path that counts people.
    pub count_path: String,
    /// The query parameter of a search.
    pub search_parameter: String,
    /// Statuses that are right, by kind.
    pub statuses: [Statuses; 4],
}

impl Entry {
    /// Statuses that are right for a kind of request.
    pub fn statuses(&self, kind: Kind) -> &Statuses {
        &self.statuses[kind as usize]
    }
}

/// A base URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Value of the `Host` header.
    pub host: String,
    /// What stands before every path; empty or beginning with a slash.
    pub path: String,
}

impl Base {
    /// Reads `http://HOST[:PORT][/PATH]`.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, in one line.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err("expected http://HOST[:PORT][/PATH]; TLS is not supported".into());
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@".contains(&byte));
        if host.is_empty() || !plain(host) || !plain(path) {
            return Err("expected http://HOST[:PORT][/PATH] and nothing more".into());
        }
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { host: host.to_owned(), path })
    }

    /// Finds the address of the host.
    ///
    /// # Errors
    ///
    /// The port is not a number, or the name is not known.
    pub fn resolve(&self) -> anyhow::Result<SocketAddr> {
        let has_port = self.host.rsplit_once(':').is_some_and(|(name, _)| !name.contains(':') || name.ends_with(']'));
        let host = if has_port { self.host.clone() } else { format!("{}:80", self.host) };
        let mut addresses =
            host.to_socket_addrs().with_context(|| format!("cannot find {}", self.host))?.collect::<Vec<_>>();
        addresses.sort_by_key(|address| !address.is_ipv4());
        match addresses.first() {
            Some(address) => Ok(*address),
            None => bail!("{} has no address", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_url_apart() {
        let base = |url| Base::parse(url).map(|base| (base.host, base.path));
        let of = |host: &str, path: &str| Ok((host.to_owned(), path.to_owned()));
        assert_eq!(base("http://localhost:9999"), of("localhost:9999", ""));
        assert_eq!(base("http://localhost:9999/"), of("localhost:9999", ""));
        assert_eq!(base("http://example.org/a/b/"), of("example.org", "/a/b"));
        for wrong in
            ["localhost:9999", "https://localhost", "http://", "http:///x", "http://a b", "http://a?b", "http://u@h"]
        {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn finds_addresses() {
        let address = |url| Base::parse(url).unwrap().resolve().map(|address| address.to_string()).ok();
        assert_eq!(address("http://127.0.0.1"), Some("127.0.0.1:80".into()));
        assert_eq!(address("http://127.0.0.1:9999"), Some("127.0.0.1:9999".into()));
        assert_eq!(address("http://[::1]"), Some("[::1]:80".into()));
        assert_eq!(address("http://[::1]:81"), Some("[::1]:81".into()));
        assert_eq!(address("http://127.0.0.1:many"), None);
    }
}
