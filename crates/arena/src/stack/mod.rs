//! The stack that a bout is fought against: how it is started, found again, and ended.

pub mod budget;
pub mod cgroup_limits;
pub mod cluster;
pub mod compose;
pub mod delegation;
pub mod docker;
pub mod entrance;
pub mod entry;
mod front_door;
pub mod guest;
pub mod hosts;
pub mod lab;
pub mod machine;
pub mod members;
pub mod native;
pub mod packages;
pub mod ports;
pub mod prerequisites;
pub mod process;
pub mod relay;
pub mod requirements;
pub mod which;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::observe::Target;
use crate::record::run::{LIMITS, Limit, NO_LIMITS, Outcome};
use budget::Budget;

/// The port that nginx is reached at, unless told otherwise.
pub const PORT: u16 = 9999;
/// The port that PostgreSQL is reached at, unless told otherwise.
pub const DATABASE_PORT: u16 = 5432;

/// What runs the services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Plain processes of this machine.
    #[default]
    Native,
    /// Docker Compose.
    Docker,
}

impl Engine {
    /// The name that flags and documents use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Docker => "docker",
        }
    }
}

/// A stack that runs, and all that others need to know of it.
#[derive(Clone, Debug)]
pub struct Running {
    /// What runs it.
    pub engine: Engine,
    /// The API's base URL, without a slash at the end.
    pub url: String,
    /// Connection string of the database, for the superuser.
    pub database: String,
    /// Where the database keeps its files, where that is on this machine's own disk.
    pub database_folder: Option<PathBuf>,
    /// What each service may use.
    pub limits: Vec<Limit>,
    /// Whether the user wanted no limits.
    pub without_limits: bool,
    /// Why limits could not be set, and what to do about it, where they could not.
    pub unlimited_because: Option<String>,
    /// The Compose files that were laid over the repository's own.
    pub overlays: Vec<PathBuf>,
    /// Where to observe what each service costs.
    pub observe: Vec<(String, Target)>,
    /// `v1`, `v2`, or `none` where no limits are set.
    pub cgroup: &'static str,
}

impl Running {
    /// How the services fail to keep to a budget, if they do; whoever wants no limits wants no budget.
    pub fn budget_fault(&self, budget: &Budget) -> Option<(Outcome, String)> {
        match &self.unlimited_because {
            _ if self.without_limits => None,
            Some(reason) => {
                Some((Outcome::NoBudget, format!("no limits hold the services: {reason}, or ask for --no-limits")))
            }
            None => budget.fault(&self.limits),
        }
    }

    /// What else makes a run against this stack another one, by name.
    pub fn settings(&self) -> impl Iterator<Item = (String, String)> {
        let limits = self.without_limits.then(|| (LIMITS.to_owned(), NO_LIMITS.to_owned()));
        limits.into_iter().chain(self.overlay_setting())
    }

    /// Which overlays the stack was started with, as a setting of a run, if any.
    fn overlay_setting(&self) -> Option<(String, String)> {
        let names: Vec<_> = self.overlays.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
        (!names.is_empty()).then(|| ("overlay".to_owned(), names.join(", ")))
    }
}
