//! Turns readings of ever-growing counters into a cost and a series.

use std::time::Duration;

use crate::record::run::{Cost, ServiceSeries};

/// Shorter remainders than this make no entry of their own at the end of a series.
const SHORTEST_ENTRY: Duration = Duration::from_millis(250);

const SECOND: Duration = Duration::from_secs(1);

/// Bytes that the kernel's peak may leave open, or a tenth of it if that is more, and still be one: its own memory and
/// the page cache come and go by as much between two readings.
const OPEN: u64 = 16 << 20;

/// What the kernel says of one service at one moment; `None` where it does not tell. Counters begin when the service
/// began, and go on over all its beginnings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// CPU time.
    pub cpu: Duration,
    /// Scheduler periods in which the service wanted to run.
    pub periods: Option<u64>,
    /// Periods in which its quota ran out.
    pub throttled_periods: Option<u64>,
    /// Time its threads waited for a new quota.
    pub throttled: Option<Duration>,
    /// Anonymous and shared memory held now, in bytes. Page cache is left out: the kernel takes it back at will, and
    /// a database would seem to need whatever it is given.
    pub memory: Option<u64>,
    /// The most of it that was held at some time since the reading before, by the kernel's own peak: so much at least.
    pub memory_peak: Option<u64>,
    /// And so much at most.
    pub memory_bound: Option<u64>,
    /// Bytes written to block devices, by the account of a control group.
    pub disk_write: Option<u64>,
    /// Bytes that the service's processes caused to be written to block devices.
    pub process_write: Option<u64>,
    /// How often the service has begun anew since it was first seen.
    pub restarts: u64,
    /// Whether none of its processes runs any more.
    pub has_ended: bool,
    /// Processes of it that were killed because its memory did not suffice.
    pub memory_kills: Option<u64>,
}

impl Reading {
    /// What the kernel would have said that share of the way, 0 to 1, from this reading to a later one.
    fn towards(&self, later: &Self, share: f64) -> Self {
        let number = |this: u64, later: u64| (this as f64 + (later as f64 - this as f64) * share).round() as u64;
        let known = |this: Option<u64>, later: Option<u64>| Some(number(this?, later?));
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let time = |this: Duration, later: Duration| Duration::from_nanos(number(nanos(this), nanos(later)));
        Self {
            cpu: time(self.cpu, later.cpu),
            periods: known(self.periods, later.periods),
            throttled_periods: known(self.throttled_periods, later.throttled_periods),
            throttled: self.throttled.zip(later.throttled).map(|(this, later)| time(this, later)),
            memory: known(self.memory, later.memory),
            disk_write: known(self.disk_write, later.disk_write),
            process_write: known(self.process_write, later.process_write),
            ..*self
        }
    }
}

/// The readings of one service since the observation began, each with the time that had passed by then.
#[derive(Debug)]
pub struct Account {
    service: String,
    readings: Vec<(Duration, Reading)>,
    is_missing: bool,
}

impl Account {
    /// Begins with the reading that was there when the observation began.
    pub fn open(service: String, first: Reading) -> Self {
        Self { service, readings: vec![(Duration::ZERO, first)], is_missing: false }
    }

    /// Adds what was read when `passed` had gone since the observation began.
    pub fn add(&mut self, passed: Duration, reading: Reading) {
        self.readings.push((passed, reading));
        self.is_missing = false;
    }

    /// Takes note that nothing of the service was there to be read.
    pub fn miss(&mut self) {
        self.is_missing = true;
    }

    /// When the last reading was taken.
    pub fn end(&self) -> Duration {
        self.readings.last().map_or(Duration::ZERO, |(passed, _)| *passed)
    }

    /// What the service cost between two moments, as a sum and second by second from the first of them. Between two
    /// readings it is taken to have used as much at one time as at another.
    pub fn between(&self, from: Duration, to: Duration) -> (Cost, ServiceSeries) {
        let (first, last) = (self.at(from), self.at(to));
        let throttled = last.throttled.map(|time| time.saturating_sub(first.throttled.unwrap_or_default()));
        let written = grown(last.disk_write, first.disk_write).filter(|bytes| *bytes > 0);
        let (memory_peak_bytes, memory_peak_sampled) = self.memory_peak(from, to);
        let cost = Cost {
            service: self.service.clone(),
            cpu_seconds: last.cpu.saturating_sub(first.cpu).as_secs_f64(),
            periods: grown(last.periods, first.periods),
            throttled_periods: grown(last.throttled_periods, first.throttled_periods),
            throttled_seconds: throttled.map(|time| time.as_secs_f64()),
            memory_peak_bytes,
            memory_peak_sampled,
            disk_write_bytes: written.or_else(|| grown(last.process_write, first.process_write)),
            restarts: last.restarts.saturating_sub(first.restarts),
            ended: last.has_ended || (self.is_missing && to >= self.end()),
            memory_kills: grown(last.memory_kills, first.memory_kills).unwrap_or_default(),
        };
        (cost, self.series(from, to))
    }

    fn series(&self, from: Duration, to: Duration) -> ServiceSeries {
        let mut series = ServiceSeries::default();
        let mut start = from;
        while start < to && (start == from || to - start >= SHORTEST_ENTRY) {
            let end = to.min(start + SECOND);
            let (before, after) = (self.at(start), self.at(end));
            let used = after.cpu.saturating_sub(before.cpu);
            series.cpus.push(used.as_secs_f64() / (end - start).as_secs_f64());
            series.throttled_periods.push(grown(after.throttled_periods, before.throttled_periods).unwrap_or(0));
            series.memory_bytes.push(after.memory.unwrap_or(0));
            start = end;
        }
        series
    }

    /// The most memory that was held at once, and whether that is only what was seen at the readings.
    fn memory_peak(&self, from: Duration, to: Duration) -> (Option<u64>, bool) {
        let within: Vec<&Reading> = self
            .readings
            .iter()
            .filter(|(passed, _)| (from..=to).contains(passed))
            .map(|(_, reading)| reading)
            .collect();
        let ends = [self.at(from).memory, self.at(to).memory];
        let seen = within.iter().map(|reading| reading.memory_peak.max(reading.memory)).chain(ends);
        let Some(most) = seen.flatten().max() else { return (None, false) };
        let bound = within.iter().map(|reading| reading.memory_bound).collect::<Option<Vec<u64>>>();
        let bound = bound.and_then(|bounds| bounds.into_iter().max());
        let close = most + (most / 10).max(OPEN);
        (Some(most), bound.is_none_or(|bound| bound > close))
    }

    /// The reading of a moment: before the first and after the last reading these two.
    fn at(&self, moment: Duration) -> Reading {
        let next = self.readings.partition_point(|(passed, _)| *passed < moment);
        let Some((until, later)) = self.readings.get(next) else {
            return self.readings.last().map(|(_, reading)| *reading).unwrap_or_default();
        };
        let before = next.checked_sub(1).filter(|_| *until > moment);
        let Some((since, earlier)) = before.and_then(|before| self.readings.get(before)) else { return *later };
        earlier.towards(later, (moment - *since).as_secs_f64() / (*until - *since).as_secs_f64())
    }
}

fn grown(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    now.map(|now| now.saturating_sub(before.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(cpu_ms: u64, throttled_periods: u64, memory: u64) -> Reading {
        Reading {
            cpu: Duration::from_millis(cpu_ms),
            periods: Some(100 + throttled_periods),
            throttled_periods: Some(throttled_periods),
            throttled: Some(Duration::from_millis(throttled_periods * 10)),
            memory: Some(memory),
            ..Reading::default()
        }
    }

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn cost_counts_from_the_first_reading() {
        let mut account = Account::open("api".into(), reading(5000, 7, 10));
        account.add(MS(1000), reading(5500, 7, 40));
        account.add(MS(2000), reading(6500, 9, 20));
        let (cost, series) = account.between(Duration::ZERO, account.end());
        assert_eq!(cost.service, "api");
        assert_eq!(cost.cpu_seconds, 1.5);
        assert_eq!(cost.periods, Some(2));
        assert_eq!(cost.throttled_periods, Some(2));
        assert_eq!(cost.throttled_seconds, Some(0.02));
        assert_eq!(cost.memory_peak_bytes, Some(40));
        assert_eq!(cost.disk_write_bytes, None);
        assert_eq!(series.cpus, [0.5, 1.0]);
        assert_eq!(series.throttled_periods, [0, 2]);
        assert_eq!(series.memory_bytes, [40, 20]);
    }

    #[test]
    fn a_late_sample_keeps_the_series_in_step() {
        let mut account = Account::open("api".into(), reading(0, 0, 10));
        account.add(MS(3000), reading(3000, 4, 10));
        account.add(MS(3020), reading(3001, 4, 10));
        let (cost, series) = account.between(Duration::ZERO, account.end());
        assert_eq!(series.cpus, [1.0, 1.0, 1.0]);
        assert_eq!(series.throttled_periods, [1, 2, 1]);
        assert_eq!(cost.cpu_seconds, 3.001);
    }

    #[test]
    fn what_came_before_and_after_costs_nothing() {
        let mut account = Account::open("api".into(), reading(0, 0, 90));
        for (passed, cpu, throttled, memory) in [(1000, 800, 8, 80), (2000, 800, 8, 10), (3000, 1200, 8, 10)] {
            account.add(MS(passed), reading(cpu, throttled, memory));
        }
        account.add(MS(4000), reading(1600, 10, 10));
        account.add(MS(5000), reading(2600, 10, 70));
        let (cost, series) = account.between(MS(2500), MS(4500));
        assert_eq!(cost.cpu_seconds, 1.1);
        assert_eq!(cost.throttled_periods, Some(2));
        assert_eq!(cost.memory_peak_bytes, Some(40));
        assert_eq!(series.cpus, [0.4, 0.7]);
        assert_eq!(series.throttled_periods, [1, 1]);
        let (cost, series) = account.between(MS(6000), MS(7000));
        assert_eq!((cost.cpu_seconds, series.cpus), (0.0, vec![0.0]));
    }

    #[test]
    fn what_became_of_the_service_is_told_of_the_time_that_was_asked_for() {
        let mut account = Account::open("api".into(), reading(0, 0, 10));
        account.add(MS(1000), Reading { restarts: 1, ..reading(100, 0, 10) });
        account.add(MS(2000), Reading { restarts: 3, has_ended: true, ..reading(200, 0, 10) });
        let told = |account: &Account, from, to| {
            let cost = account.between(MS(from), MS(to)).0;
            (cost.restarts, cost.ended)
        };
        assert_eq!(told(&account, 0, 900), (0, false));
        assert_eq!(told(&account, 0, 1000), (1, false));
        assert_eq!(told(&account, 1000, 2000), (2, true));
        account.add(MS(3000), Reading { restarts: 4, ..reading(300, 0, 10) });
        account.miss();
        assert_eq!([told(&account, 0, 2900), told(&account, 0, 3000)], [(3, true), (4, true)]);
    }

    #[test]
    fn a_peak_is_the_kernels_unless_that_leaves_too_much_open() {
        let peak = |least: Option<u64>, most: Option<u64>| {
            let mut account =
                Account::open("db".into(), Reading { memory_peak: Some(1), memory_bound: Some(1), ..reading(0, 0, 1) });
            account.add(MS(100), Reading { memory_peak: least, memory_bound: most, ..reading(0, 0, 100 << 20) });
            let cost = account.between(Duration::ZERO, account.end()).0;
            (cost.memory_peak_bytes.unwrap() >> 20, cost.memory_peak_sampled)
        };
        assert_eq!(peak(Some(400 << 20), Some(430 << 20)), (400, false));
        assert_eq!(peak(Some(400 << 20), Some(450 << 20)), (400, true));
        assert_eq!(peak(Some(100 << 20), Some(110 << 20)), (100, false));
        assert_eq!(peak(None, None), (100, true));
    }
}
