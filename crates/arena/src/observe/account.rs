//! Turns readings of ever-growing counters into a cost and a series.

use std::time::Duration;

use crate::run::{Cost, ServiceSeries};

/// Shorter remainders than this, in seconds, make no entry of their own at the end of a series.
const SHORTEST_ENTRY: f64 = 0.25;

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

/// The readings of one service since the start.
#[derive(Debug)]
pub struct Account {
    service: String,
    first: Reading,
    last: Reading,
    memory_peak: Option<u64>,
    series: ServiceSeries,
}

impl Account {
    /// Begins with the reading that all later ones are compared to.
    pub fn open(service: String, first: Reading) -> Self {
        Self { service, first, last: first, memory_peak: first.memory, series: ServiceSeries::default() }
    }

    /// Adds what was read after another `elapsed`.
    ///
    /// A sampler that comes late makes as many entries as seconds have passed, so that the series stays in step with
    /// the clock.
    pub fn add(&mut self, reading: Reading, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let used = reading.cpu.saturating_sub(self.last.cpu).as_secs_f64();
        let throttled = grown(reading.throttled_periods, self.last.throttled_periods).unwrap_or(0);
        let entries = if seconds < SHORTEST_ENTRY { 0 } else { seconds.round().max(1.0) as u64 };
        for entry in 0..entries {
            self.series.cpus.push(used / seconds);
            self.series.throttled_periods.push(if entry == 0 { throttled } else { 0 });
            self.series.memory_bytes.push(reading.memory.unwrap_or(0));
        }
        self.memory_peak = self.memory_peak.max(reading.memory);
        self.last = reading;
    }

    /// The cost from the first reading to the last, and the series.
    pub fn close(self) -> (Cost, ServiceSeries) {
        let Self { service, first, last, memory_peak, series } = self;
        let throttled = last.throttled.map(|time| time.saturating_sub(first.throttled.unwrap_or_default()));
        let cost = Cost {
            service,
            cpu_seconds: last.cpu.saturating_sub(first.cpu).as_secs_f64(),
            periods: grown(last.periods, first.periods),
            throttled_periods: grown(last.throttled_periods, first.throttled_periods),
            throttled_seconds: throttled.map(|time| time.as_secs_f64()),
            memory_peak_bytes: memory_peak,
            disk_write_bytes: grown(last.disk_write, first.disk_write),
        };
        (cost, series)
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

    #[test]
    fn cost_counts_from_the_first_reading() {
        let mut account = Account::open("api".into(), reading(5000, 7, 10));
        account.add(reading(5500, 7, 40), Duration::from_secs(1));
        account.add(reading(6500, 9, 20), Duration::from_secs(1));
        let (cost, series) = account.close();
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
        account.add(reading(3000, 4, 10), Duration::from_secs(3));
        account.add(reading(3001, 4, 10), Duration::from_millis(20));
        let (cost, series) = account.close();
        assert_eq!(series.cpus, [1.0, 1.0, 1.0]);
        assert_eq!(series.throttled_periods, [4, 0, 0]);
        assert_eq!(cost.cpu_seconds, 3.001);
    }

    #[test]
    fn a_counter_that_falls_costs_nothing() {
        let mut account = Account::open("api".into(), reading(5000, 7, 10));
        account.add(reading(10, 0, 10), Duration::from_secs(1));
        let (cost, series) = account.close();
        assert_eq!(cost.cpu_seconds, 0.0);
        assert_eq!(series.cpus, [0.0]);
    }
}
