//! What a piece of work takes.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Measured on the machine that `docs/SCALING.md` names, which also says how.
const MEASURED: &str = include_str!("costs.json");

/// CPU time of each piece of work, in microseconds unless its name says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// nginx.
    pub nginx: Nginx,
    /// An instance.
    pub instance: Instance,
    /// The database.
    pub database: Database,
    /// The machine below them.
    pub machine: Machine,
    /// After a pause of so long a service takes half of its `wake`.
    pub half_wake: f64,
    /// Share of creates that an instance refuses by itself, 0 to 1.
    pub refused_share: f64,
}

/// What nginx takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nginx {
    /// To go on after a long pause.
    pub wake: f64,
    /// To accept a user's connection, and to close it.
    pub connection: f64,
    /// To read a request and hand it on.
    pub take: f64,
    /// To hand an answer on.
    pub give: f64,
    /// By how much its costs differ from one period of 100 ms to the next: standard deviation, in parts of the mean.
    pub unevenness: f64,
}

/// What an instance takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// To go on after a long pause.
    pub wake: f64,
    /// For any request: to read it, and to answer it.
    pub request: f64,
    /// For a create besides: to parse and judge it, and to remember the person.
    pub create: f64,
    /// For a search besides, with nobody to be read.
    pub search: f64,
    /// For a search besides, for each million people who are remembered.
    pub search_per_million: f64,
    /// To send a group of creates to the database, and as much again to read its answer.
    pub group: f64,
    /// To ask the database for a look, and as much again to read its answer.
    pub look: f64,
    /// To learn of one person from a look.
    pub learn: f64,
    /// By how much its costs differ from one period of 100 ms to the next: standard deviation, in parts of the mean.
    pub unevenness: f64,
}

/// What the database takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// To go on after a long pause.
    pub wake: f64,
    /// To store a group, its commit included.
    pub group: f64,
    /// For each person in it.
    pub row: f64,
    /// For a look.
    pub look: f64,
    /// For each person that a look finds.
    pub seen: f64,
    /// Time, not CPU, that a commit waits for the disk.
    pub flush: f64,
    /// To clear the log's buffers that each person has used. PostgreSQL's walwriter does that for all of them at once, every
    /// 5 s while commits flush by themselves (`WalWriterMain` in its source).
    pub clear: f64,
    /// To clear all of those buffers, the most that it does at once.
    pub clear_most: f64,
    /// By how much its costs differ from one period of 100 ms to the next: standard deviation, in parts of the mean.
    pub unevenness: f64,
}

/// What a machine takes from whatever runs there: interrupts, and time that its own host gives to others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// How often a processor stands still, per second.
    pub stalls: f64,
    /// For how long, in the mean; as often longer as in an exponential distribution.
    pub stall: f64,
}

impl Costs {
    /// Those that were measured for this repository.
    ///
    /// # Errors
    ///
    /// None that a test would not have found.
    pub fn measured() -> anyhow::Result<Self> {
        Self::parse(MEASURED).context("the measured costs")
    }

    /// Those in a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or does not say what each piece of work takes.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Self::parse(&text).with_context(|| file.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let costs: Self = serde_json::from_str(text)?;
        let Self { nginx, instance, database, machine, half_wake, refused_share } = &costs;
        let of_nginx = [nginx.wake, nginx.connection, nginx.take, nginx.give];
        let of_requests =
            [instance.wake, instance.request, instance.create, instance.search, instance.search_per_million];
        let of_statements = [instance.group, instance.look, instance.learn];
        let of_database = [database.wake, database.group, database.row, database.look, database.seen, database.flush];
        let of_log = [database.clear, database.clear_most];
        let times =
            [&of_nginx[..], &of_requests, &of_statements, &of_database, &of_log, &[machine.stall, *half_wake]].concat();
        ensure!(times.iter().all(|time| (0.0..1e9).contains(time)), "expected microseconds, 0 and more");
        ensure!((0.0..=1e3).contains(&machine.stalls), "stalls: expected 0 to 1,000 a second");
        let unevenness = [nginx.unevenness, instance.unevenness, database.unevenness];
        ensure!(unevenness.iter().all(|part| (0.0..=0.6).contains(part)), "unevenness: expected 0 to 0.6");
        ensure!((0.0..=1.0).contains(refused_share), "refused_share: expected 0 to 1");
        Ok(costs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_costs_are_sound() {
        assert!(Costs::measured().is_ok());
    }

    #[test]
    fn what_is_no_cost_is_refused() {
        for (from, to) in [
            ("\"take\"", "\"tale\""),
            ("\"refused_share\": 0", "\"refused_share\": 2"),
            ("\"wake\": ", "\"wake\": -"),
            ("\"stalls\": ", "\"stalls\": -"),
        ] {
            assert!(MEASURED.contains(from));
            assert!(Costs::parse(&MEASURED.replace(from, to)).is_err(), "{to}");
        }
    }
}
