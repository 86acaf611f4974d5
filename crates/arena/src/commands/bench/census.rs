//! How many people a server holds once the load is over.

use std::time::{Duration, Instant};

use crate::load::driver::entry::Entry;
use crate::load::driver::probe;
use crate::record::run::People;

/// How long a count may lag behind the last 201 before people are given up as lost.
const SETTLING: Duration = Duration::from_secs(5);

/// Time between two counts.
const BETWEEN_COUNTS: Duration = Duration::from_millis(200);

/// Who was there before, and who is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// People before the run.
    pub before: u64,
    /// The score, without those who were there before.
    pub people: People,
    /// Whether the count was right at once.
    pub settled_at_once: bool,
}

impl Census {
    /// Counts. A count that falls short is asked again for a while: some servers answer before they store.
    ///
    /// # Errors
    ///
    /// The server does not tell the count.
    pub fn take(entry: &Entry, before: u64, acknowledged: u64, ceiling: u64) -> anyhow::Result<Self> {
        let deadline = Instant::now() + SETTLING;
        let mut settled_at_once = true;
        let stored = loop {
            let stored = probe::count(entry)?.saturating_sub(before);
            if stored >= acknowledged || Instant::now() >= deadline {
                break stored;
            }
            settled_at_once = false;
            std::thread::sleep(BETWEEN_COUNTS);
        };
        Ok(Self { before, people: People { stored, ceiling, acknowledged: Some(acknowledged) }, settled_at_once })
    }
}
