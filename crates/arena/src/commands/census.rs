//! How many people a server holds once the load is over.

use std::time::{Duration, Instant};

/// A count that stays the same for this long rests.
const REST: Duration = Duration::from_secs(2);

/// How long a count may take to come to rest before it is taken as it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long after the load a server may be too busy to count.
const RECOVERY: Duration = Duration::from_secs(1);

/// Time between two counts.
const BETWEEN_COUNTS: Duration = Duration::from_millis(200);

/// A count, taken until it rested: some servers answer before they store, and some store when all is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// People at the first look.
    pub first: u64,
    /// People at the last.
    pub last: u64,
    /// Whether the count came to rest.
    pub rests: bool,
}

impl Census {
    /// Counts until the count has rested.
    ///
    /// # Errors
    ///
    /// What `count` gives once the server has had the time to recover.
    pub fn take(mut count: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<Self> {
        let recovered = Instant::now() + RECOVERY;
        let first = loop {
            match count() {
                Err(_) if Instant::now() < recovered => std::thread::sleep(BETWEEN_COUNTS),
                first => break first?,
            }
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (first, Instant::now());
        while since.elapsed() < REST && Instant::now() < deadline {
            std::thread::sleep(BETWEEN_COUNTS);
            let people = count()?;
            if people != last {
                (last, since) = (people, Instant::now());
            }
        }
        Ok(Self { first, last, rests: since.elapsed() >= REST })
    }

    /// What the count betrays by having moved, where everything was answered before it began.
    pub fn faults(&self) -> Vec<String> {
        let Self { first, last, rests } = self;
        let moved = (first != last).then(|| format!("the count went from {first} to {last} after the last answer"));
        let restless = (!rests).then(|| format!("the count did not come to rest within {} s", PATIENCE.as_secs()));
        moved.into_iter().chain(restless).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_taken_until_it_rests() {
        let begin = Instant::now();
        let late = Duration::from_millis(1500);
        let census = Census::take(|| Ok(if begin.elapsed() < late { 7 } else { 12 })).unwrap();
        assert_eq!(census, Census { first: 7, last: 12, rests: true });
        assert!(begin.elapsed() >= late + REST);
        assert_eq!(census.faults(), ["the count went from 7 to 12 after the last answer"]);
    }

    #[test]
    fn a_server_has_a_moment_to_recover_and_no_more() {
        let mut asked = 0;
        let census = Census::take(|| {
            asked += 1;
            anyhow::ensure!(asked > 2, "503");
            Ok(7)
        });
        assert_eq!(census.unwrap(), Census { first: 7, last: 7, rests: true });
        assert_eq!(Census::take(|| anyhow::bail!("503")).unwrap_err().to_string(), "503");
    }
}
