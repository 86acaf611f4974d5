//! How much memory who gets next: plain functions over what was seen, for any stack.
//!
//! Each group's least is bisected by itself, all of them in the same attempts: an attempt tells who was killed.

/// Least memory that a container can be held to and start: Docker's own bound.
pub const LEAST: u64 = 6 << 20;

/// A limit is narrow enough when it is no more than this times one that was too small.
const NARROW: f64 = 1.05;

/// A limit below this share of the memory that was held in a run without want has no chance: what is held cannot be taken
/// back, but some of it need not have been asked for.
const HOPELESS: f64 = 0.7;

/// Attempts before whatever passed is good enough.
const ATTEMPTS: usize = 9;

/// What an attempt showed, by group of services.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether it passed.
    pub passed: bool,
    /// Whether a container of the group was killed, or did not start.
    pub killed: Vec<bool>,
}

/// A limit that passed and one that did not, of one group of services, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    low: u64,
    high: u64,
    need: u64,
}

impl Bounds {
    fn is_narrow(self) -> bool {
        self.high <= self.need || self.high as f64 <= self.low as f64 * NARROW || self.high - self.low <= 1 << 20
    }

    fn middle(self) -> u64 {
        whole(((self.low + self.high) / 2).max(self.need)).min(self.high)
    }
}

/// The smallest limits that pass, from those that have passed (`enough`), what was held under them at most (`peaks`) and what
/// nobody may go below (`needs`). What it gives has passed.
///
/// # Errors
///
/// Those of `attempt`.
pub fn shrink(
    enough: &[u64],
    peaks: &[u64],
    needs: &[u64],
    mut attempt: impl FnMut(&[u64]) -> anyhow::Result<Seen>,
) -> anyhow::Result<Vec<u64>> {
    let bounds = |((enough, peak), need): ((&u64, &u64), &u64)| Bounds {
        low: (*peak as f64 * HOPELESS) as u64,
        high: *enough,
        need: whole((*need).max(LEAST)),
    };
    let mut bounds: Vec<Bounds> = enough.iter().zip(peaks).zip(needs).map(bounds).collect();
    // What was held most of all, and a little, nearly always does.
    let mut tried: Vec<u64> = bounds
        .iter()
        .zip(peaks)
        .map(|(bounds, peak)| whole((*peak as f64 * 1.1) as u64 + (1 << 20)).max(bounds.need).min(bounds.high))
        .collect();
    for _ in 0..ATTEMPTS {
        if tried.iter().zip(&bounds).all(|(tried, bounds)| *tried >= bounds.high) {
            break;
        }
        let seen = attempt(&tried)?;
        let blamed = |killed: bool| killed || !seen.killed.contains(&true);
        for ((bounds, tried), killed) in bounds.iter_mut().zip(&tried).zip(&seen.killed) {
            if seen.passed {
                bounds.high = *tried;
            } else if blamed(*killed) && *tried < bounds.high {
                bounds.low = *tried;
            }
        }
        tried = bounds.iter().map(|bounds| if bounds.is_narrow() { bounds.high } else { bounds.middle() }).collect();
    }
    Ok(bounds.into_iter().map(|bounds| bounds.high).collect())
}

/// In whole mebibytes, rounded up, as people write them.
pub fn whole(bytes: u64) -> u64 {
    bytes.next_multiple_of(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_least_memory_of_each_is_found_and_nobody_falls_below_his_need() {
        let (enough, peaks) = ([64 * MIB, 896 * MIB, 1152 * MIB], [9 * MIB, 21 * MIB, 70 * MIB]);
        let takes = [8 * MIB, 20 * MIB, 66 * MIB];
        for (needs, least) in [([0, 0, 0], takes), ([0, 0, 544 * MIB], [8 * MIB, 20 * MIB, 544 * MIB])] {
            let mut attempts = 0;
            let found = shrink(&enough, &peaks, &needs, |tried| {
                attempts += 1;
                let killed: Vec<bool> = tried.iter().zip(takes).map(|(tried, takes)| *tried < takes).collect();
                Ok(Seen { passed: !killed.contains(&true), killed })
            })
            .unwrap();
            assert!(attempts <= ATTEMPTS, "{attempts}");
            for (found, least) in found.iter().zip(least) {
                assert!(*found >= least && *found <= (least as f64 * 1.06) as u64 + 2 * MIB, "{found} for {least}");
            }
        }
    }

    #[test]
    fn what_never_passes_leaves_the_limits_as_they_were() {
        let seen = |_: &[u64]| Ok(Seen { passed: false, killed: vec![false, true] });
        assert_eq!(
            shrink(&[64 * MIB, 128 * MIB], &[30 * MIB, 30 * MIB], &[0, 0], seen).unwrap(),
            [64 * MIB, 128 * MIB]
        );
    }
}
