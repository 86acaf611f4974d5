//! The one document that a bout or a benchmark leaves behind: what ran, where, what came of it, what it cost.
//!
//! `fight` and `bench` write it; `report`, `compare` and `history` read it. Its JSON Schema is `run.schema.json`, made
//! from the types here: `cargo arena history --schema > crates/arena/run.schema.json`. All times are milliseconds unless the
//! name says otherwise, all sizes bytes.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of this document's shape. Raised when a reader of the old shape would misread the new one.
pub const SCHEMA: u32 = 1;

/// The setting that tells of limits, in [`Settings::more`].
pub const LIMITS: &str = "limits";
/// Its value where the user wanted none.
pub const NO_LIMITS: &str = "none";

/// One run of a load against a stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Unique and sortable by time: `20261121T034500Z-fight-1a2b`.
    pub id: String,
    /// What drove the load.
    pub driver: Driver,
    /// A name that the user gave the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Start of the load, RFC 3339 in UTC.
    pub started: String,
    /// Length of the load in seconds.
    pub seconds: f64,
    /// The commit of the checkout the run was started from, with `-dirty` where the tree differed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What was asked for.
    pub settings: Settings,
    /// What each service was allowed to use.
    pub budget: Vec<Limit>,
    /// Versions of the programs that took part, by name.
    pub versions: BTreeMap<String, String>,
    /// Where it ran.
    pub machine: Machine,
    /// The judgement, and the score that it holds to.
    #[serde(flatten)]
    pub judged: Judged,
    /// Outcome by kind of request.
    pub requests: Vec<Requests>,
    /// Cost by service.
    pub services: Vec<Cost>,
    /// Whether a commit really was on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// What the load generator says of itself, where it measures that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<Generator>,
    /// The steps of a ramp, where the load was raised until something gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The run second by second.
    pub series: Series,
}

impl Run {
    /// What puts runs into the order of time. A start that is no time comes first.
    pub fn age(&self) -> impl Ord + '_ {
        (self.started.parse::<Timestamp>().ok(), &self.started, &self.id)
    }

    /// The judgement.
    pub fn verdict(&self) -> &Verdict {
        &self.judged.verdict
    }

    /// The judgement as a headline has it, which also says where no limits were wanted.
    pub fn headline(&self) -> String {
        let is_limited = self.settings.more.get(LIMITS).is_none_or(|limits| limits != NO_LIMITS);
        format!("{}{}", self.verdict().outcome.word(), if is_limited { "" } else { ", without limits" })
    }

    /// The score, where the run stored people.
    pub fn people(&self) -> Option<People> {
        self.judged.people
    }

    /// Requests sent, all kinds together.
    pub fn request_count(&self) -> u64 {
        self.requests.iter().map(|kind| kind.count).sum()
    }

    /// Failed requests, all kinds together.
    pub fn failed(&self) -> u64 {
        self.requests.iter().map(Requests::failed).sum()
    }
}

/// What drove the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// Gatling, as in the event.
    Gatling,
    /// The arena's own open-loop driver.
    Bench,
}

impl fmt::Display for Driver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Gatling => "gatling",
            Self::Bench => "bench",
        })
    }
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// `native`, `docker`, or `external` for a stack that the arena did not start.
    pub engine: String,
    /// `users` or `pessoas`.
    pub vocabulary: String,
    /// Name of the load profile, such as `event` or `constant`.
    pub profile: String,
    /// The base URL that the load went to.
    pub target: String,
    /// Multiplies every arrival rate of the profile.
    pub rate_factor: f64,
    /// Multiplies every duration of the profile.
    pub duration_factor: f64,
    /// Anything else that makes two runs differ, by name.
    #[serde(default)]
    pub more: BTreeMap<String, String>,
}

/// What one service may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// The service's name in `docker-compose.yml`.
    pub service: String,
    /// CPUs; absent where nothing held the service to a limit.
    pub cpus: Option<f64>,
    /// Memory in bytes; absent where nothing held the service to a limit.
    pub memory_bytes: Option<u64>,
}

/// Where a run took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Processor model as the kernel names it.
    pub cpu: String,
    /// Processors that the arena may use.
    pub cores: u32,
    /// Installed memory in bytes.
    pub memory_bytes: u64,
    /// Kernel name and release.
    pub kernel: String,
    /// Name of the operating system.
    pub os: String,
    /// `v1`, `v2`, or `none` where limits could not be set.
    pub cgroup: String,
}

/// A verdict and the score that it was reached over. They are only made together, so that no run in which people are lost
/// or too many can be called clean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Claim")]
pub struct Judged {
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    people: Option<People>,
}

impl Judged {
    /// A verdict over a score. One that would let lost or extra people pass fails for them.
    pub fn new(verdict: Verdict, people: Option<People>) -> Self {
        let faults = people.as_ref().map(People::faults).unwrap_or_default();
        let lets_pass = matches!(verdict.outcome, Outcome::Clean | Outcome::Suspect);
        match lets_pass && !faults.is_empty() {
            true => Self { verdict: Verdict { outcome: Outcome::Failed, reasons: faults, ..verdict }, people },
            false => Self { verdict, people },
        }
    }

    /// The same run, whose services did not keep to the budget where `fault` says how. That weighs more than what the server
    /// did, which then stands beside it, and less than a generator that was the bottleneck.
    pub fn held_to(self, fault: Option<(Outcome, String)>) -> Self {
        let Some((outcome, reason)) = fault.filter(|_| self.verdict.outcome != Outcome::Invalid) else { return self };
        let reasons = std::iter::once(reason).chain(self.verdict.reasons).collect();
        Self { verdict: Verdict { outcome, reasons, ..self.verdict }, people: self.people }
    }
}

/// What a document says; it may be older than the rule.
#[derive(Deserialize, JsonSchema)]
struct Claim {
    /// The judgement.
    verdict: Verdict,
    /// The score, where the run stored people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    people: Option<People>,
}

impl From<Claim> for Judged {
    fn from(Claim { verdict, people }: Claim) -> Self {
        Self::new(verdict, people)
    }
}

/// The judgement over a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The judgement in one word.
    pub outcome: Outcome,
    /// Why, one sentence each; empty where the outcome is `Clean`.
    pub reasons: Vec<String>,
    /// What could not be checked, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<String>,
}

impl Verdict {
    /// A verdict that leaves nothing unchecked.
    pub fn new(outcome: Outcome, reasons: Vec<String>) -> Self {
        Self { outcome, reasons, unchecked: Vec::new() }
    }
}

/// The judgement in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing speaks against it: no failed request, the count exactly at the ceiling, whoever was answered with 201 found
    /// and on disk, the generator in time.
    Clean,
    /// The server failed requests, or lost or invented people.
    Failed,
    /// The services together may use more than the budget.
    OverBudget,
    /// A service has no limit, so that nothing can be said of the budget.
    NoBudget,
    /// The generator was late now and then: read the tail of the latencies with care.
    Suspect,
    /// The generator was the bottleneck: the run says nothing about the server.
    Invalid,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Clean => "clean",
            Self::Failed => "failed",
            Self::OverBudget => "over-budget",
            Self::NoBudget => "no-budget",
            Self::Suspect => "suspect",
            Self::Invalid => "invalid",
        })
    }
}

impl Outcome {
    /// The word as a verdict's headline has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "CLEAN",
            Self::Failed => "FAILED",
            Self::OverBudget => "OVER BUDGET",
            Self::NoBudget => "NO BUDGET",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        }
    }
}

/// The score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct People {
    /// `count(*)` after the run.
    pub stored: u64,
    /// What a correct server holds after the rows that were sent.
    pub ceiling: u64,
    /// 201s that the generator saw, where it counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
}

impl People {
    /// People that a correct server would hold and this one does not.
    pub fn lost(&self) -> u64 {
        self.ceiling.saturating_sub(self.stored)
    }

    /// People that a correct server would have refused.
    pub fn extra(&self) -> u64 {
        self.stored.saturating_sub(self.ceiling)
    }

    /// What is wrong with the score, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let lost = (self.lost() > 0).then(|| format!("{} people are lost or were refused", self.lost()));
        let extra = (self.extra() > 0).then(|| format!("{} people should not have been stored", self.extra()));
        lost.into_iter().chain(extra).collect()
    }
}

/// Outcome of one kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// `create`, `fetch`, `search`, `invalid-search`, or the generator's own name for anything else.
    pub kind: String,
    /// Requests sent, failed ones included.
    pub count: u64,
    /// Failed requests by reason.
    pub failures: BTreeMap<String, u64>,
    /// Answers by status, where the generator keeps them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<u16, u64>,
    /// Response time as the user sees it: from the intended start where the generator knows it.
    pub response: Percentiles,
    /// Service time: from the moment the request was really sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Percentiles>,
    /// Response times of every request as an HDR histogram log (V2, deflated, base64; microseconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
}

impl Requests {
    /// Failed requests, all reasons together.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// A statistic of the response time; none where nothing was sent, as a distribution of nothing has none.
    pub fn response_time(&self, statistic: fn(&Percentiles) -> f64) -> Option<f64> {
        (self.count > 0).then(|| statistic(&self.response))
    }
}

/// A distribution of times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 75th percentile.
    pub p75: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// What one service used during the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// The service's name.
    pub service: String,
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// Scheduler periods in which the service wanted to run.
    pub periods: Option<u64>,
    /// Periods in which it used its quota up and had to wait.
    pub throttled_periods: Option<u64>,
    /// Time that its threads waited for a new quota, in seconds.
    pub throttled_seconds: Option<f64>,
    /// The most memory it held at once.
    pub memory_peak_bytes: Option<u64>,
    /// Whether that is what was seen when somebody looked, and not the kernel's own peak.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub memory_peak_sampled: bool,
    /// Bytes written to block devices.
    pub disk_write_bytes: Option<u64>,
    /// How often it began anew during the load.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// Whether it had ended before the load did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Processes of it that were killed because its memory did not suffice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_kills: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What speaks for a 201 being on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Durability {
    /// PostgreSQL's `fsync`.
    pub fsync: bool,
    /// PostgreSQL's `synchronous_commit`, as PostgreSQL writes it.
    pub synchronous_commit: String,
    /// Flushes of the write-ahead log during the load.
    pub wal_syncs: Option<u64>,
    /// Median time of a flush of one small write on the data directory's disk, in microseconds, measured without load.
    pub flush_median_us: Option<f64>,
    /// Whether flushes seem to reach the disk: settings on, no flush faster than a disk can be, and people flushed when
    /// they are answered with 201.
    pub honoured: bool,
    /// Whether the data directory is on a file system in memory.
    #[serde(default)]
    pub in_memory: bool,
    /// Settings of roles and databases that have sessions answer before a commit is on disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub careless_settings: Vec<String>,
    /// Transactions that stored the people who are there after the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<u64>,
    /// Sessions of the database after the load, the arena's own left out: so many commits one flush can serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// People who were sent one by one, outside of the load, to see whether they are on disk when their 201 arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<u64>,
    /// Those of them who were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unflushed_probes: Option<u64>,
}

/// What the load generator says of itself. Of Gatling, requests are users, whose first request alone has its time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// Requests that the schedule held.
    pub intended: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Those of them that were sent once more, because the server closed an idle connection just then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u64,
    /// How late the generator sent, 99th percentile.
    pub send_lag_p99: f64,
    /// The generator's own CPU time in seconds.
    pub cpu_seconds: f64,
}

/// One step of a ramp: a constant rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Users who arrived each second.
    pub users_per_second: f64,
    /// Length in seconds, the last answers included.
    pub seconds: f64,
    /// Outcome by kind of request.
    pub requests: Vec<Requests>,
    /// The thresholds that broke, one sentence each; the step that has any is past the knee.
    pub broken: Vec<String>,
    /// What of it was answered with success, where the generator tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Goodput>,
}

impl Step {
    /// Requests that failed and were not refused.
    pub fn broken_down(&self) -> u64 {
        let failed: u64 = self.requests.iter().map(Requests::failed).sum();
        failed.saturating_sub(self.goodput.as_ref().map_or(0, |goodput| goodput.refused))
    }
}

/// What of a constant rate was answered with success.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Goodput {
    /// How long users arrived, in seconds.
    pub seconds: f64,
    /// Requests each second that were answered with success while users arrived.
    pub per_second: f64,
    /// Requests that were refused with 503 and `Retry-After`; they are among the failed ones of the step.
    pub refused: u64,
    /// Response time of the requests that did not fail, by kind.
    pub response: BTreeMap<String, Percentiles>,
}

/// The run second by second; all vectors have one entry per second from the start of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// By kind of request.
    pub requests: BTreeMap<String, RequestSeries>,
    /// Requests that were sent and not yet answered, at the end of each second.
    pub in_flight: Vec<u64>,
    /// By service.
    pub services: BTreeMap<String, ServiceSeries>,
}

/// One kind of request, second by second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestSeries {
    /// Requests answered or failed in that second.
    pub completed: Vec<u64>,
    /// Those of them that failed.
    pub failed: Vec<u64>,
    /// Median response time.
    pub p50: Vec<f64>,
    /// 99th percentile of the response time.
    pub p99: Vec<f64>,
}

/// One service, second by second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSeries {
    /// CPUs used, as a mean over the second.
    pub cpus: Vec<f64>,
    /// Periods throttled in that second.
    pub throttled_periods: Vec<u64>,
    /// Memory held at the end of the second.
    pub memory_bytes: Vec<u64>,
}
