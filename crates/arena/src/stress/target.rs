//! Where requests go.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::Uri;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The base URL of a server: `http`, host, port and a path that all others are below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    base_path: String,
}

impl Target {
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

    /// Opens a connection, to the first of the host's addresses that takes it.
    ///
    /// # Errors
    /// The host has no address, or none takes the connection within five seconds.
    pub async fn connect(&self) -> Result<TcpStream> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, self.port)))
            .await
            .with_context(|| format!("no connection to {self} within {CONNECT_TIMEOUT:?}"))?
            .with_context(|| format!("no connection to {self}"))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Whether the target takes connections.
    ///
    /// # Errors
    /// It does not; the error says how to start it.
    pub async fn check(&self) -> Result<()> {
        let Err(error) = self.connect().await else { return Ok(()) };
        bail!("{error:#}; start the stack with `cargo arena up`, or name another server with --target")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "http://{}:{}{}", self.host, self.port, self.base_path)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err("must begin with http://".to_owned());
        }
        if uri.query().is_some() {
            return Err("must not have a query".to_owned());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("must name a host")?;
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            base_path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_base_url() {
        let target: Target = "http://localhost:9999".parse().unwrap();
        assert_eq!(target.authority(), "localhost:9999");
        assert_eq!(target.path("/users"), "/users");
        assert_eq!(target.to_string(), "http://localhost:9999");

        let target: Target = "http://[::1]/api/".parse().unwrap();
        assert_eq!(target.authority(), "[::1]");
        assert_eq!(target.path("/users"), "/api/users");
        assert_eq!(target.to_string(), "http://[::1]:80/api");
    }

    #[test]
    fn refuses_what_is_no_base_url() {
        for text in ["localhost:9999", "https://localhost", "http://", "http://a?b", "9999", "", "http://a b"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
