//! How far it is, on standard error.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::record::metric::grouped;

const STYLE: &str = "arena: {wide_bar} {human_pos} of {human_len} people, {rate}, {eta} left";

/// Time between two lines where standard error is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// A bar on a terminal, which goes with this; else a line now and then.
pub(super) struct Progress {
    bar: ProgressBar,
    last_line: Instant,
}

impl Progress {
    /// Of storing so many people.
    pub(super) fn new(people: u64) -> anyhow::Result<Self> {
        let style =
            ProgressStyle::with_template(STYLE)?.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                // Nobody is told that nobody can be told.
                let _ = write!(out, "{}/s", grouped(state.per_sec().round()));
            });
        let bar = ProgressBar::new(people).with_style(style);
        Ok(Self { bar, last_line: Instant::now() })
    }

    /// Says that so many people are there.
    pub(super) fn show(&mut self, people: u64) {
        self.bar.set_position(people);
        if !stderr().is_terminal() && self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            let all = self.bar.length().unwrap_or_default();
            eprintln!("arena: {} of {} people", grouped(people as f64), grouped(all as f64));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
