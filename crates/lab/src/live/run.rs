//! A run: the requests between two silences.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// How long nothing must happen before a run counts as ended.
pub const SILENCE: Duration = Duration::from_secs(2);

/// Longest latency that is kept, in microseconds: ten minutes. Longer ones count as this.
const LONGEST: u64 = 600_000_000;

/// An empty histogram of microseconds, to two significant digits.
pub(super) fn latency_histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 2)?)
}

/// The requests since the last silence.
pub(super) struct Run {
    pub number: u64,
    pub began: Instant,
    pub last: Instant,
    pub latencies: Histogram<u64>,
    pub failed: u64,
    pub peak_in_flight: u64,
}

/// What one run came to. Times of responses in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Counts the runs since the process began, from 1.
    pub number: u64,
    /// Whether the run still goes on.
    pub running: bool,
    /// Requests answered.
    pub requests: u64,
    /// Answers with a status of 400 or above, and requests whose caller went away.
    pub failed: u64,
    /// From the first request's arrival to the last answer, in seconds.
    pub seconds: f64,
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
}

impl Run {
    pub fn start(number: u64, now: Instant, empty: &Histogram<u64>) -> Self {
        Self { number, began: now, last: now, latencies: Histogram::new_from(empty), failed: 0, peak_in_flight: 0 }
    }

    pub fn outcome(&self, running: bool) -> Outcome {
        let seconds = (self.last - self.began).as_secs_f64();
        let requests = self.latencies.len();
        Outcome {
            number: self.number,
            running,
            requests,
            failed: self.failed,
            seconds,
            rate: if seconds > 0.0 { requests as f64 / seconds } else { 0.0 },
            mean: self.latencies.mean() / 1e3,
            p50: milliseconds(&self.latencies, 0.50),
            p95: milliseconds(&self.latencies, 0.95),
            p99: milliseconds(&self.latencies, 0.99),
            max: self.latencies.max() as f64 / 1e3,
            peak_in_flight: self.peak_in_flight,
        }
    }
}

/// The latency at a quantile of a histogram of microseconds; 0 where nothing was recorded.
pub(super) fn milliseconds(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    if latencies.is_empty() { 0.0 } else { latencies.value_at_quantile(quantile) as f64 / 1e3 }
}
