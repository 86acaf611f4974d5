//! How a run goes, on standard error while it goes on.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use super::monitor::Monitor;

/// Seconds between two lines where standard error is no terminal.
const IN_FILE: u64 = 10;

/// Says once a second how the run goes: on one line that replaces itself on a terminal, else in a line every
/// [`IN_FILE`] seconds.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    length: Duration,
    /// What the lines begin with.
    name: String,
}

impl Progress {
    /// Of a run that is to last this long.
    pub fn new(name: String, length: Duration) -> Self {
        Self { terminal: stderr().is_terminal(), length, name }
    }

    /// Says how it goes, if it is time to.
    pub fn show(&self, monitor: &Monitor) {
        let seconds = monitor.in_flight_series.len() as u64;
        let line = || self.line(monitor, seconds);
        // Nobody is told that nobody can be told.
        let _ = match self.terminal {
            true => write!(stderr(), "\r{}\x1b[K", line()),
            false if seconds.is_multiple_of(IN_FILE) => writeln!(stderr(), "{}", line()),
            false => Ok(()),
        };
    }

    /// Ends the line.
    pub fn finish(&self) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, monitor: &Monitor, seconds: u64) -> String {
        let last = |values: &Vec<u64>| values.last().copied().unwrap_or(0);
        let completed: u64 = monitor.tallies.iter().map(|tally| last(&tally.series.completed)).sum();
        let failed: u64 = monitor.tallies.iter().map(|tally| tally.failed()).sum();
        let slowest =
            monitor.tallies.iter().filter_map(|tally| tally.series.p99.last()).fold(0.0, |a: f64, b| a.max(*b));
        format!(
            "{} {seconds}/{:.0} s, {completed} answers/s, p99 {slowest:.1} ms, {} in flight, {failed} failed",
            self.name,
            self.length.as_secs_f64(),
            monitor.in_flight,
        )
    }
}
