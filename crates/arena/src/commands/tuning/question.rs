//! What is asked of a search: of which stack, under which load, within which budget.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use super::subject::Subject;
use crate::stack::budget::Budget;
use crate::stack::entry::Entry;
use crate::stack::machine;
use crate::stack::which::Which;
use crate::workspace::Workspace;

/// How long the event's profile takes, in seconds.
const PROFILE_SECONDS: f64 = 205.0;

/// What drives the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// The arena's own driver.
    #[default]
    Bench,
    /// Gatling, as in the event.
    Gatling,
}

impl Driver {
    /// The name that flags and documents use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Gatling => "gatling",
        }
    }

    /// The command that drives with it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Gatling => "fight",
        }
    }
}

/// Of which stack, under which load.
#[derive(Debug, Args)]
pub struct Question {
    /// An entry of the contest instead of this checkout's stack: the Compose file in this directory, in Docker
    #[arg(long = "entry", value_name = "DIR", conflicts_with_all = ["data", "database_port"])]
    pub folder: Option<PathBuf>,
    #[command(flatten)]
    pub which: Which,
    /// What drives the load
    #[arg(long, value_enum, default_value_t)]
    pub driver: Driver,
    /// Multiply every arrival rate of the event's profile
    #[arg(long, default_value_t = 1.0, value_parser = factor, conflicts_with = "rate")]
    rate_factor: f64,
    /// Multiply every duration of the event's profile
    #[arg(long, default_value_t = 1.0, value_parser = factor, conflicts_with = "rate")]
    duration_factor: f64,
    /// A constant rate instead, in users per second
    #[arg(long, value_name = "USERS/S", value_parser = factor)]
    rate: Option<f64>,
    /// How long the constant rate lasts
    #[arg(long, default_value_t = 30.0, value_parser = factor, requires = "rate")]
    seconds: f64,
    /// How long the attempts that narrow down are, as a share of the whole
    #[arg(long, value_name = "SHARE", default_value_t = 0.25, value_parser = share)]
    pub short: f64,
    /// CPUs and memory that all services may use together
    #[arg(long, value_name = "CPUS,MEMORY", default_value = Budget::CONTEST)]
    pub budget: Budget,
    /// Use the attempts of the latest search that was asked for in the same words, also where something has changed since
    #[arg(long)]
    pub resume: bool,
    /// Use no earlier attempt, also where nothing has changed
    #[arg(long, conflicts_with = "resume")]
    pub anew: bool,
    /// Print the document instead of the table
    #[arg(long)]
    pub json: bool,
    /// Do not install what is missing, only list it
    #[arg(long)]
    pub no_install: bool,
    /// More arguments of the driver's command, `cargo arena bench` or `cargo arena fight`
    #[arg(last = true)]
    pub rest: Vec<OsString>,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor > 0.0 && factor <= 1e6 => Ok(factor),
        _ => Err("want a number above 0 and up to a million".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("want a share above 0 and up to 1".into()),
    }
}

impl Question {
    /// Whose limits are searched.
    ///
    /// # Errors
    ///
    /// If what is asked cannot be meant, or the machine has less than the budget.
    pub fn subject(&self, workspace: &Workspace) -> anyhow::Result<Subject> {
        ensure!(
            self.rate.is_none() || self.driver == Driver::Bench,
            "--rate is for --driver bench; Gatling drives the event's profile, with --rate-factor and --duration-factor"
        );
        let cores = available_parallelism().map_or(1, usize::from) as f64;
        ensure!(
            self.budget.cpus() <= cores,
            "the budget is {}, and this machine has {cores} cores; give less with --budget",
            self.budget
        );
        let memory = machine::describe("none").memory_bytes;
        ensure!(
            self.budget.memory_bytes() <= memory,
            "the budget is {}, and this machine has {} MiB; give less with --budget",
            self.budget,
            memory >> 20
        );
        let subject = match &self.folder {
            Some(folder) => {
                let entry = Entry::at(folder)?.laid_over(self.which.overlays())?;
                Subject::entry(entry, &self.budget)?
            }
            None => {
                self.which.check(workspace, true)?;
                Subject::own(workspace, &self.which, &self.budget)?
            }
        };
        if let Some((_, fault)) = self.budget.fault(&subject.start) {
            bail!("{fault}");
        }
        Ok(subject)
    }

    /// Whether a stack could be started now.
    ///
    /// # Errors
    ///
    /// If one runs already, or the machine lacks something.
    pub fn check_machine(&self, workspace: &Workspace) -> anyhow::Result<()> {
        if self.folder.is_some() {
            return Ok(());
        }
        ensure!(
            self.which.running(workspace)?.is_none(),
            "a stack runs already, and a search wants one of its own; `cargo arena down` ends it"
        );
        self.which.check_machine(workspace, true)
    }

    /// The words that drive a share of the whole load.
    pub fn load(&self, share: f64) -> Vec<String> {
        match self.rate {
            Some(rate) => {
                vec!["--rate".into(), rate.to_string(), "--seconds".into(), rounded(self.seconds * share).to_string()]
            }
            None => vec![
                "--rate-factor".into(),
                self.rate_factor.to_string(),
                "--duration-factor".into(),
                rounded(self.duration_factor * share).to_string(),
            ],
        }
    }

    /// How many seconds a share of the whole load takes.
    pub fn seconds(&self, share: f64) -> f64 {
        share * if self.rate.is_some() { self.seconds } else { PROFILE_SECONDS * self.duration_factor }
    }

    /// Users who arrive each second, at the most.
    pub fn peak(&self) -> f64 {
        self.rate.unwrap_or(740.0 * self.rate_factor)
    }

    /// The budget in the words of the command line.
    pub fn budget_words(&self) -> String {
        format!("{},{}", self.budget.cpus(), self.budget.memory_bytes())
    }

    /// What makes one search another than the next, in words by which it is known again.
    pub fn asked(&self, subject: &Subject) -> String {
        let rest: Vec<String> = self.rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let load = [self.load(1.0), rest].concat().join(" ");
        format!("{} by {}: {load}; short {}; budget {}", subject.name, self.driver.name(), self.short, self.budget)
    }

    /// Whether a file can be written there, as far as its folder goes.
    ///
    /// # Errors
    ///
    /// If the file's folder is not there.
    pub fn writable(file: &Path) -> anyhow::Result<()> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        ensure!(folder.is_dir(), "there is no folder {}", folder.display());
        file.file_name().context("a file needs a name").map(drop)
    }
}

/// To a tenth of a thousandth: a share of a duration has digits that nobody reads.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}
