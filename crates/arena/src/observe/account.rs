//! Turns readings of ever-growing counters into a cost and a series.

use std::time::Duration;

use crate::record::run::{Cost, ServiceSeries};

/// Shorter remainders than this make no entry of their own at the end of a series.
const SHORTEST_ENTRY: Duration = Duration::from_millis(250);

const SECOND: Duration = Duration::from_secs(1);

/// What the kernel says of one service at one moment; `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// CPU time since the service began.
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
    /// Bytes written to block devices.
    pub disk_write: Option<u64>,
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
        }
    }
}

/// The readings of one service since the observation began, each with the time that had passed by then.
#[derive(Debug)]
pub struct Account {
    service: String,
    readings: Vec<(Duration, Reading)>,
}

impl Account {
    /// Begins with the reading that was there when the observation began.
    pub fn open(service: String, first: Reading) -> Self {
        Self { service, readings: vec![(Duration::ZERO, first)] }
    }

    /// Adds what was read when `passed` had gone since the observation began.
    pub fn add(&mut self, passed: Duration, reading: Reading) {
        self.readings.push((passed, reading));
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
        let cost = Cost {
            service: self.service.clone(),
            cpu_seconds: last.cpu.saturating_sub(first.cpu).as_secs_f64(),
            periods: grown(last.periods, first.periods),
            throttled_periods: grown(last.throttled_periods, first.throttled_periods),
            throttled_seconds: throttled.map(|time| time.as_secs_f64()),
            memory_peak_bytes: self.memory_peak(from, to),
            disk_write_bytes: grown(last.disk_write, first.disk_write),
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

    fn memory_peak(&self, from: Duration, to: Duration) -> Option<u64> {
        let within =
            self.readings.iter().filter(|(passed, _)| (from..=to).contains(passed)).map(|(_, reading)| *reading);
        within.chain([self.at(from), self.at(to)]).filter_map(|reading| reading.memory).max()
    }

    /// The reading of a moment: before the first and after the last reading these two.
    fn at(&self, moment: Duration) -> Reading {
        let next = self.readings.partition_point(|(passed, _)| *passed < moment);
        let Some((until, later)) = self.readings.get(next) else {
            return self.readings.last().map(|(_, reading)| *reading).unwrap_or_default();
        };
        let Some((since, earlier)) = next.checked_sub(1).and_then(|before| self.readings.get(before)) else {
            return *later;
        };
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
            disk_write: None,
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
    fn a_counter_that_falls_costs_nothing() {
        let mut account = Account::open("api".into(), reading(5000, 7, 10));
        account.add(MS(1000), reading(10, 0, 10));
        let (cost, series) = account.between(Duration::ZERO, account.end());
        assert_eq!(cost.cpu_seconds, 0.0);
        assert_eq!(series.cpus, [0.0]);
    }
}
