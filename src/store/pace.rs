//! How many may wait, by how fast they are served.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a wait should be at most. Longer than a stall of the disk or a pause between two slices of processor time,
/// shorter than the second after which whoever was refused asks again.
const TARGET: Duration = Duration::from_millis(500);

/// So many may wait at any pace: what a slow moment leaves must not be refused.
const FEWEST: f64 = 128.0;

/// A smaller group says nothing of how fast many are served together.
const SMALLEST_GROUP: usize = 16;

/// What counts of the past after one more group.
const KEPT: f64 = 0.75;

/// The pace of late.
pub(super) struct Pace {
    lanes: f64,
    smallest_group: usize,
    sums: Mutex<Sums>,
}

/// Sums in which what is longer ago counts less.
#[derive(Clone, Copy, Default)]
struct Sums {
    served: f64,
    seconds: f64,
}

impl Pace {
    /// Of so many lanes together, whose groups have at most so many in them; nothing is known of it yet.
    pub(super) fn new(lanes: u16, most: usize) -> Self {
        Self { lanes: f64::from(lanes), smallest_group: most.min(SMALLEST_GROUP), sums: Mutex::default() }
    }

    /// A lane served a group of so many, and it took so long.
    pub(super) fn served(&self, items: usize, took: Duration) {
        if items < self.smallest_group {
            return;
        }
        let mut sums = self.lock();
        sums.served = sums.served * KEPT + items as f64;
        sums.seconds = sums.seconds * KEPT + took.as_secs_f64();
    }

    /// How many are served in [`TARGET`]. Everybody may wait while nothing is known.
    pub(super) fn room(&self) -> usize {
        let Sums { served, seconds } = *self.lock();
        if seconds == 0.0 {
            return usize::MAX;
        }
        (served / seconds * self.lanes * TARGET.as_secs_f64()).max(FEWEST) as usize
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room_after(groups: impl IntoIterator<Item = (usize, u64)>) -> usize {
        let pace = Pace::new(1, 256);
        groups.into_iter().for_each(|(served, millis)| pace.served(served, Duration::from_millis(millis)));
        pace.room()
    }

    #[test]
    fn as_many_may_wait_as_are_served_in_the_target() {
        assert_eq!(room_after([]), usize::MAX);
        assert_eq!(room_after([(256, 128)]), 1000);
        assert_eq!(room_after([(20, 3000)]), 128);
        let lanes = Pace::new(4, 256);
        lanes.served(256, Duration::from_millis(128));
        assert_eq!(lanes.room(), 4000);
    }

    #[test]
    fn a_small_group_says_nothing_unless_all_are_small() {
        assert_eq!(room_after([(1, 3000)]), usize::MAX);
        let one_by_one = Pace::new(1, 1);
        one_by_one.served(1, Duration::from_millis(1));
        assert_eq!(one_by_one.room(), 500);
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let stall = [(256, 5000)];
        assert_eq!(room_after(stall), 128);
        let room = room_after(stall.into_iter().chain([(100, 10); 30]));
        assert!((4000..=5000).contains(&room), "{room}");
    }
}
