//! The document of a search over limits and settings (`floor`, `tune`): what was tried, what came of it, what was found.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::record::keep::keep;
use crate::record::metric::{cpu_ms_per_thousand, throttled_percent, total_cost};
use crate::record::run::{Cost, Limit, Outcome, Run};

/// The version of this document's shape. Raised when a reader of the old shape would misread the new one.
pub const SCHEMA: u32 = 1;

/// A search, whether it is over or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Unique and sortable by time.
    pub id: String,
    /// What was asked for, by which an interrupted search is found again.
    pub asked: String,
    /// What was measured, as a digest of its files: attempts are used again where it is the same.
    pub state: String,
    /// What passes, or which way is better, in words.
    pub goal: String,
    /// The figure by which attempts are told and compared.
    #[serde(default)]
    pub figure: Figure,
    /// What each service may use in the files as they are.
    pub today: Vec<Limit>,
    /// All attempts, in the order in which they were made or used again.
    pub attempts: Vec<Attempt>,
    /// Comparisons in pairs, of `tune`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Compared>,
    /// What was found, once the search is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
}

/// A figure of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Requests answered with success each second, where more is offered than can be carried
    Rate,
    /// The 99th percentile of the response time, of the kind of request whose is the longest
    #[default]
    P99,
    /// CPU time for every thousand requests
    Cost,
}

impl Figure {
    /// The figure of an attempt, in its [unit](Self::unit); none where it was not measured.
    pub fn of(self, attempt: &Attempt) -> Option<f64> {
        match self {
            Self::Rate => attempt.goodput,
            Self::P99 => attempt.p99,
            Self::Cost => attempt.cost,
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "successful/s",
            Self::P99 => "ms",
            Self::Cost => "CPU ms per 1,000",
        }
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What each service is to use.
    pub limits: Vec<Limit>,
    /// Settings that are to change, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Whether it stood the last test: a floor that was confirmed, a proposal that is better beyond the noise.
    pub is_confirmed: bool,
    /// What is to be said of it, one sentence each.
    pub remarks: Vec<String>,
}

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// To see who needs how much, inside the full budget.
    Learn,
    /// To narrow the total, or the candidates, down.
    Narrow,
    /// To see whether what was found holds, at full length on a stack that starts under it.
    Confirm,
    /// To see that a tenth less does not.
    Below,
    /// To find the memory that it takes.
    Memory,
    /// One half of a pair at full length.
    Pair,
}

impl fmt::Display for Aim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Learn => "learn",
            Self::Narrow => "narrow",
            Self::Confirm => "confirm",
            Self::Below => "below",
            Self::Memory => "memory",
            Self::Pair => "pair",
        })
    }
}

/// One load on one set of limits and settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// What it was for.
    pub aim: Aim,
    /// The load, as the words that drive it.
    pub load: String,
    /// Whether the stack was started for it, under these limits.
    pub is_fresh: bool,
    /// What each service was allowed.
    pub limits: Vec<Limit>,
    /// Settings that differed from the files', by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// The run's document, where there was one to judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The verdict; none where there was no run, as when a service did not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Whether it passed.
    pub passed: bool,
    /// Why not, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// How long the load took, in seconds.
    pub seconds: f64,
    /// Requests sent.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// 99th percentile of the response time in milliseconds, of the kind of request whose is the longest.
    pub p99: Option<f64>,
    /// CPU time in milliseconds for every thousand requests.
    pub cost: Option<f64>,
    /// Requests answered with success each second, where more was offered than could be carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<f64>,
    /// What each service used.
    pub services: Vec<Cost>,
}

/// What differs between two sides of a comparison, measured in pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// What was changed: `split`, or the setting's name.
    pub what: String,
    /// Its value before and after.
    pub values: [String; 2],
    /// Pairs that were measured.
    pub pairs: usize,
    /// Mean of the figure before and after.
    pub means: [f64; 2],
    /// The change in percent, and where it truly lies at 95 %; without ends where no noise is known.
    pub percent: f64,
    /// Lower and upper end.
    pub interval: Option<[f64; 2]>,
    /// Whether it is better beyond the noise.
    pub is_better: bool,
    /// Pairs that would tell a difference of this size, where those that were measured do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_do: Option<u64>,
}

impl Attempt {
    /// What came of a run, which missed what it should have kept to for these `reasons`.
    pub fn of_run(run: &Run, reasons: Vec<String>) -> Self {
        let p99 = run.requests.iter().filter_map(|kind| kind.response_time(|times| times.p99));
        let cost = total_cost(&run.services).and_then(|cost| cpu_ms_per_thousand(&cost, run));
        Self {
            run: Some(run.id.clone()),
            outcome: Some(run.verdict().outcome),
            passed: reasons.is_empty(),
            reasons,
            seconds: run.seconds,
            requests: run.request_count(),
            failed: run.failed(),
            p99: p99.reduce(f64::max),
            cost,
            goodput: run.steps.last().and_then(|step| Some(step.goodput.as_ref()?.per_second)),
            services: run.services.clone(),
            ..Self::without_run(Vec::new())
        }
    }

    /// An attempt that left no run to judge.
    pub fn without_run(reasons: Vec<String>) -> Self {
        Self {
            aim: Aim::Narrow,
            load: String::new(),
            is_fresh: false,
            limits: Vec::new(),
            settings: BTreeMap::new(),
            run: None,
            outcome: None,
            passed: false,
            reasons,
            seconds: 0.0,
            requests: 0,
            failed: 0,
            p99: None,
            cost: None,
            goodput: None,
            services: Vec::new(),
        }
    }

    /// CPUs that all services were allowed together.
    pub fn cpus(&self) -> f64 {
        cpus(&self.limits)
    }

    /// Bytes of memory that all services were allowed together.
    pub fn memory_bytes(&self) -> u64 {
        memory_bytes(&self.limits)
    }

    /// Who was throttled, in percent of their periods, most first; those below one percent are left out.
    pub fn throttled(&self) -> Vec<(&str, f64)> {
        let shares = self.services.iter().filter_map(|cost| Some((cost.service.as_str(), throttled_percent(cost)?)));
        let mut throttled: Vec<(&str, f64)> = shares.collect();
        throttled.retain(|(_, share)| *share >= 1.0);
        throttled.sort_by(|a, b| b.1.total_cmp(&a.1));
        throttled
    }

    /// Whether another is the same question, which need not be asked twice.
    pub fn is_like(&self, other: &Self) -> bool {
        self.load == other.load
            && self.is_fresh == other.is_fresh
            && self.limits == other.limits
            && self.settings == other.settings
    }
}

/// CPUs that all services may use together.
pub fn cpus(limits: &[Limit]) -> f64 {
    limits.iter().filter_map(|limit| limit.cpus).sum()
}

/// Bytes of memory that all services may use together.
pub fn memory_bytes(limits: &[Limit]) -> u64 {
    limits.iter().filter_map(|limit| limit.memory_bytes).sum()
}

impl Search {
    /// Writes the document into a folder, and says where. A reader sees the old one or the new one.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        keep(self, folder, &self.id)
    }

    /// The command that searched: the second last part of its name.
    pub fn command(&self) -> &str {
        self.id.rsplit('-').nth(1).unwrap_or_default()
    }

    /// The searches in a folder, oldest first.
    pub fn all(folder: &Path) -> Vec<Self> {
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let read = |path: PathBuf| serde_json::from_str::<Self>(&fs::read_to_string(path).ok()?).ok();
        let mut searches: Vec<Self> = files.filter_map(read).filter(|search| search.schema == SCHEMA).collect();
        searches.sort_by(|a, b| a.id.cmp(&b.id));
        searches
    }

    /// The attempts of a folder's searches that may be used again: those over the same `state`, and with `resumed` those of
    /// the latest search that was asked for in the same words too, whatever has changed since.
    pub fn earlier(folder: &Path, asked: &str, state: &str, resumed: bool) -> Vec<Attempt> {
        let all = Self::all(folder);
        let latest = all.iter().rfind(|search| resumed && search.asked == asked).map(|search| search.id.clone());
        let usable = all.into_iter().filter(|search| search.state == state || Some(&search.id) == latest.as_ref());
        let mut attempts: Vec<Attempt> = Vec::new();
        for attempt in usable.flat_map(|search| search.attempts) {
            // One that was used again stands in several documents.
            if attempt.run.is_none() || attempts.iter().all(|known| known.run != attempt.run) {
                attempts.push(attempt);
            }
        }
        attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(id: &str, asked: &str, state: &str, runs: &[&str]) -> Search {
        let attempt = |run: &&str| Attempt { run: Some((*run).to_owned()), ..Attempt::without_run(Vec::new()) };
        Search {
            schema: SCHEMA,
            id: id.into(),
            asked: asked.into(),
            state: state.into(),
            goal: String::new(),
            figure: Figure::P99,
            today: Vec::new(),
            attempts: runs.iter().map(attempt).collect(),
            comparisons: Vec::new(),
            found: None,
        }
    }

    #[test]
    fn attempts_are_used_again_where_nothing_changed_or_somebody_asks_for_it() {
        let folder = tempfile::tempdir().unwrap();
        for search in [
            search("1", "a", "then", &["1"]),
            search("2", "a", "then", &["2"]),
            search("3", "b", "now", &["3"]),
            search("4", "c", "now", &["3", "4"]),
        ] {
            search.save(folder.path()).unwrap();
        }
        let runs = |asked, state, resumed| -> Vec<String> {
            Search::earlier(folder.path(), asked, state, resumed)
                .into_iter()
                .filter_map(|attempt| attempt.run)
                .collect()
        };
        assert_eq!(runs("a", "now", false), ["3", "4"]);
        assert_eq!(runs("a", "now", true), ["2", "3", "4"]);
        assert!(runs("a", "never", false).is_empty());
    }
}
