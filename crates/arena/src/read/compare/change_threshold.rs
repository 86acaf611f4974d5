//! Thresholds on changes: `create.p99:+10%`, `db.cpu_ms_per_thousand:+2ms`, `failed:+0`, `rate:-5%`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::Difference;
use crate::record::metric::Metric;

/// How far a figure may move one way.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The figure.
    pub metric: Metric,
    /// The largest change allowed; negative where the figure must not fall.
    allowed: f64,
    /// Whether `allowed` is a percentage of the base, and not in the figure's unit.
    relative: bool,
    /// Whether the figure must not fall; kept apart because `-0` is a limit too.
    falling: bool,
    text: String,
}

/// A threshold and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The threshold as it was set.
    pub threshold: String,
    /// The change found, in percent or in the figure's unit, as the threshold has it; none where it is a percentage of nothing.
    pub change: Option<f64>,
    /// Whether the change went beyond.
    pub missed: bool,
}

impl Threshold {
    /// Whether the mean change keeps within the threshold. Noise is no excuse: run more pairs to make it small. Any
    /// growth from nothing is more than any percentage.
    pub fn check(&self, difference: &Difference) -> Checked {
        let change = if self.relative { difference.percent } else { Some(difference.change) };
        let from_nothing = if difference.change == 0.0 { 0.0 } else { f64::INFINITY.copysign(difference.change) };
        let found = change.unwrap_or(from_nothing);
        let missed = if self.falling { found < self.allowed } else { found > self.allowed };
        Checked { threshold: self.text.clone(), change, missed }
    }
}

impl FromStr for Threshold {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let example = || format!("{text:?} is no threshold; one looks like create.p99:+10% or create.p99:+2ms");
        let (name, change) = text.rsplit_once(':').with_context(example)?;
        let metric = Metric::parse(name)?;
        let change = change.trim();
        ensure!(change.starts_with(['+', '-']), example());
        let number_ends = change.find(|c: char| !"+-.0123456789".contains(c)).unwrap_or(change.len());
        let (number, sign) = change.split_at(number_ends);
        let allowed: f64 = number.parse().ok().with_context(example)?;
        let unit = metric.unit().sign();
        let sign = sign.trim();
        ensure!(
            sign == "%" || sign.is_empty() || sign == unit,
            "{text:?}: {name} is {}, so {sign:?} does not fit",
            if unit.is_empty() { "a count".to_owned() } else { format!("in {unit}") }
        );
        Ok(Self { metric, allowed, relative: sign == "%", falling: change.starts_with('-'), text: text.to_owned() })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::compare::difference;

    #[test]
    fn changes_beyond_the_threshold_miss_it() {
        let missed = |threshold: &str, base: f64, new: f64| {
            let threshold: Threshold = threshold.parse().unwrap();
            threshold.check(&difference(&threshold.metric, &[base], &[new], None, 0.0)).missed
        };
        assert!(!missed("create.p99:+10%", 10.0, 11.0));
        assert!(missed("create.p99:+10%", 10.0, 11.1));
        assert!(!missed("create.p99:+10%", 10.0, 1.0));
        assert!(!missed("create.p99:+2ms", 10.0, 12.0));
        assert!(missed("create.p99:+2", 10.0, 12.1));
        assert!(missed("failed:+0", 0.0, 1.0));
        assert!(!missed("failed:+0", 1.0, 1.0));
        assert!(missed("failed:+50%", 0.0, 1.0));
        assert!(!missed("failed:+0%", 0.0, 0.0));
        assert!(missed("people.stored:-0", 46_576.0, 46_575.0));
        assert!(!missed("rate:-5%", 100.0, 96.0));
        assert!(missed("rate:-5%", 100.0, 94.0));
    }

    #[test]
    fn a_threshold_that_cannot_be_meant_is_refused() {
        for text in [
            "",
            "create.p99",
            "create.p99:10%",
            "create.p99:+",
            "create.p99:+1s",
            "failed:+1ms",
            "nope:+1%",
            "failed:+-1",
        ] {
            assert!(text.parse::<Threshold>().is_err(), "{text:?}");
        }
    }
}
