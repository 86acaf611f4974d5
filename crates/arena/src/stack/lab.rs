//! The lab beside the stack: which parts it has, and where they listen.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::record::run::Limit;

/// The parts of the lab, by the names that they have in `docker-compose.yml` and on the lab's own command line.
pub const PARTS: [&str; 5] = ["blocking", "nonblocking", "forms", "worker", "resource"];

/// Where the servers of the lab listen. The variables are the ones that the lab itself reads.
#[derive(Clone, Copy, Debug, clap::Args, PartialEq, Eq, Serialize, Deserialize)]
#[command(next_help_heading = "Ports of the lab")]
pub struct Ports {
    /// Of the blocking server.
    #[arg(long, value_name = "PORT", env = "LAB_BLOCKING_PORT", default_value_t = Ports::CONTRACT.blocking_port)]
    blocking_port: u16,
    /// Of the non-blocking server.
    #[arg(long, value_name = "PORT", env = "LAB_NONBLOCKING_PORT", default_value_t = Ports::CONTRACT.nonblocking_port)]
    nonblocking_port: u16,
    /// Of the forms.
    #[arg(long, value_name = "PORT", env = "LAB_FORMS_PORT", default_value_t = Ports::CONTRACT.forms_port)]
    forms_port: u16,
    /// Of the scarce resource.
    #[arg(long, value_name = "PORT", env = "LAB_RESOURCE_PORT", default_value_t = Ports::CONTRACT.resource_port)]
    resource_port: u16,
    /// Address of this machine on which the lab listens. 0.0.0.0 lets everybody in who reaches the machine: who runs the
    /// class then sets LAB_WORD, which is asked for before anything is emptied, tried again or switched.
    #[arg(long, value_name = "ADDRESS", env = "LAB_HOST", default_value_t)]
    #[serde(default)]
    pub lab_host: Host,
}

/// Where on this machine the lab listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host(Option<IpAddr>);

impl Host {
    /// Whether others than this machine reach it.
    pub fn is_open(self) -> bool {
        self.0.is_some_and(|address| !address.is_loopback())
    }

    /// The address on which containers publish their ports.
    pub fn published(self) -> String {
        self.0.unwrap_or(Ipv4Addr::LOCALHOST.into()).to_string()
    }

    /// How this machine itself reaches it.
    fn seen_from_here(self) -> String {
        match self.0 {
            Some(IpAddr::V6(address)) if !address.is_unspecified() => format!("[{address}]"),
            Some(address) if !address.is_unspecified() => address.to_string(),
            _ => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("localhost"),
        }
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| "must be localhost or an IP address".into())
    }
}

impl Ports {
    /// Those of `docker-compose.yml`.
    pub const CONTRACT: Self = Self {
        blocking_port: 8000,
        nonblocking_port: 8001,
        forms_port: 5000,
        resource_port: 4000,
        lab_host: Host(None),
    };

    /// The port of a part; the worker has none.
    pub fn of(&self, part: &str) -> Option<u16> {
        match part {
            "blocking" => Some(self.blocking_port),
            "nonblocking" => Some(self.nonblocking_port),
            "forms" => Some(self.forms_port),
            "resource" => Some(self.resource_port),
            _ => None,
        }
    }

    /// How the lab is told of them.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LAB_HOST", self.lab_host.to_string()),
            ("LAB_BLOCKING_PORT", self.blocking_port.to_string()),
            ("LAB_NONBLOCKING_PORT", self.nonblocking_port.to_string()),
            ("LAB_FORMS_PORT", self.forms_port.to_string()),
            ("LAB_RESOURCE_PORT", self.resource_port.to_string()),
        ]
    }

    /// The page of each part that has one, the part's name first.
    pub fn pages(&self) -> impl Iterator<Item = (&'static str, String)> {
        let host = self.lab_host.seen_from_here();
        PARTS.into_iter().filter_map(move |part| Some((part, format!("http://{host}:{}/", self.of(part)?))))
    }
}

/// The lab beside a stack.
#[derive(Clone, Debug)]
pub struct Lab {
    /// Where its servers listen.
    pub ports: Ports,
    /// What each part may use.
    pub limits: Vec<Limit>,
    /// Whether every part runs.
    pub running: bool,
}

impl Lab {
    /// Its pages, as a person is told of them.
    pub fn pages(&self) -> String {
        let pages: Vec<String> = self.ports.pages().map(|(part, page)| format!("{part} {page}")).collect();
        pages.join("   ")
    }

    /// What `arena status --json` says of it.
    pub fn document(&self) -> serde_json::Value {
        serde_json::json!({
            "running": self.running,
            "pages": self.ports.pages().collect::<BTreeMap<_, _>>(),
            "services": self.limits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_whether_others_are_let_in() {
        for (text, open, page) in [
            ("localhost", false, "http://localhost:4000/"),
            ("127.0.0.1", false, "http://127.0.0.1:4000/"),
            ("0.0.0.0", true, "http://localhost:4000/"),
            ("::", true, "http://localhost:4000/"),
            ("192.0.2.7", true, "http://192.0.2.7:4000/"),
            ("2001:db8::7", true, "http://[2001:db8::7]:4000/"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.is_open(), host.to_string()), (open, text.to_owned()));
            let ports = Ports { lab_host: host, ..Ports::CONTRACT };
            assert!(ports.pages().any(|(part, address)| part == "resource" && address == page), "{text}");
        }
        assert!("everywhere".parse::<Host>().is_err());
    }
}
