//! Counts, times and series of a run while it goes on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::serialization::{Serializer, V2Serializer};
use hdrhistogram::{CreationError, Histogram};
use rustix::time::{ClockId, clock_gettime};

use super::schedule::Kind;
use super::slot::Request;
use crate::record::run::RequestSeries;

/// Decimal digits that histograms keep of a time.
const DIGITS: u8 = 3;

/// Times longer than this are kept as this: microseconds in an hour.
const LONGEST: u64 = 3_600_000_000;

/// Characters of a wrong answer that are kept as an example.
const EXAMPLE: usize = 160;

const SECOND: Duration = Duration::from_secs(1);

/// What a failure says of a server that is offered more than it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It does wrong: no load explains that.
    Wrong,
    /// It breaks down.
    Overload,
    /// It says so, and what is to be done: 503 with `Retry-After`.
    Refusal,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of few, so that failures can be counted by it.
    pub reason: Cow<'static, str>,
    /// What exactly came back, where something did.
    pub example: Option<String>,
    /// What it says of the server.
    pub cause: Cause,
}

impl Failure {
    /// A failure without more to say.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into(), example: None, cause: Cause::Wrong }
    }

    /// The same for another cause.
    pub fn for_cause(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// Keeps the beginning of what came back.
    pub fn with(mut self, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        self.example =
            Some(text.chars().take(EXAMPLE).map(|char| if char.is_control() { ' ' } else { char }).collect());
        self
    }
}

/// Failures for one reason.
#[derive(Clone, Debug)]
pub struct Failures {
    /// How many there were.
    pub count: u64,
    /// What exactly came back once.
    pub example: Option<String>,
    /// What they say of the server.
    pub cause: Cause,
}

/// What became of the requests of one kind.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that ended.
    pub count: u64,
    /// Failed ones by reason.
    pub failures: BTreeMap<Cow<'static, str>, Failures>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Microseconds from the intended time.
    pub response: Histogram<u64>,
    /// The same of those that failed.
    pub failed_response: Histogram<u64>,
    /// Microseconds from the moment of sending.
    pub service: Histogram<u64>,
    /// Requests that did not fail and were answered while users arrived.
    pub successful_while_loaded: u64,
    /// Second by second.
    pub series: RequestSeries,
    current: Histogram<u64>,
    current_failed: u64,
}

/// The response times of one kind in one second.
#[derive(Clone, Debug)]
pub struct Interval {
    /// From the start of the load.
    pub second: u64,
    /// Kind of request.
    pub kind: Kind,
    /// The histogram in HDR's V2 encoding.
    pub encoded: Vec<u8>,
}

/// Watches one run.
#[derive(Debug)]
pub struct Monitor {
    /// When the load began.
    pub start: Instant,
    /// How long users arrive; what is on its way then is still waited for.
    pub load: Duration,
    /// By kind, in the order of [`Kind::ALL`].
    pub tallies: [Tally; 4],
    /// Requests on their way.
    pub in_flight: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Those of them that were sent once more, on another connection.
    pub repeated: u64,
    /// Requests that could not be sent for want of sockets or ports, by reason.
    pub unsent: BTreeMap<String, u64>,
    /// Creates that were answered with 201.
    pub acknowledged: u64,
    /// Creates of which nobody knows whether they were done: not answered, or answered with 5xx.
    pub unknown: u64,
    /// Microseconds from the intended time to the moment of sending.
    pub lag: Histogram<u64>,
    /// Requests on their way at the end of each second.
    pub in_flight_series: Vec<u64>,
    /// The most that the driver used of a core in any second.
    pub busiest: f64,
    /// Response times by second, where they are kept.
    pub intervals: Option<Vec<Interval>>,
    cpu_start: Duration,
    cpu_last: Duration,
    rolled: Instant,
}

impl Monitor {
    /// Begins to watch; `intervals` says whether to keep histograms by second.
    ///
    /// CPU time is that of the calling thread.
    ///
    /// # Errors
    ///
    /// Never, as long as the histograms' bounds are right.
    pub fn new(start: Instant, intervals: bool) -> Result<Self, CreationError> {
        let cpu = thread_cpu();
        let empty = histogram()?;
        Ok(Self {
            start,
            load: Duration::MAX,
            tallies: std::array::from_fn(|_| Tally::new(&empty)),
            in_flight: 0,
            sent: 0,
            repeated: 0,
            unsent: BTreeMap::new(),
            acknowledged: 0,
            unknown: 0,
            lag: empty,
            in_flight_series: Vec::new(),
            busiest: 0.0,
            intervals: intervals.then(Vec::new),
            cpu_start: cpu,
            cpu_last: cpu,
            rolled: start,
        })
    }

    /// The same over users who arrive for so long.
    pub fn of_load(self, load: Duration) -> Self {
        Self { load, ..self }
    }

    /// A request is being sent.
    pub fn sent(&mut self, request: &Request) {
        self.sent += 1;
        self.in_flight += 1;
        record(&mut self.lag, request.sent.saturating_duration_since(request.intended));
    }

    /// A request could not be sent because the machine had no socket or port for it.
    pub fn unsent(&mut self, reason: &std::io::Error) {
        *self.unsent.entry(reason.to_string()).or_default() += 1;
    }

    /// A request that was sent has ended, with the status of its answer if there was one.
    pub fn ended(&mut self, request: &Request, now: Instant, status: Option<u16>, outcome: Result<(), Failure>) {
        self.in_flight -= 1;
        match (request.kind, status) {
            (Kind::Create, Some(201)) => self.acknowledged += 1,
            (Kind::Create, None | Some(500..)) => self.unknown += 1,
            _ => {}
        }
        let while_loaded = now.saturating_duration_since(self.start) <= self.load;
        self.tallies[request.kind as usize].add(request, now, status, outcome, while_loaded);
    }

    /// Closes every second that is over and says whether there was one.
    pub fn roll(&mut self, now: Instant) -> bool {
        let mut closed = false;
        while now >= self.next_roll() {
            self.close_second();
            closed = true;
        }
        closed
    }

    /// Closes the second that has just begun, so that what ended in it counts.
    pub fn finish(&mut self) {
        self.close_second();
    }

    /// Adds a run that came after this one.
    pub fn absorb(&mut self, later: Self) {
        let seconds = self.in_flight_series.len() as u64;
        for (tally, later) in self.tallies.iter_mut().zip(later.tallies) {
            tally.absorb(later);
        }
        self.in_flight = later.in_flight;
        self.sent += later.sent;
        self.repeated += later.repeated;
        for (reason, count) in later.unsent {
            *self.unsent.entry(reason).or_default() += count;
        }
        self.acknowledged += later.acknowledged;
        self.unknown += later.unknown;
        add(&mut self.lag, &later.lag);
        self.in_flight_series.extend(later.in_flight_series);
        self.busiest = self.busiest.max(later.busiest);
        if let Some(intervals) = &mut self.intervals {
            let shifted = |interval: Interval| Interval { second: interval.second + seconds, ..interval };
            intervals.extend(later.intervals.into_iter().flatten().map(shifted));
        }
        self.cpu_last = later.cpu_last;
    }

    /// When the current second is over.
    pub fn next_roll(&self) -> Instant {
        self.rolled + SECOND
    }

    /// When the last second that was closed ends.
    pub fn end(&self) -> Instant {
        self.rolled
    }

    /// CPU time of the driving thread since the start.
    pub fn cpu(&self) -> Duration {
        self.cpu_last.saturating_sub(self.cpu_start)
    }

    fn close_second(&mut self) {
        let second = self.in_flight_series.len() as u64;
        self.rolled += SECOND;
        self.in_flight_series.push(self.in_flight);
        for (kind, tally) in Kind::ALL.into_iter().zip(&mut self.tallies) {
            if let Some(intervals) = self.intervals.as_mut().filter(|_| !tally.current.is_empty()) {
                let mut encoded = Vec::new();
                if V2Serializer::new().serialize(&tally.current, &mut encoded).is_ok() {
                    intervals.push(Interval { second, kind, encoded });
                }
            }
            tally.close_second();
        }
        let cpu = thread_cpu();
        let elapsed = self.rolled.max(Instant::now()) - (self.rolled - SECOND);
        self.busiest = self.busiest.max((cpu - self.cpu_last).as_secs_f64() / elapsed.as_secs_f64());
        self.cpu_last = cpu;
    }
}

impl Tally {
    fn new(empty: &Histogram<u64>) -> Self {
        Self {
            count: 0,
            failures: BTreeMap::new(),
            statuses: BTreeMap::new(),
            response: empty.clone(),
            failed_response: empty.clone(),
            service: empty.clone(),
            successful_while_loaded: 0,
            series: RequestSeries::default(),
            current: empty.clone(),
            current_failed: 0,
        }
    }

    /// Failed requests, all reasons together.
    pub fn failed(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }

    /// Those of them that were refused.
    pub fn refused(&self) -> u64 {
        let refusals = self.failures.values().filter(|failures| failures.cause == Cause::Refusal);
        refusals.map(|failures| failures.count).sum()
    }

    /// Microseconds from the intended time, of those that did not fail.
    pub fn successful_response(&self) -> Histogram<u64> {
        let mut successful = self.response.clone();
        // All that it takes away is in it.
        let _ = successful.subtract(&self.failed_response);
        successful
    }

    fn add(
        &mut self,
        request: &Request,
        now: Instant,
        status: Option<u16>,
        outcome: Result<(), Failure>,
        while_loaded: bool,
    ) {
        self.count += 1;
        let response = now.saturating_duration_since(request.intended);
        if let Some(status) = status {
            *self.statuses.entry(status).or_default() += 1;
        }
        if let Err(failure) = outcome {
            self.current_failed += 1;
            let Failure { reason, example, cause } = failure;
            self.failures.entry(reason).or_insert(Failures { count: 0, example, cause }).count += 1;
            record(&mut self.failed_response, response);
        } else if while_loaded {
            self.successful_while_loaded += 1;
        }
        record(&mut self.response, response);
        record(&mut self.current, response);
        record(&mut self.service, now.saturating_duration_since(request.sent));
    }

    fn absorb(&mut self, later: Self) {
        self.count += later.count;
        for (reason, failures) in later.failures {
            let count = failures.count;
            self.failures.entry(reason).or_insert(Failures { count: 0, ..failures }).count += count;
        }
        for (status, count) in later.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        add(&mut self.response, &later.response);
        add(&mut self.failed_response, &later.failed_response);
        add(&mut self.service, &later.service);
        self.successful_while_loaded += later.successful_while_loaded;
        self.series.completed.extend(later.series.completed);
        self.series.failed.extend(later.series.failed);
        self.series.p50.extend(later.series.p50);
        self.series.p99.extend(later.series.p99);
    }

    fn close_second(&mut self) {
        let milliseconds = |quantile| self.current.value_at_quantile(quantile) as f64 / 1e3;
        self.series.completed.push(self.current.len());
        self.series.failed.push(self.current_failed);
        self.series.p50.push(milliseconds(0.5));
        self.series.p99.push(milliseconds(0.99));
        self.current.reset();
        self.current_failed = 0;
    }
}

/// An empty histogram of microseconds, as every one here is.
fn histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS)
}

fn add(histogram: &mut Histogram<u64>, other: &Histogram<u64>) {
    // Both have the same bounds, without which it would refuse.
    let _ = histogram.add(other);
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST));
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_is_told_of_the_driving_thread() {
        let mut monitor = Monitor::new(Instant::now(), false).unwrap();
        let begin = thread_cpu();
        while thread_cpu() - begin < Duration::from_millis(50) {}
        monitor.finish();
        assert!(monitor.busiest >= 0.01, "{}", monitor.busiest);
        let busiest = monitor.busiest;
        monitor.finish();
        assert_eq!(monitor.busiest, busiest);
        assert!(monitor.cpu() >= Duration::from_millis(50), "{:?}", monitor.cpu());
    }
}
