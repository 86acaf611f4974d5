//! Counts every request of one experiment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hdrhistogram::Histogram;

use super::metrics::RequestMetrics;
use super::run::{Outcome, Run, SILENCE, latency_histogram, milliseconds};

/// Counts requests, their latencies and the runs they form.
pub struct Recorder {
    in_flight: AtomicU64,
    counts: Mutex<Counts>,
    run_started: Box<dyn Fn() + Send + Sync>,
    metrics: RequestMetrics,
}

struct Counts {
    answered: u64,
    failed: u64,
    recent: Histogram<u64>,
    empty: Histogram<u64>,
    run: Option<Run>,
}

/// What happened since the last look.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Requests answered since the process began.
    pub answered: u64,
    /// Requests failed since the process began.
    pub failed: u64,
    /// Latencies of the requests answered since the last look, in microseconds.
    pub latencies: Histogram<u64>,
}

impl Recorder {
    /// A recorder that calls `run_started` whenever a request comes after a silence.
    ///
    /// # Errors
    ///
    /// When there is no histogram of the latencies' range.
    pub fn new(metrics: RequestMetrics, run_started: impl Fn() + Send + Sync + 'static) -> anyhow::Result<Arc<Self>> {
        let empty = latency_histogram()?;
        let counts = Counts { answered: 0, failed: 0, recent: Histogram::new_from(&empty), empty, run: None };
        Ok(Arc::new(Self {
            in_flight: AtomicU64::new(0),
            counts: Mutex::new(counts),
            run_started: Box::new(run_started),
            metrics,
        }))
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The run under way, or else the last one.
    pub fn outcome(&self) -> Option<Outcome> {
        let running = self.in_flight() > 0;
        let counts = self.counts();
        let run = counts.run.as_ref()?;
        Some(run.outcome(running || run.last.elapsed() < SILENCE))
    }

    /// Takes what was counted since the last call; one sampler only may call it.
    pub fn take_interval(&self) -> Interval {
        let mut counts = self.counts();
        let fresh = Histogram::new_from(&counts.empty);
        let latencies = std::mem::replace(&mut counts.recent, fresh);
        Interval { answered: counts.answered, failed: counts.failed, latencies }
    }

    /// Notes a request that arrives; what it returns notes its end, also when it is just dropped.
    pub fn begin(self: &Arc<Self>) -> Underway {
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.metrics.in_flight.inc();
        let now = Instant::now();
        if self.counts().note_arrival(now, in_flight) {
            (self.run_started)();
        }
        Underway { recorder: self.clone(), began: now, failed: true }
    }

    fn end(&self, began: Instant, failed: bool) {
        let now = Instant::now();
        let latency = now - began;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.metrics.in_flight.dec();
        self.metrics.observe(latency, failed);
        self.counts().note_end(now, latency, failed);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Whether the arrival starts a new run.
    fn note_arrival(&mut self, now: Instant, in_flight: u64) -> bool {
        let alone = in_flight == 1;
        let number = self.run.as_ref().map_or(0, |run| run.number);
        let starts = self.run.as_ref().is_none_or(|run| alone && now.saturating_duration_since(run.last) >= SILENCE);
        if starts {
            self.run = Some(Run::start(number + 1, now, &self.empty));
        }
        if let Some(run) = &mut self.run {
            run.peak_in_flight = run.peak_in_flight.max(in_flight);
        }
        starts
    }

    fn note_end(&mut self, now: Instant, latency: Duration, failed: bool) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.answered += 1;
        self.failed += u64::from(failed);
        self.recent.saturating_record(micros);
        if let Some(run) = &mut self.run {
            run.last = run.last.max(now);
            run.failed += u64::from(failed);
            run.latencies.saturating_record(micros);
        }
    }
}

/// A request under way.
pub struct Underway {
    recorder: Arc<Recorder>,
    began: Instant,
    failed: bool,
}

impl Underway {
    fn answered_with(&mut self, response: &Response) {
        self.failed = response.status().as_u16() >= 400;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.recorder.end(self.began, self.failed);
    }
}

/// Middleware: counts each request that passes.
pub async fn record(State(recorder): State<Arc<Recorder>>, request: Request, next: Next) -> Response {
    let mut underway = recorder.begin();
    let response = next.run(request).await;
    underway.answered_with(&response);
    response
}

/// The last second of latencies, out of the intervals that a sampler saw.
#[derive(Default)]
pub(super) struct Window {
    intervals: std::collections::VecDeque<Histogram<u64>>,
}

impl Window {
    /// Adds an interval and forgets all but the newest `keep`; the median and the 99th percentile in milliseconds.
    pub fn add(&mut self, interval: Histogram<u64>, keep: usize) -> (f64, f64) {
        let mut all = interval.clone();
        for earlier in &self.intervals {
            // They share their bounds, so that adding cannot fail.
            let _ = all.add(earlier);
        }
        self.intervals.push_back(interval);
        if self.intervals.len() >= keep {
            self.intervals.pop_front();
        }
        (milliseconds(&all, 0.50), milliseconds(&all, 0.99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> Arc<Recorder> {
        Recorder::new(RequestMetrics::default(), || {}).expect("a recorder")
    }

    #[test]
    fn a_dropped_request_counts_as_failed_and_leaves() {
        let recorder = recorder();
        let underway = recorder.begin();
        assert_eq!(recorder.in_flight(), 1);
        drop(underway);
        assert_eq!(recorder.in_flight(), 0);
        let outcome = recorder.outcome().expect("a run");
        assert_eq!((outcome.requests, outcome.failed), (1, 1));
    }

    #[test]
    fn keeps_latencies_of_any_length() {
        let recorder = recorder();
        let hour = Duration::from_secs(3600);
        for latency in [Duration::ZERO, Duration::from_millis(500), hour] {
            let now = Instant::now();
            recorder.counts().note_arrival(now, 2);
            recorder.counts().note_end(now + latency, latency, false);
        }
        let outcome = recorder.outcome().expect("a run");
        assert!((495.0..505.0).contains(&outcome.p50), "{outcome:?}");
        assert!((595_000.0..605_000.0).contains(&outcome.max), "{outcome:?}");
    }

    #[test]
    fn requests_close_together_are_one_run() {
        let recorder = recorder();
        let first = recorder.begin();
        let second = recorder.begin();
        drop((first, second));
        drop(recorder.begin());
        let outcome = recorder.outcome().expect("a run");
        assert_eq!((outcome.number, outcome.requests, outcome.peak_in_flight), (1, 3, 2));
        assert!(outcome.running);
    }

    #[test]
    fn a_request_after_a_silence_begins_a_new_run() {
        let recorder = recorder();
        drop(recorder.begin());
        let later = Instant::now() + SILENCE;
        assert!(recorder.counts().note_arrival(later, 1));
        assert_eq!(recorder.outcome().expect("a run").number, 2);
    }

    #[test]
    fn a_long_request_keeps_its_run() {
        let recorder = recorder();
        let _slow = recorder.begin();
        let later = Instant::now() + SILENCE;
        assert!(!recorder.counts().note_arrival(later, 2));
    }
}
