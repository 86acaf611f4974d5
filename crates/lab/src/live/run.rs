//! A run: the requests of one sender to one side of an experiment, between two silences.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::Serialize;

/// How long nothing must happen before a run counts as ended.
pub const SILENCE: Duration = Duration::from_secs(2);

/// Longest time that is kept, in microseconds: ten minutes. Longer ones count as this.
const LONGEST: u64 = 600_000_000;

/// So many senders of one run are told apart.
const MOST_PARTS: usize = 200;

/// Longest name of a run, in bytes.
const LONGEST_NAME: usize = 40;

/// An empty histogram of microseconds, to two significant digits.
pub(super) fn microseconds() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 2)?)
}

/// What a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// Who sends it, from `?run=`; empty where nobody is named.
    pub name: String,
    /// The side of the experiment's question.
    pub side: &'static str,
    /// What it is about where there are several, such as a resource; else empty.
    pub about: String,
}

impl Key {
    /// As people read it.
    pub fn label(&self) -> String {
        let name = if self.name.is_empty() { "nobody's" } else { &self.name };
        let about = if self.about.is_empty() { String::new() } else { format!(" on {}", self.about) };
        format!("{name} {}{about}", self.side)
    }
}

/// Whether a run can be called so: it stands in addresses and commands as it is.
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(plain)
}

/// The requests since the last silence.
pub(super) struct Run {
    pub number: u64,
    pub began: Instant,
    pub began_at: Timestamp,
    pub last: Instant,
    pub in_flight: u64,
    /// Work that goes on though its request has been answered.
    pub behind: u64,
    pub latencies: Histogram<u64>,
    pub failed: u64,
    pub peak_in_flight: u64,
    pub parts: BTreeSet<Key>,
    /// When the last work behind an answer was done.
    pub done: Instant,
    /// Times in line, where there is one.
    pub waits: Option<Histogram<u64>>,
    /// What the experiment adds.
    pub figures: BTreeMap<&'static str, f64>,
}

/// What one run came to. Times of responses in milliseconds, inside the server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Counts the runs of this sender and side since the process began, from 1.
    pub number: u64,
    /// Whether the run still goes on.
    pub running: bool,
    /// Whether several senders or several sides are in it.
    pub mixed: bool,
    /// How many senders and sides are in it.
    pub parts: usize,
    /// Who sent it; empty where nobody is named, or several are.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// Requests answered.
    pub requests: u64,
    /// Answers with a status of 400 or above, refusals, and requests whose caller went away.
    pub failed: u64,
    /// From the first request's arrival to the last answer, in seconds.
    pub seconds: f64,
    /// From the first request's arrival until all work was done, in seconds.
    pub work_seconds: f64,
    /// Requests answered per second of the run.
    pub rate: f64,
    /// Mean response time.
    pub mean: f64,
    /// Median response time.
    pub p50: f64,
    /// The response time that 95 % of the requests stayed within.
    pub p95: f64,
    /// The response time that 99 % of the requests stayed within.
    pub p99: f64,
    /// Longest response time.
    pub max: f64,
    /// Most requests under way at once.
    pub peak_in_flight: u64,
    /// What the experiment adds.
    #[serde(flatten)]
    pub figures: BTreeMap<&'static str, f64>,
}

impl Run {
    pub fn start(number: u64, now: Instant, empty: &Histogram<u64>) -> Self {
        Self {
            number,
            began: now,
            began_at: Timestamp::now(),
            last: now,
            in_flight: 0,
            behind: 0,
            latencies: Histogram::new_from(empty),
            failed: 0,
            peak_in_flight: 0,
            parts: BTreeSet::new(),
            done: now,
            waits: None,
            figures: BTreeMap::new(),
        }
    }

    /// Whether it goes on: something is under way, or was a moment ago.
    pub fn is_running(&self, now: Instant) -> bool {
        self.has_work() || now.saturating_duration_since(self.last) < SILENCE
    }

    /// Whether something of it is under way, perhaps in another process.
    pub fn has_work(&self) -> bool {
        self.in_flight + self.behind > 0 || self.figures.get(UNFINISHED).is_some_and(|left| *left > 0.0)
    }

    pub fn arrived(&mut self, key: &Key) {
        self.in_flight += 1;
        self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
        if self.parts.len() < MOST_PARTS && !self.parts.contains(key) {
            self.parts.insert(key.clone());
        }
    }

    pub fn ended(&mut self, now: Instant, micros: u64, failed: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.last = self.last.max(now);
        self.done = self.done.max(now);
        self.failed += u64::from(failed);
        self.latencies.saturating_record(micros);
    }

    pub fn note_most(&mut self, figure: &'static str, value: f64) {
        let most = self.figures.entry(figure).or_insert(value);
        *most = most.max(value);
    }

    pub fn outcome(&self, now: Instant) -> Outcome {
        let seconds = (self.last - self.began).as_secs_f64();
        let requests = self.latencies.len();
        let mut figures = self.figures.clone();
        figures.remove(UNFINISHED);
        if let Some(waits) = &self.waits {
            figures.extend([
                ("wait_p50", milliseconds(waits, 0.50)),
                ("wait_p95", milliseconds(waits, 0.95)),
                ("wait_p99", milliseconds(waits, 0.99)),
                ("wait_max", waits.max() as f64 / 1e3),
            ]);
        }
        Outcome {
            number: self.number,
            running: self.is_running(now),
            mixed: self.parts.len() > 1,
            parts: self.parts.len(),
            name: self.parts.first().filter(|_| self.parts.len() == 1).map(|key| key.name.clone()).unwrap_or_default(),
            began: self.began_at,
            requests,
            failed: self.failed,
            seconds,
            work_seconds: (self.done - self.began).as_secs_f64(),
            rate: if seconds > 0.0 { requests as f64 / seconds } else { 0.0 },
            mean: self.latencies.mean() / 1e3,
            p50: milliseconds(&self.latencies, 0.50),
            p95: milliseconds(&self.latencies, 0.95),
            p99: milliseconds(&self.latencies, 0.99),
            max: self.latencies.max() as f64 / 1e3,
            peak_in_flight: self.peak_in_flight,
            figures,
        }
    }
}

/// Figure of what another process has yet to do for a run; it keeps the run open, and is not shown.
pub const UNFINISHED: &str = "unfinished";

/// The latency at a quantile of a histogram of microseconds; 0 where nothing was recorded.
pub(super) fn milliseconds(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    if latencies.is_empty() { 0.0 } else { latencies.value_at_quantile(quantile) as f64 / 1e3 }
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_stand_in_addresses_as_they_are() {
        for name in ["ana", "rui-2", "a.b_c", &"x".repeat(40)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a&b", "é", "<b>", &"x".repeat(41)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
