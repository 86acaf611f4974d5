//! How a run goes, from `simulation.log` while it grows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Read, Write as _, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::record::gatling_log::line::Record;
use crate::record::gatling_log::results::{kind, log_in};

/// Time between two status lines: one that replaces the last on a terminal, and one more in a file.
const ON_TERMINAL: Duration = Duration::from_secs(1);
const IN_FILE: Duration = Duration::from_secs(10);

/// Watches a run and writes a status line to standard error.
pub(super) struct Progress {
    results: PathBuf,
    expected_seconds: Option<f64>,
    terminal: bool,
    next: Instant,
    /// The last status line.
    shown: String,
    log: Option<File>,
    /// The beginning of a line whose end Gatling has not written yet.
    rest: Vec<u8>,
    tally: Tally,
}

impl Progress {
    /// Watches the log that appears in a directory in `results`.
    pub(super) fn new(results: &Path, expected_seconds: Option<f64>) -> Self {
        Self {
            results: results.to_owned(),
            expected_seconds,
            terminal: stderr().is_terminal(),
            next: Instant::now(),
            shown: String::new(),
            log: None,
            rest: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Writes a status line when it is time for one. Trouble with the log is left to those who read it at the end.
    pub(super) fn show(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + if self.terminal { ON_TERMINAL } else { IN_FILE };
        self.read();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = self.line(now.as_millis() as u64);
        let _ = match self.terminal {
            true => write!(stderr(), "\r{line}\x1b[K"),
            false if line == self.shown => Ok(()),
            false => writeln!(stderr(), "{line}"),
        };
        self.shown = line;
    }

    /// How many requests have failed so far.
    pub(super) fn failed(&mut self) -> u64 {
        self.read();
        self.tally.failed
    }

    /// Writes the last status line.
    pub(super) fn finish(&mut self) {
        self.next = Instant::now();
        self.show();
        if self.terminal {
            let _ = writeln!(stderr());
        }
    }

    fn read(&mut self) {
        if self.log.is_none() {
            self.log = log_in(&self.results).ok().and_then(|log| File::open(log).ok());
        }
        let Some(log) = &mut self.log else { return };
        if log.read_to_end(&mut self.rest).is_err() {
            return;
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in self.rest.drain(..whole).as_slice().split(|byte| *byte == b'\n') {
            if let Ok(record) = Record::parse(&String::from_utf8_lossy(line)) {
                self.tally.add(&record);
            }
        }
    }

    /// The status at a time in milliseconds since 1970.
    fn line(&self, now: u64) -> String {
        let Some(started) = self.tally.started else {
            return "gatling starts".to_owned();
        };
        let elapsed = now.saturating_sub(started) as f64 / 1000.0;
        let mut line = match self.expected_seconds {
            Some(expected) => format!("{:3.0}/{expected:.0} s", elapsed.min(expected)),
            None => format!("{elapsed:3.0} s"),
        };
        let _ = write!(line, "  {} users active", self.tally.users);
        for (kind, count) in &self.tally.requests {
            let _ = write!(line, "  {kind} {count}");
        }
        let _ = write!(line, "  failed {}", self.tally.failed);
        line
    }
}

/// What the log held so far.
#[derive(Default)]
struct Tally {
    /// When the first user came, in milliseconds since 1970.
    started: Option<u64>,
    users: u64,
    requests: BTreeMap<String, u64>,
    failed: u64,
}

impl Tally {
    fn add(&mut self, record: &Record) {
        match record {
            Record::UserStart { at } => {
                self.started.get_or_insert(*at);
                self.users += 1;
            }
            Record::UserEnd => self.users = self.users.saturating_sub(1),
            Record::Request { name, failure, .. } => {
                *self.requests.entry(kind(name).to_owned()).or_default() += 1;
                self.failed += u64::from(failure.is_some());
            }
            Record::Run { .. } | Record::Error { .. } | Record::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::gatling_log::SAMPLE;

    #[test]
    fn progress_follows_a_log_that_grows_in_the_middle_of_lines() {
        let parent = tempfile::tempdir().unwrap();
        let mut progress = Progress::new(parent.path(), None);
        progress.read();
        assert_eq!(progress.line(0), "gatling starts");

        fs::create_dir(parent.path().join("tiny")).unwrap();
        let mut log = fs::File::create(parent.path().join("tiny/simulation.log")).unwrap();
        for piece in SAMPLE.as_bytes().chunks(100) {
            log.write_all(piece).unwrap();
            progress.read();
        }
        assert_eq!(
            progress.line(1795234739430),
            "  2 s  0 users active  create 16  fetch 13  in group 2  invalid-search 8  não mapeado 2  search 8  failed 11"
        );
    }
}
