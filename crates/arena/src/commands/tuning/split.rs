//! Who gets which share of how many CPUs next: plain functions over what was seen, for any stack.
//!
//! The total is bisected on a logarithmic scale between what has passed and what has failed; the shares of a total follow
//! whoever was throttled. A library for black-box optimisation would not serve: see "Decisions" in `docs/ARCHITECTURE.md`.

use crate::record::search::Aim;

/// Least CPUs that a container can be held to: the kernel knows no quota below 1 ms in each period of 100 ms.
pub const LEAST: f64 = 0.01;

/// CPUs are given in thousandths, which is finer than anybody can tell.
const STEPS: f64 = 1000.0;

/// A total is narrow enough when what passed is no more than this times what failed.
const NARROW: f64 = 1.06;

/// A total at which services used this share of what they use unhindered has no chance: work that waits is done in larger
/// groups, but never in so much larger ones.
const HOPELESS: f64 = 0.2;

/// Splits of one total that are tried before it has failed.
const SPLITS: usize = 3;

/// How strongly shares of a split that failed follow whoever was throttled: by so much of the difference between his share of
/// throttled periods and everybody's.
const PULL: f64 = 0.5;

/// The same of a split that passed, which cannot be far from right.
const PULL_OF_PASSED: f64 = 0.25;

/// Shares that move by less than this are as they were.
const STILL: f64 = 0.03;

/// Passes in a row that confirm a floor.
pub const PASSES: usize = 3;

/// How much of a floor must fail.
const BELOW: f64 = 0.9;

/// How much more a floor gets that was none.
const MORE: f64 = 1.07;

/// Floors that are put to the test on the way up before the machine is called too noisy, and on the way down from one that stood
/// it.
pub const ROUNDS: i32 = 8;

/// What an attempt showed, by group of services.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether it passed.
    pub passed: bool,
    /// Share of its periods in which a container of the group waited for a new quota, 0 to 1.
    pub throttled: Vec<f64>,
    /// CPUs that each container of the group used, as a mean.
    pub used: Vec<f64>,
}

/// What is divided among whom.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Containers in each group: all of a group get the same.
    pub containers: Vec<f64>,
}

impl Pool {
    /// What all containers get together.
    pub fn total(&self, cpus: &[f64]) -> f64 {
        cpus.iter().zip(&self.containers).map(|(cpus, containers)| cpus * containers).sum()
    }

    /// The same proportions with another total; nobody gets less than [`LEAST`], and the others pay for it.
    pub fn scaled(&self, cpus: &[f64], total: f64) -> Vec<f64> {
        let cpus: Vec<f64> = cpus.iter().map(|cpus| cpus.max(1e-6)).collect();
        let factor = total / self.total(&cpus);
        let mut scaled: Vec<f64> = cpus.iter().map(|cpus| (cpus * factor).max(LEAST)).collect();
        // Whoever was raised leaves less for the others, who may have to be raised then.
        for _ in 0..scaled.len() {
            let sum = |is_least: bool| -> f64 {
                let chosen = scaled.iter().zip(&self.containers).filter(|(cpus, _)| (**cpus <= LEAST) == is_least);
                chosen.map(|(cpus, containers)| cpus * containers).sum()
            };
            let factor = (total - sum(true)).max(0.0) / sum(false).max(1e-9);
            for cpus in scaled.iter_mut().filter(|cpus| **cpus > LEAST) {
                *cpus = (*cpus * factor).max(LEAST);
            }
        }
        let mut rounded: Vec<f64> = scaled.into_iter().map(round).collect();
        // What is rounded up must not be more than there is.
        while self.total(&rounded) > total + 1e-9 {
            let most = rounded.iter_mut().filter(|cpus| **cpus > LEAST).max_by(|a, b| a.total_cmp(b));
            let Some(most) = most else { break };
            *most = round(*most - 1.0 / STEPS);
        }
        rounded
    }

    /// The same total, of which those get more who were throttled more than the others.
    pub fn moved(&self, cpus: &[f64], seen: &Seen) -> Vec<f64> {
        let pull = if seen.passed { PULL_OF_PASSED } else { PULL };
        let everybody = self.total(&seen.throttled) / self.containers.iter().sum::<f64>();
        let pulled = cpus.iter().zip(&seen.throttled);
        let pulled: Vec<f64> = pulled.map(|(cpus, throttled)| cpus * (1.0 + pull * (throttled - everybody))).collect();
        self.scaled(&pulled, self.total(cpus))
    }
}

/// Narrows the total down, from all that there is. What it gives has passed; none where not even all did.
///
/// # Errors
///
/// Those of `attempt`.
pub fn narrow(
    pool: &Pool,
    all: &[f64],
    mut attempt: impl FnMut(&[f64], Aim) -> anyhow::Result<Seen>,
) -> anyhow::Result<Option<Vec<f64>>> {
    let first = attempt(all, Aim::Learn)?;
    if !first.passed {
        return Ok(None);
    }
    let (mut high, mut shape) = (all.to_vec(), first.used.clone());
    let mut low = HOPELESS * pool.total(&first.used);
    while pool.total(&high) > NARROW * low {
        let total = (low * pool.total(&high)).sqrt();
        let split = pool.scaled(&shape, total);
        // At the bottom nobody can be given less.
        if pool.total(&split) > pool.total(&high) - 1e-9 {
            break;
        }
        match settle(pool, split, &mut shape, &mut attempt)? {
            Some(passed) => high = passed,
            None => low = total,
        }
    }
    Ok(Some(high))
}

/// Tries splits of one total, each after what the one before has shown, and gives the first that passes.
fn settle(
    pool: &Pool,
    mut split: Vec<f64>,
    shape: &mut Vec<f64>,
    attempt: &mut impl FnMut(&[f64], Aim) -> anyhow::Result<Seen>,
) -> anyhow::Result<Option<Vec<f64>>> {
    for _ in 0..SPLITS {
        let seen = attempt(&split, Aim::Narrow)?;
        *shape = pool.moved(&split, &seen);
        if seen.passed {
            return Ok(Some(split));
        }
        if is_still(&split, shape) {
            return Ok(None);
        }
        split.clone_from(shape);
    }
    Ok(None)
}

/// The split of a total with the best score of those that are tried: as it is, by what was used, and each after what the one
/// before has shown. A lower score is better.
///
/// # Errors
///
/// Those of `attempt`.
pub fn divide(
    pool: &Pool,
    now: &[f64],
    mut attempt: impl FnMut(&[f64], Aim) -> anyhow::Result<(Seen, f64)>,
) -> anyhow::Result<Vec<f64>> {
    let total = pool.total(now);
    let (first, score) = attempt(now, Aim::Learn)?;
    let mut best = (now.to_vec(), score);
    let mut split = pool.scaled(&first.used, total);
    for _ in 0..SPLITS {
        let (seen, score) = attempt(&split, Aim::Narrow)?;
        if score < best.1 {
            best = (split.clone(), score);
        }
        let next = pool.moved(&split, &Seen { passed: false, ..seen });
        if is_still(&split, &next) {
            break;
        }
        split = next;
    }
    Ok(best.0)
}

/// What came of putting a floor to the test.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested {
    /// The floor; where none is confirmed, the lowest that stood its test, else one that nobody tested.
    pub cpus: Vec<f64>,
    /// Whether it passed as often in a row as it must, and a tenth less did not.
    pub is_confirmed: bool,
    /// Floors that were none, because they failed.
    pub wrong: Vec<Vec<f64>>,
    /// Floors that were none, because a tenth less passed as often in a row too.
    pub too_high: Vec<Vec<f64>>,
    /// How often a tenth less than the floor passed before it failed.
    pub passes_below: usize,
}

/// Puts a floor to the test, and others where it is none: more where it fails, a tenth less where that stands the same test. It
/// never asks for more than `all`.
///
/// # Errors
///
/// Those of `attempt`.
pub fn confirm(
    pool: &Pool,
    floor: Vec<f64>,
    all: &[f64],
    mut attempt: impl FnMut(&[f64], Aim) -> anyhow::Result<Seen>,
) -> anyhow::Result<Tested> {
    let mut tested =
        Tested { cpus: floor, is_confirmed: false, wrong: Vec::new(), too_high: Vec::new(), passes_below: 0 };
    let most = pool.total(all);
    for step in 1..=ROUNDS {
        let total = pool.total(&tested.cpus);
        let (_, last) = passes(&tested.cpus, Aim::Confirm, &mut attempt)?;
        if last.passed {
            return lower(pool, tested, last, attempt);
        }
        tested.wrong.push(tested.cpus.clone());
        if total >= most {
            break;
        }
        // In longer and longer steps, but by no more than half the way to all that there is, unless that is one step away.
        let half = (total * most).sqrt().max(total * MORE).min(most);
        tested.cpus = pool.scaled(&pool.moved(&tested.cpus, &last), (total * MORE.powi(step)).min(half));
    }
    Ok(tested)
}

/// Goes down from a floor that stood its test, as long as a tenth less stands it too, in shares that follow what was seen.
fn lower(
    pool: &Pool,
    mut tested: Tested,
    mut last: Seen,
    mut attempt: impl FnMut(&[f64], Aim) -> anyhow::Result<Seen>,
) -> anyhow::Result<Tested> {
    for _ in 0..ROUNDS {
        let total = pool.total(&tested.cpus);
        let below = pool.scaled(&pool.moved(&tested.cpus, &last), total * BELOW);
        // At the bottom nobody can be given less.
        if pool.total(&below) > total - 1e-9 {
            return Ok(Tested { is_confirmed: true, ..tested });
        }
        let (passes_below, seen) = passes(&below, Aim::Below, &mut attempt)?;
        if !seen.passed {
            return Ok(Tested { is_confirmed: true, passes_below, ..tested });
        }
        last = seen;
        tested.too_high.push(std::mem::replace(&mut tested.cpus, below));
    }
    Ok(tested)
}

/// How often in a row something passes, at most [`PASSES`] times, and what was seen the last time.
fn passes(
    cpus: &[f64],
    aim: Aim,
    attempt: &mut impl FnMut(&[f64], Aim) -> anyhow::Result<Seen>,
) -> anyhow::Result<(usize, Seen)> {
    let mut passes = 0;
    loop {
        let seen = attempt(cpus, aim)?;
        passes += usize::from(seen.passed);
        if !seen.passed || passes == PASSES {
            return Ok((passes, seen));
        }
    }
}

fn is_still(before: &[f64], after: &[f64]) -> bool {
    before.iter().zip(after).all(|(before, after)| (after / before - 1.0).abs() < STILL)
}

fn round(cpus: f64) -> f64 {
    (cpus * STEPS).round() / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack that passes where each container has what it needs, and throttles whoever has not.
    struct Stack {
        needs: Vec<f64>,
        attempts: Vec<(Aim, Vec<f64>, bool)>,
        /// How much more it needs at full length than in short.
        longer: f64,
    }

    impl Stack {
        fn new(needs: &[f64]) -> Self {
            Self { needs: needs.to_vec(), attempts: Vec::new(), longer: 1.0 }
        }

        fn attempt(&mut self, cpus: &[f64], aim: Aim) -> anyhow::Result<Seen> {
            let factor = if matches!(aim, Aim::Confirm | Aim::Below) { self.longer } else { 1.0 };
            let ratios: Vec<f64> = self.needs.iter().zip(cpus).map(|(need, cpus)| factor * need / cpus).collect();
            let passed = ratios.iter().all(|ratio| *ratio <= 1.0);
            self.attempts.push((aim, cpus.to_vec(), passed));
            Ok(Seen {
                passed,
                throttled: ratios.iter().map(|ratio| (ratio - 0.5).clamp(0.0, 1.0)).collect(),
                // Unhindered, everybody uses more than he needs, and not in the proportion of needs.
                used: self.needs.iter().enumerate().map(|(nth, need)| need * (1.3 + 0.2 * nth as f64)).collect(),
            })
        }
    }

    fn pool() -> Pool {
        Pool { containers: vec![1.0, 2.0, 1.0] }
    }

    #[test]
    fn the_floor_of_stacks_of_all_shapes_is_found_in_few_attempts() {
        let pool = pool();
        for needs in [[0.08, 0.03, 0.08], [0.02, 0.1, 0.05], [0.4, 0.05, 0.1], [0.012, 0.015, 0.6], [0.3, 0.3, 0.3]] {
            let mut stack = Stack::new(&needs);
            let all = pool.scaled(&[0.45, 0.25, 0.55], 1.5);
            let all = if pool.total(&needs) > 1.0 { vec![0.4, 0.35, 0.4] } else { all };
            if !stack.attempt(&all, Aim::Learn).unwrap().passed {
                continue;
            }
            stack.attempts.clear();
            let found = narrow(&pool, &all, |cpus, aim| stack.attempt(cpus, aim)).unwrap().unwrap();
            let (least, total) = (pool.total(&needs), pool.total(&found));
            assert!(total < least * 1.2, "{needs:?}: {total} for {least}");
            assert!(stack.attempts.len() <= 22, "{needs:?}: {}", stack.attempts.len());
            assert!(stack.attempts.iter().all(|(_, cpus, _)| pool.total(cpus) <= 1.5 + 1e-9));
            let (_, last, passed) = stack.attempts.iter().rfind(|(_, cpus, _)| *cpus == found).unwrap();
            assert!(*passed, "{last:?}");
            let tested = confirm(&pool, found, &all, |cpus, aim| stack.attempt(cpus, aim)).unwrap();
            assert!(tested.is_confirmed && pool.total(&tested.cpus) < least * 1.2, "{needs:?}: {tested:?}");
        }
    }

    #[test]
    fn a_stack_that_fails_with_all_has_no_floor() {
        let mut stack = Stack::new(&[9.0, 9.0, 9.0]);
        assert_eq!(narrow(&pool(), &[0.5, 0.25, 0.5], |cpus, aim| stack.attempt(cpus, aim)).unwrap(), None);
        assert_eq!(stack.attempts.len(), 1);
    }

    #[test]
    fn a_floor_that_is_wrong_is_caught_and_raised() {
        let pool = pool();
        let mut stack = Stack { longer: 1.2, ..Stack::new(&[0.08, 0.03, 0.08]) };
        let wrong = vec![0.08, 0.03, 0.08];
        let tested = confirm(&pool, wrong.clone(), &[0.5, 0.25, 0.5], |cpus, aim| stack.attempt(cpus, aim)).unwrap();
        assert!(tested.is_confirmed && tested.wrong[0] == wrong, "{tested:?}");
        let total = pool.total(&tested.cpus);
        assert!((0.264..0.33).contains(&total), "{total}");
    }

    #[test]
    fn a_floor_that_is_too_high_is_caught_and_lowered() {
        let pool = pool();
        let mut stack = Stack::new(&[0.08, 0.03, 0.08]);
        let high = vec![0.16, 0.06, 0.16];
        let tested = confirm(&pool, high.clone(), &[0.5, 0.25, 0.5], |cpus, aim| stack.attempt(cpus, aim)).unwrap();
        assert!(tested.is_confirmed && tested.too_high[0] == high, "{tested:?}");
        assert!(pool.total(&tested.cpus) < 0.26, "{tested:?}");
    }

    #[test]
    fn a_floor_that_takes_all_that_there_is_is_found_in_a_few_steps() {
        let (pool, all) = (pool(), [0.5, 0.25, 0.5]);
        let mut totals = Vec::new();
        let tested = confirm(&pool, pool.scaled(&all, 1.41), &all, |cpus, _| {
            totals.push(pool.total(cpus));
            Ok(Seen { passed: pool.total(cpus) >= 1.499 - 1e-9, throttled: vec![0.5; 3], used: cpus.to_vec() })
        });
        assert!(tested.unwrap().is_confirmed && totals.len() <= 6, "{totals:?}");
    }

    #[test]
    fn a_tenth_less_that_passes_once_and_not_again_is_below_the_floor() {
        let pool = pool();
        let mut lower = 0;
        let tested = confirm(&pool, vec![0.1, 0.1, 0.1], &[0.5, 0.25, 0.5], |cpus, aim| {
            let is_floor = pool.total(cpus) >= 0.4 - 1e-9;
            assert_eq!(aim == Aim::Confirm, is_floor);
            lower += usize::from(!is_floor);
            Ok(Seen { passed: is_floor || lower < 3, throttled: vec![0.5; cpus.len()], used: cpus.to_vec() })
        });
        let tested = tested.unwrap();
        assert!(tested.is_confirmed && tested.cpus == [0.1, 0.1, 0.1], "{tested:?}");
        assert_eq!((tested.passes_below, tested.too_high.len()), (2, 0));
    }

    #[test]
    fn what_passes_now_and_then_is_not_called_a_floor() {
        let mut coin = 0;
        let tested = confirm(&pool(), vec![0.1, 0.1, 0.1], &[0.5, 0.25, 0.5], |cpus, _| {
            coin += 1;
            Ok(Seen { passed: coin % 3 > 0, throttled: vec![0.5; cpus.len()], used: cpus.to_vec() })
        });
        assert!(!tested.unwrap().is_confirmed);
    }

    #[test]
    fn a_better_split_of_a_total_is_found_and_a_good_one_stays() {
        let pool = pool();
        let needs = [0.5, 0.1, 0.3];
        // As long as the shortest of all makes everybody wait.
        let mut attempt = |cpus: &[f64], _: Aim| {
            let ratios: Vec<f64> = needs.iter().zip(cpus).map(|(need, cpus)| need / cpus).collect();
            let throttled = ratios.iter().map(|ratio| (ratio - 0.5).clamp(0.0, 1.0)).collect();
            let seen = Seen { passed: true, throttled, used: needs.to_vec() };
            Ok((seen, ratios.iter().copied().fold(0.0, f64::max)))
        };
        let found = divide(&pool, &[0.3, 0.3, 0.3], &mut attempt).unwrap();
        assert!(found[0] > 0.5 && (pool.total(&found) - 1.2).abs() < 0.01, "{found:?}");
        assert_eq!(divide(&pool, &[0.6, 0.12, 0.36], &mut attempt).unwrap(), [0.6, 0.12, 0.36]);
    }

    #[test]
    fn shares_keep_their_total_and_nobody_falls_below_the_least() {
        let pool = pool();
        let seen = |passed| Seen { passed, throttled: vec![0.9, 0.0, 0.1], used: Vec::new() };
        let moved = pool.moved(&[0.1, 0.05, 0.1], &seen(false));
        assert!(pool.moved(&[0.1, 0.05, 0.1], &seen(true))[0] < moved[0]);
        assert!(moved[0] > 0.1 && moved[1] < 0.05, "{moved:?}");
        assert!((pool.total(&moved) - 0.3).abs() < 0.003, "{moved:?}");
        for total in [0.04, 0.05, 0.1, 0.7, 1.0, 1.499, 1.5] {
            let scaled = pool.scaled(&[0.5, 0.002, 0.1], total);
            assert!(scaled.iter().all(|cpus| *cpus >= LEAST), "{scaled:?}");
            assert!((pool.total(&scaled) - total).abs() < 0.003, "{scaled:?}");
            assert!(pool.total(&scaled) <= total + 1e-9, "{scaled:?}");
        }
    }
}
