//! Counts every request of one experiment, and whose run it belongs to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hdrhistogram::Histogram;
use jiff::Timestamp;

use super::metrics::RequestMetrics;
use super::run::{Key, Outcome, Run, is_name, microseconds, milliseconds};

/// So many runs are remembered; the one that ended first makes room. Each takes some 30 KB.
const MOST_RUNS: usize = 200;

/// Counts requests, their latencies and the runs they form. Everything stands behind one lock, so that no request comes
/// between a count and the run it is counted in.
pub struct Recorder {
    counts: Mutex<Counts>,
    run_started: Box<dyn Fn() + Send + Sync>,
    metrics: RequestMetrics,
}

struct Counts {
    in_flight: u64,
    answered: u64,
    failed: u64,
    recent: Histogram<u64>,
    empty: Histogram<u64>,
    /// All requests of the server, whoever sends them.
    all: Option<Run>,
    /// The last run of each sender and side.
    runs: BTreeMap<Key, Run>,
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

/// A run that goes on.
#[derive(Clone, Debug)]
pub struct Active {
    /// Whose it is.
    pub key: Key,
    /// When it began.
    pub began: Timestamp,
    /// Requests that were answered and did not fail.
    pub accepted: u64,
}

impl Recorder {
    /// A recorder that calls `run_started` whenever a request comes after a silence.
    ///
    /// # Errors
    ///
    /// When there is no histogram of the latencies' range.
    pub fn new(metrics: RequestMetrics, run_started: impl Fn() + Send + Sync + 'static) -> anyhow::Result<Arc<Self>> {
        let empty = microseconds()?;
        let recent = Histogram::new_from(&empty);
        let counts = Counts { in_flight: 0, answered: 0, failed: 0, recent, empty, all: None, runs: BTreeMap::new() };
        Ok(Arc::new(Self { counts: Mutex::new(counts), run_started: Box::new(run_started), metrics }))
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u64 {
        self.counts().in_flight
    }

    /// The server's run under way, or else its last one, whoever sent it.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(self.counts().all.as_ref()?.outcome(Instant::now()))
    }

    /// The last run of a sender at a side.
    pub fn outcome_of(&self, key: &Key) -> Option<Outcome> {
        Some(self.counts().runs.get(key)?.outcome(Instant::now()))
    }

    /// The last run of each sender and side, the newest first.
    pub fn outcomes(&self) -> Vec<(Key, Outcome)> {
        let now = Instant::now();
        let mut runs: Vec<(Key, Outcome)> =
            self.counts().runs.iter().map(|(key, run)| (key.clone(), run.outcome(now))).collect();
        runs.sort_by_key(|(_, outcome)| std::cmp::Reverse(outcome.began));
        runs
    }

    /// The runs that go on.
    pub fn active(&self) -> Vec<Active> {
        let now = Instant::now();
        let counts = self.counts();
        let active = counts.runs.iter().filter(|(_, run)| run.is_running(now));
        active
            .map(|(key, run)| Active {
                key: key.clone(),
                began: run.began_at,
                accepted: run.latencies.len().saturating_sub(run.failed),
            })
            .collect()
    }

    /// Forgets all runs; those that go on begin anew with their next request.
    pub fn forget(&self) {
        let mut counts = self.counts();
        counts.all = None;
        counts.runs.clear();
    }

    /// Takes what was counted since the last call; one sampler only may call it.
    pub fn take_interval(&self) -> Interval {
        let mut counts = self.counts();
        let fresh = Histogram::new_from(&counts.empty);
        let latencies = std::mem::replace(&mut counts.recent, fresh);
        Interval { answered: counts.answered, failed: counts.failed, latencies }
    }

    /// Notes a request that arrives; what it returns notes its end, also when it is just dropped.
    pub fn begin(self: &Arc<Self>, key: Key) -> Underway {
        self.metrics.in_flight.inc();
        let now = Instant::now();
        if self.counts().note_arrival(now, &key) {
            (self.run_started)();
        }
        Underway { recorder: self.clone(), key, began: now, failed: true }
    }

    /// Work that goes on behind the answer to a request of `key`, until what this returns is dropped.
    pub fn behind(self: &Arc<Self>, key: &Key) -> Behind {
        self.counts().each(key, |run| run.behind += 1);
        Behind { recorder: self.clone(), key: key.clone() }
    }

    /// Notes the most of a figure, in the run of `key` and in the server's.
    pub fn note_most(&self, key: &Key, figure: &'static str, value: f64) {
        self.counts().each(key, |run| run.note_most(figure, value));
    }

    /// The same in every run that goes on.
    pub fn note_most_in_all(&self, figure: &'static str, value: f64) {
        let now = Instant::now();
        let mut counts = self.counts();
        let Counts { all, runs, .. } = &mut *counts;
        let running = all.iter_mut().chain(runs.values_mut()).filter(|run| run.is_running(now));
        running.for_each(|run| run.note_most(figure, value));
    }

    /// Notes figures of the run of `key` as they are at this moment.
    pub fn note(&self, key: &Key, figures: &[(&'static str, f64)]) {
        if let Some(run) = self.counts().runs.get_mut(key) {
            run.figures.extend(figures.iter().copied());
        }
    }

    /// The same for the server's run.
    pub fn note_in_server_s(&self, figures: &[(&'static str, f64)]) {
        if let Some(run) = &mut self.counts().all {
            run.figures.extend(figures.iter().copied());
        }
    }

    /// Notes the most of a figure in the server's run alone.
    pub fn note_most_in_server_s(&self, figure: &'static str, value: f64) {
        if let Some(run) = &mut self.counts().all {
            run.note_most(figure, value);
        }
    }

    /// Notes how long something of `key` stood in line.
    pub fn note_wait(&self, key: &Key, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let mut counts = self.counts();
        let Counts { all, runs, empty, .. } = &mut *counts;
        for run in all.iter_mut().chain(runs.get_mut(key)) {
            run.waits.get_or_insert_with(|| Histogram::new_from(empty)).saturating_record(micros);
        }
    }

    fn end(&self, key: &Key, began: Instant, failed: bool) {
        let now = Instant::now();
        let latency = now - began;
        self.metrics.in_flight.dec();
        self.metrics.observe(latency, failed);
        self.counts().note_end(now, latency, failed, key);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Whether the arrival starts a new run of the server.
    fn note_arrival(&mut self, now: Instant, key: &Key) -> bool {
        self.in_flight += 1;
        if !self.runs.contains_key(key) && self.runs.len() >= MOST_RUNS {
            self.make_room(now);
        }
        let is_over = |run: &Run| !run.is_running(now);
        let starts = self.all.as_ref().is_none_or(is_over);
        if starts {
            let number = self.all.as_ref().map_or(0, |run| run.number);
            self.all = Some(Run::start(number + 1, now, &self.empty));
        }
        let before = self.runs.get(key);
        if before.is_none_or(is_over) && (before.is_some() || self.runs.len() < MOST_RUNS) {
            let number = before.map_or(0, |run| run.number);
            self.runs.insert(key.clone(), Run::start(number + 1, now, &self.empty));
        }
        self.each(key, |run| run.arrived(key));
        starts
    }

    fn note_end(&mut self, now: Instant, latency: Duration, failed: bool, key: &Key) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.in_flight -= 1;
        self.answered += 1;
        self.failed += u64::from(failed);
        self.recent.saturating_record(micros);
        self.each(key, |run| run.ended(now, micros, failed));
    }

    /// The server's run, and that of `key`.
    fn each(&mut self, key: &Key, note: impl Fn(&mut Run)) {
        self.all.iter_mut().chain(self.runs.get_mut(key)).for_each(note);
    }

    /// Forgets the run that ended first.
    fn make_room(&mut self, now: Instant) {
        let ended = self.runs.iter().filter(|(_, run)| !run.is_running(now));
        let oldest = ended.min_by_key(|(_, run)| run.last).map(|(key, _)| key.clone());
        oldest.and_then(|key| self.runs.remove(&key));
    }
}

/// A request under way.
pub struct Underway {
    recorder: Arc<Recorder>,
    key: Key,
    began: Instant,
    failed: bool,
}

impl Underway {
    fn answered_with(&mut self, response: &Response) {
        self.failed = response.status().as_u16() >= 400 || response.extensions().get::<Refused>().is_some();
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.recorder.end(&self.key, self.began, self.failed);
    }
}

/// Work under way behind an answer.
pub struct Behind {
    recorder: Arc<Recorder>,
    key: Key,
}

impl Drop for Behind {
    fn drop(&mut self) {
        let now = Instant::now();
        self.recorder.counts().each(&self.key, |run| {
            run.behind = run.behind.saturating_sub(1);
            run.done = run.done.max(now);
        });
    }
}

/// Marks an answer that refuses though its status does not say so.
#[derive(Clone, Copy)]
pub struct Refused;

/// How the requests of one route are counted.
#[derive(Clone)]
pub struct Counted {
    /// Where.
    pub recorder: Arc<Recorder>,
    /// Which side of the question the route is.
    pub side: &'static str,
    /// What a request is about that does not say so with `?resource=`; none where there is nothing to choose.
    pub about: Option<Arc<str>>,
}

/// Middleware: counts each request that passes, and tells the handler by a [`Key`] whose it is.
pub async fn record(State(counted): State<Counted>, mut request: Request, next: Next) -> Response {
    let query: BTreeMap<String, String> =
        serde_urlencoded::from_str(request.uri().query().unwrap_or_default()).unwrap_or_default();
    let name = query.get("run").cloned().unwrap_or_default();
    if !name.is_empty() && !is_name(&name) {
        return (StatusCode::BAD_REQUEST, "run: at most 40 ASCII letters, digits, - _ and .\n").into_response();
    }
    let about = counted.about.map(|about| query.get("resource").cloned().unwrap_or(about.to_string()));
    let key = Key { name, side: counted.side, about: about.unwrap_or_default() };
    request.extensions_mut().insert(key.clone());
    let mut underway = counted.recorder.begin(key);
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
    use super::super::run::SILENCE;
    use super::*;

    fn recorder() -> Arc<Recorder> {
        Recorder::new(RequestMetrics::default(), || {}).expect("a recorder")
    }

    fn key(name: &str, side: &'static str) -> Key {
        Key { name: name.into(), side, about: String::new() }
    }

    fn nobody() -> Key {
        key("", "serial")
    }

    #[test]
    fn a_dropped_request_counts_as_failed_and_leaves() {
        let recorder = recorder();
        let underway = recorder.begin(nobody());
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
            recorder.counts().note_arrival(now, &nobody());
            recorder.counts().note_end(now + latency, latency, false, &nobody());
        }
        let outcome = recorder.outcome().expect("a run");
        assert!((495.0..505.0).contains(&outcome.p50), "{outcome:?}");
        assert!((595_000.0..605_000.0).contains(&outcome.max), "{outcome:?}");
    }

    #[test]
    fn requests_close_together_are_one_run() {
        let recorder = recorder();
        let first = recorder.begin(nobody());
        let second = recorder.begin(nobody());
        drop((first, second));
        drop(recorder.begin(nobody()));
        let outcome = recorder.outcome().expect("a run");
        assert_eq!((outcome.number, outcome.requests, outcome.peak_in_flight), (1, 3, 2));
        assert!(outcome.running && !outcome.mixed);
    }

    #[test]
    fn a_request_after_a_silence_begins_a_new_run() {
        let recorder = recorder();
        drop(recorder.begin(nobody()));
        let later = Instant::now() + SILENCE;
        assert!(recorder.counts().note_arrival(later, &nobody()));
        assert_eq!(recorder.outcome().expect("a run").number, 2);
        assert_eq!(recorder.outcome_of(&nobody()).expect("a run").number, 2);
    }

    #[test]
    fn a_long_request_and_work_behind_an_answer_keep_their_run() {
        let recorder = recorder();
        let slow = recorder.begin(nobody());
        let behind = recorder.behind(&nobody());
        let later = Instant::now() + SILENCE;
        assert!(!recorder.counts().note_arrival(later, &nobody()));
        recorder.counts().note_end(later, Duration::ZERO, false, &nobody());
        drop(slow);
        let later = later + SILENCE * 2;
        assert!(!recorder.counts().note_arrival(later, &nobody()), "the work goes on");
        recorder.counts().note_end(later, Duration::ZERO, false, &nobody());
        drop(behind);
        assert!(recorder.counts().note_arrival(later + SILENCE, &nobody()));
    }

    #[test]
    fn senders_and_sides_have_runs_of_their_own_and_together_are_mixed() {
        let recorder = recorder();
        for key in [key("ana", "serial"), key("ana", "async"), key("rui", "serial"), key("ana", "serial")] {
            recorder.note_most(&key, "peak_use", 7.0);
            drop(recorder.begin(key));
        }
        let requests = |key| recorder.outcome_of(&key).map(|outcome| (outcome.requests, outcome.mixed));
        assert_eq!(requests(key("ana", "serial")), Some((2, false)));
        assert_eq!(requests(key("ana", "async")), Some((1, false)));
        assert_eq!(requests(key("rui", "async")), None);
        let all = recorder.outcome().expect("a run");
        assert_eq!((all.requests, all.mixed, all.parts), (4, true, 3));
    }

    #[test]
    fn what_is_noted_and_waited_is_the_run_s() {
        let recorder = recorder();
        let (mine, theirs) = (key("ana", "line"), key("rui", "line"));
        drop((recorder.begin(mine.clone()), recorder.begin(theirs.clone())));
        recorder.note_most(&mine, "peak_use", 3.0);
        recorder.note_most(&theirs, "peak_use", 2.0);
        recorder.note_wait(&mine, Duration::from_millis(100));
        let (mine, theirs) = (recorder.outcome_of(&mine).expect("mine"), recorder.outcome_of(&theirs).expect("theirs"));
        assert_eq!((mine.figures.get("peak_use"), theirs.figures.get("peak_use")), (Some(&3.0), Some(&2.0)));
        assert!(mine.figures.contains_key("wait_p99") && !theirs.figures.contains_key("wait_p99"));
        assert_eq!(recorder.outcome().expect("all").figures.get("peak_use"), Some(&3.0));
    }

    #[test]
    fn no_more_runs_than_there_is_room_for() {
        let recorder = recorder();
        let now = Instant::now();
        for number in 0..MOST_RUNS + 50 {
            let (key, at) = (key(&number.to_string(), "serial"), now + SILENCE * u32::try_from(number).expect("small"));
            recorder.counts().note_arrival(at, &key);
            recorder.counts().note_end(at, Duration::ZERO, false, &key);
        }
        assert_eq!(recorder.outcomes().len(), MOST_RUNS);
        assert!(recorder.outcome_of(&key("0", "serial")).is_none(), "the oldest made room");
    }

    #[test]
    fn many_threads_lose_nothing() {
        let recorder = recorder();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let recorder = &recorder;
                scope.spawn(move || {
                    for _ in 0..500 {
                        let underway = recorder.begin(key(&thread.to_string(), "serial"));
                        recorder.note_most(&underway.key, "peak_use", f64::from(thread));
                    }
                });
            }
        });
        let all = recorder.outcome().expect("a run");
        assert_eq!((all.number, all.requests, recorder.in_flight()), (1, 4_000, 0));
        assert!(all.peak_in_flight <= 8 && all.figures.get("peak_use") == Some(&7.0), "{all:?}");
        assert!(recorder.outcomes().iter().all(|(_, run)| run.requests == 500 && run.number == 1));
    }
}
