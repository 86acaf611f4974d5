//! What pairs of runs say: better beyond the noise, or not, or how many would tell.

use crate::read::compare::{Judgement, Method, difference};
use crate::record::metric::Metric;
use crate::record::search::Compared;

/// Standard errors that 95 % of means are within, with many pairs.
const REACH: f64 = 1.96;

/// Pairs of which nobody would wait for the end.
const MOST: u64 = 10_000;

/// Compares what was measured before and after a change of `what`, pair by pair. `metric` says which way is better, and
/// `resolution` how finely the values are known.
pub fn compared(
    what: &str,
    values: [String; 2],
    [base, new]: [&[f64]; 2],
    metric: &Metric,
    resolution: f64,
) -> Compared {
    let method = Method::for_sizes(base.len(), new.len(), true);
    let found = difference(metric, base, new, method, resolution);
    let percent = |value: f64| 100.0 * value / found.base;
    let is_better = found.judgement == Judgement::Better;
    Compared {
        what: what.to_owned(),
        values,
        pairs: base.len(),
        means: [found.base, found.new],
        percent: found.percent.unwrap_or_default(),
        interval: found.interval.map(|interval| [percent(interval.low), percent(interval.high)]),
        is_better,
        would_do: (found.judgement == Judgement::WithinNoise).then(|| pairs_that_tell(base, new)).flatten(),
    }
}

/// Pairs of which the mean difference would leave the noise, if the difference is what it seems to be; none where there is none.
fn pairs_that_tell(base: &[f64], new: &[f64]) -> Option<u64> {
    let differences: Vec<f64> = new.iter().zip(base).map(|(new, base)| new - base).collect();
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let pairs = (REACH * REACH * variance / (mean * mean)).ceil();
    // Two more for what a small number of pairs does not know of its own spread.
    pairs.is_finite().then_some((pairs as u64).saturating_add(2)).filter(|pairs| *pairs <= MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(base: &[f64], new: &[f64]) -> Compared {
        let p99 = Metric::parse("create.p99").unwrap();
        compared("split", ["a".into(), "b".into()], [base, new], &p99, 0.0)
    }

    #[test]
    fn only_what_is_better_beyond_the_noise_is_better() {
        let better = pairs(&[10.0, 11.0, 10.5, 10.2], &[5.0, 5.6, 5.2, 5.1]);
        assert!(better.is_better && better.would_do.is_none() && better.percent < -45.0, "{better:?}");
        assert!(!pairs(&[5.0, 5.6, 5.2], &[10.0, 11.0, 10.5]).is_better);
        let noisy = pairs(&[5.0, 9.0, 7.0, 6.0], &[4.0, 8.5, 7.5, 5.5]);
        assert!(!noisy.is_better, "{noisy:?}");
        assert!((5..40).contains(&noisy.would_do.unwrap()), "{noisy:?}");
        assert_eq!(pairs(&[5.0, 6.0], &[6.0, 5.0]).would_do, None, "no difference at all");
    }
}
