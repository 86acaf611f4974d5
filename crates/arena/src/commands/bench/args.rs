//! The command line of `arena bench`, and what it asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::builder::RangedU64ValueParser;

use super::rates::{Growth, Rates, positive};
use crate::load::base_url::BaseUrl;
use crate::load::driver::checks::Statuses;
use crate::load::driver::entry::{Entry, STATUSES};
use crate::load::driver::plan::{Plan, Ramp};
use crate::load::driver::rules::Strictness;
use crate::load::driver::schedule::{Kind, Mix, Profile};
use crate::load::driver::worker::Behaviour;
use crate::load::fill;
use crate::load::location::Origin;
use crate::load::payloads::{self, Files};
use crate::load::vocabulary::Vocabulary;
use crate::observe::{Target, parse_named};
use crate::record::threshold::Threshold;
use crate::stack::budget::Budget;
use crate::stack::which::Which;
use crate::workspace::Workspace;

/// Rows that are generated at most; a longer run starts over, and its rows are then refused as taken.
const MOST_ROWS: u64 = 1_000_000;

/// A threshold that ends a ramp unless the user says otherwise.
const UNTIL: [&str; 5] =
    ["failed>0", "create.p99>100ms", "fetch.p99>100ms", "search.p99>100ms", "invalid-search.p99>100ms"];

/// Arguments of `arena bench`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    #[command(flatten)]
    pub(super) load: LoadArgs,
    #[command(flatten)]
    pub(super) stack: Which,
    #[command(flatten)]
    pub(super) entry: EntryArgs,
    /// Observe what a service costs: a process with its descendants, a control group, or a container. May be repeated.
    /// The stack that `arena up` started is observed by itself
    #[arg(long, value_name = "NAME=PID|CGROUP|CONTAINER", value_parser = parse_named)]
    pub(super) observe: Vec<(String, Target)>,
    /// End with status 99 if this holds, such as create.p99>50ms, failed>0 or db.cpu_seconds>10s. May be repeated
    #[arg(long, value_name = "THRESHOLD")]
    pub(super) fail_on: Vec<Threshold>,
    /// End with status 99 unless this holds, such as fetch.service.p99<=5ms. May be repeated
    #[arg(long, value_name = "THRESHOLD")]
    pub(super) require: Vec<Threshold>,
    /// Let a data directory in memory pass, or a disk that does not wait for flushes; it is said beside the verdict
    #[arg(long)]
    pub(super) volatile: bool,
    /// CPUs and memory that all services may use together
    #[arg(long, value_name = "CPUS,MEMORY", default_value = Budget::CONTEST)]
    pub(super) budget: Budget,
    /// End as soon as a request has failed: to know that it fails, and not how much of it
    #[arg(long, conflicts_with = "ramp")]
    pub(super) give_up: bool,
    /// Write response times second by second as an HDR interval log
    #[arg(long, value_name = "FILE")]
    pub(super) hdr_log: Option<PathBuf>,
    /// A name for the run, for reports and comparisons
    #[arg(long)]
    pub(super) label: Option<String>,
    /// Print the run as one JSON document instead of the table
    #[arg(long)]
    pub(super) json: bool,
}

/// What load to drive: the event's profile, unless --rate or --ramp says otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Multiply every arrival rate of the event's profile
    #[arg(long, default_value_t = 1.0, value_parser = positive, conflicts_with_all = ["rate", "ramp"])]
    pub rate_factor: f64,
    /// Multiply every duration of the event's profile
    #[arg(long, default_value_t = 1.0, value_parser = positive, conflicts_with_all = ["rate", "ramp"])]
    pub duration_factor: f64,
    /// A constant rate instead, in users per second; a user who creates a person also fetches it
    #[arg(long, value_name = "USERS/S", value_parser = positive, group = "even", conflicts_with = "ramp")]
    pub rate: Option<f64>,
    /// How long the constant rate lasts
    #[arg(long, default_value_t = 30.0, value_parser = positive, requires = "rate")]
    pub seconds: f64,
    /// Look for the knee instead: raise the rate step by step until a threshold breaks; in users per second
    #[arg(long, value_name = "FROM..TO|RATE,RATE,...", group = "even")]
    pub ramp: Option<Rates>,
    /// How much each step of the ramp adds to the rate, or by what factor it raises it [default: FROM]
    #[arg(long, value_name = "USERS/S|xFACTOR", requires = "ramp")]
    pub step: Option<Growth>,
    /// Go on to the end of the ramp, whatever breaks: to see how much is still answered when more is offered than the
    /// server carries. A request that is refused with 503 and Retry-After is no fault then
    #[arg(long, requires = "ramp")]
    pub past_knee: bool,
    /// How long each step of the ramp lasts
    #[arg(long, default_value_t = 10.0, value_parser = positive, requires = "ramp")]
    pub step_seconds: f64,
    /// What ends the ramp. May be repeated [default: failed>0, or p99>100ms for any kind of request]
    #[arg(long, value_name = "THRESHOLD", requires = "ramp")]
    pub until: Vec<Threshold>,
    /// Proportions of creates, searches and invalid searches, for --rate and --ramp
    #[arg(long, value_name = "C:S:I", default_value = "600:100:40", value_parser = mix, requires = "even")]
    pub mix: Mix,
    /// Give connections on from user to user, instead of one to each
    #[arg(long)]
    pub keep_alive: bool,
    /// How long a user waits for an answer, in seconds
    #[arg(long, default_value_t = 60, value_parser = RangedU64ValueParser::<u64>::new().range(1..=3600))]
    pub timeout: u64,
    /// By how many milliseconds the slowest 1 % of sends may be late before the run is invalid
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub max_lag: u64,
    /// What generated payloads and pauses come from
    #[arg(long, default_value_t = payloads::SEED)]
    pub seed: u64,
    /// Payloads from this TSV file instead of generated ones
    #[arg(long, value_name = "FILE", requires = "terms")]
    pub payloads: Option<PathBuf>,
    /// Search terms from this TSV file instead of generated ones
    #[arg(long, value_name = "FILE", requires = "payloads")]
    pub terms: Option<PathBuf>,
}

impl LoadArgs {
    /// What to drive.
    ///
    /// # Errors
    ///
    /// As [`Rates::steps`], or a threshold is on requests that nobody sends.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let Some(rates) = &self.ramp else {
            let profile = match self.rate {
                Some(rate) => Profile::constant(rate, self.seconds, self.mix),
                None => Profile::event(self.rate_factor, self.duration_factor),
            };
            return Ok(Plan::Profile(profile));
        };
        let usual = || UNTIL.map(str::parse).into_iter().collect::<Result<_, _>>().map_err(anyhow::Error::msg);
        let wants_every_figure = !self.until.is_empty();
        let until = if wants_every_figure { self.until.clone() } else { usual()? };
        for kind in until.iter().filter_map(|threshold| threshold.metric().kind()) {
            let kinds = Kind::ALL.map(Kind::name);
            ensure!(kinds.contains(&kind), "--until: no request is called {kind:?}; known are {}", kinds.join(", "));
        }
        let ramp = Ramp {
            rates: rates.steps(self.step)?,
            step_seconds: self.step_seconds,
            mix: self.mix,
            until,
            wants_every_figure,
            past_knee: self.past_knee,
        };
        Ok(Plan::Ramp(ramp))
    }

    /// How users behave.
    pub fn behaviour(&self) -> Behaviour {
        Behaviour { keep_alive: self.keep_alive, timeout: Duration::from_secs(self.timeout), seed: self.seed }
    }

    /// What makes this run differ from others, by name.
    pub fn more(&self, before: Option<u64>) -> BTreeMap<String, String> {
        let mut more = BTreeMap::from([
            ("connections".to_owned(), if self.keep_alive { "kept alive" } else { "one per user" }.to_owned()),
            ("timeout".to_owned(), format!("{} s", self.timeout)),
        ]);
        match &self.payloads {
            Some(file) => more.insert("payloads".into(), file.display().to_string()),
            None => more.insert("seed".into(), self.seed.to_string()),
        };
        let load = match (self.rate, &self.ramp) {
            (Some(rate), _) => Some(("rate", format!("{rate} users/s for {} s", self.seconds))),
            (None, Some(rates)) if self.past_knee => Some(("ramp", format!("{rates}, past the knee"))),
            (None, Some(rates)) => Some(("ramp", rates.to_string())),
            (None, None) => None,
        };
        if let Some((name, load)) = load {
            let mix = self.mix.map(|share| share.to_string()).join(":");
            more.extend([(name.to_owned(), load), ("mix".to_owned(), mix)]);
        }
        if let Some(before) = before.filter(|before| *before > 0) {
            more.insert("people before".into(), before.to_string());
        }
        more
    }

    /// The files that were given, or generated ones with a row for every create.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn files(&self, workspace: &Workspace, vocabulary: Vocabulary, plan: &Plan) -> anyhow::Result<Files> {
        if let Some((payloads, terms)) = self.payloads.clone().zip(self.terms.clone()) {
            return Ok(Files { payloads, terms });
        }
        let folder = workspace.path("target/payloads");
        if plan.users(Kind::Create) <= payloads::ROWS {
            return payloads::ensure(&folder, vocabulary, payloads::ROWS, self.seed);
        }
        let rows = plan.users(Kind::Create).next_multiple_of(payloads::ROWS).min(MOST_ROWS);
        payloads::ensure(&folder.join(rows.to_string()), vocabulary, rows, self.seed)
    }
}

/// What server to load: the stack that `arena up` started, unless --url says otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct EntryArgs {
    /// Base URL of the server [default: that of the stack that runs, else http://127.0.0.1:9999]
    #[arg(long, value_name = "URL")]
    pub url: Option<BaseUrl>,
    /// An entry of the contest instead: the Compose file in this directory as it is, in Docker; it is removed again
    #[arg(long = "entry", value_name = "DIR", conflicts_with_all = ["url", "empty", "over", "data", "database_port"])]
    pub folder: Option<PathBuf>,
    /// Seconds that an entry has until its port answers HTTP
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "folder")]
    pub wait: u64,
    /// Keep the images that were built for an entry
    #[arg(long, requires = "folder")]
    pub keep_images: bool,
    /// In which words to speak [default: users; pessoas, the event's own, for an entry]
    #[arg(long, value_enum)]
    pub vocabulary: Option<Vocabulary>,
    /// The path that creates and searches, where it is not the vocabulary's
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub people_path: Option<String>,
    /// The path that counts people, where it is not the vocabulary's
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub count_path: Option<String>,
    /// The parameter of a search, where it is not the vocabulary's
    #[arg(long, value_name = "NAME", value_parser = parameter)]
    pub search_parameter: Option<String>,
    /// Statuses that a create may get
    #[arg(long, value_name = "STATUSES", default_value = STATUSES[0])]
    pub create_statuses: Statuses,
    /// Statuses that a fetch may get
    #[arg(long, value_name = "STATUSES", default_value = STATUSES[1])]
    pub fetch_statuses: Statuses,
    /// Statuses that a search may get
    #[arg(long, value_name = "STATUSES", default_value = STATUSES[2])]
    pub search_statuses: Statuses,
    /// Statuses that a search without a term may get
    #[arg(long, value_name = "STATUSES", default_value = STATUSES[3])]
    pub invalid_search_statuses: Statuses,
    /// Let the server refuse with 400 what should be refused with 422, and the other way round
    #[arg(long)]
    pub any_refusal: bool,
    /// Look at statuses only: neither at what answers hold, nor at whether the row deserved its status
    #[arg(long)]
    pub no_checks: bool,
    /// Remove the people who are stored from before, first; only from the stack that `arena up` started
    #[arg(long, conflicts_with = "url")]
    pub empty: bool,
    /// Begin over people: those who are stored, and as many more as the first N of `cargo arena fill` lack; only in the
    /// stack that `arena up` started
    #[arg(long, value_name = "N", conflicts_with = "url", value_parser = RangedU64ValueParser::<u64>::new().range(1..=fill::MOST))]
    pub over: Option<u64>,
    /// Do not count people before and after
    #[arg(long)]
    pub no_count: bool,
}

impl EntryArgs {
    /// In which words to speak.
    pub fn vocabulary(&self) -> Vocabulary {
        let usual = if self.folder.is_some() { Vocabulary::Pessoas } else { Vocabulary::default() };
        self.vocabulary.unwrap_or(usual)
    }

    /// The server to load, given the base URL of the stack that runs, or the port where none is known.
    ///
    /// # Errors
    ///
    /// The URL's host is not known.
    pub fn entry(&self, running: Option<&str>, port: u16) -> anyhow::Result<Entry> {
        let usual = || running.map_or_else(|| format!("http://127.0.0.1:{port}"), str::to_owned);
        let base: BaseUrl = match &self.url {
            Some(base) => base.clone(),
            None => usual().parse().map_err(anyhow::Error::msg).context("the running stack's URL")?,
        };
        let usual = Entry::usual(&base, self.vocabulary())?;
        let at = |path: &Option<String>, usual: String| path.as_deref().map_or(usual, |path| base.path(path));
        let people_path = at(&self.people_path, usual.people_path);
        Ok(Entry {
            origin: Origin::new(&base.authority(), &people_path)?,
            people_path,
            count_path: at(&self.count_path, usual.count_path),
            search_parameter: self.search_parameter.clone().unwrap_or(usual.search_parameter),
            statuses: [
                self.create_statuses.clone(),
                self.fetch_statuses.clone(),
                self.search_statuses.clone(),
                self.invalid_search_statuses.clone(),
            ],
            ..usual
        })
    }

    /// How strict users are, given whether everybody is known who was there before.
    pub fn strictness(&self, knows_everybody: bool) -> Strictness {
        Strictness { check: !self.no_checks, any_refusal: self.any_refusal, knows_everybody }
    }
}

/// Reads proportions of creates, searches and invalid searches.
pub fn mix(text: &str) -> Result<Mix, String> {
    let shares: Vec<f64> = text.split(':').map_while(|share| share.parse().ok()).collect();
    match <Mix>::try_from(shares) {
        Ok(mix) if mix.iter().all(|share| (0.0..1e6).contains(share)) && mix.iter().sum::<f64>() > 0.0 => Ok(mix),
        _ => Err("expected three numbers such as 600:100:40, not all 0".into()),
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') && !text.contains('#') && Origin::new("localhost", text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err("expected a path that begins with /".into()),
    }
}

fn parameter(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]%".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("expected the name of a query parameter, such as q".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mixes_and_paths() {
        assert_eq!(mix("1:0:0.5"), Ok([1.0, 0.0, 0.5]));
        assert!(path("/people").is_ok());
        assert!(["", "1:2", "1:2:3:4", "0:0:0", "1:x:3", "-1:1:1", "1:2:nan"].iter().all(|text| mix(text).is_err()));
        assert!(["", "people", "/a b", "/a#b", "/a|b"].iter().all(|text| path(text).is_err()));
        assert!(["q", "filter[name]"].iter().all(|text| parameter(text).is_ok()));
        assert!(["", "q q", "q&r", "q=", "é"].iter().all(|text| parameter(text).is_err()));
        assert!(["0", "-1", "nan", "inf", "x"].iter().all(|text| positive(text).is_err()));
    }
}
