//! The lab beside the stack: which parts it has, and where they listen.

use std::collections::BTreeMap;

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
}

impl Ports {
    /// Those of `docker-compose.yml`.
    pub const CONTRACT: Self =
        Self { blocking_port: 8000, nonblocking_port: 8001, forms_port: 5000, resource_port: 4000 };

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
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LAB_BLOCKING_PORT", self.blocking_port.to_string()),
            ("LAB_NONBLOCKING_PORT", self.nonblocking_port.to_string()),
            ("LAB_FORMS_PORT", self.forms_port.to_string()),
            ("LAB_RESOURCE_PORT", self.resource_port.to_string()),
        ]
    }

    /// The page of each part that has one, the part's name first.
    pub fn pages(&self) -> impl Iterator<Item = (&'static str, String)> {
        PARTS.into_iter().filter_map(|part| Some((part, format!("http://localhost:{}/", self.of(part)?))))
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
