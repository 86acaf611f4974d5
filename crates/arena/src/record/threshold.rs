//! Thresholds on the figures of a run: `create.p99>50ms`, `failed>0`, `db.cpu_seconds<=10s`.

use std::fmt;
use std::str::FromStr;

use crate::record::metric::{Metric, Unit};
use crate::record::run::Run;

/// A comparison of a figure with a number.
#[derive(Clone, Debug)]
pub struct Threshold {
    metric: Metric,
    comparison: Comparison,
    /// In the metric's unit.
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Threshold {
    /// Whether the comparison holds for a run, and the figure; `None` where the run has no such figure.
    pub fn holds(&self, run: &Run) -> Option<(bool, f64)> {
        let value = self.metric.value(run)?;
        let holds = match self.comparison {
            Comparison::Above => value > self.bound,
            Comparison::AtLeast => value >= self.bound,
            Comparison::Below => value < self.bound,
            Comparison::AtMost => value <= self.bound,
        };
        Some((holds, value))
    }

    /// The figure that is compared.
    pub fn metric(&self) -> &Metric {
        &self.metric
    }

    /// A figure as the threshold's metric is shown.
    pub fn show(&self, value: f64) -> String {
        format!("{} is {}", self.metric, self.metric.unit().show(value))
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let operator = text.find(['<', '>']).ok_or("expected a comparison such as create.p99>50ms")?;
        let (name, rest) = text.split_at(operator);
        let signs = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ];
        let split = |(sign, comparison)| rest.strip_prefix(sign).map(|bound| (comparison, bound));
        let (comparison, bound) = signs.into_iter().find_map(split).ok_or("expected one of > >= < <=")?;
        let metric = Metric::parse(name.trim()).map_err(|error| error.to_string())?;
        let bound = number(bound.trim(), metric.unit())
            .ok_or_else(|| format!("{:?} is not a number{}", bound.trim(), unit_hint(metric.unit())))?;
        Ok(Self { metric, comparison, bound })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
        };
        write!(formatter, "{}{sign}{}{}", self.metric, self.bound, self.metric.unit().sign())
    }
}

/// Which of the thresholds a run misses, one sentence each: those of `forbidden` that hold, those of `required` that do
/// not, and those of either that cannot be told, as when a name is misspelt.
pub fn missed(run: &Run, forbidden: &[Threshold], required: &[Threshold]) -> Vec<String> {
    let forbidden = forbidden.iter().map(|threshold| (threshold, "fails on", false));
    let required = required.iter().map(|threshold| (threshold, "required:", true));
    let miss = |(threshold, word, wanted): (&Threshold, &str, bool)| match threshold.holds(run) {
        Some((holds, _)) if holds == wanted => None,
        Some((_, value)) => Some(format!("{} ({word} {threshold})", threshold.show(value))),
        None => Some(format!("this run does not tell {} ({word} {threshold})", threshold.metric)),
    };
    forbidden.chain(required).filter_map(miss).collect()
}

/// Reads a number with an optional sign of its unit, in units of the metric.
fn number(text: &str, unit: Unit) -> Option<f64> {
    let end = text.find(|char: char| !matches!(char, '0'..='9' | '.')).unwrap_or(text.len());
    let (digits, sign) = text.split_at(end);
    let number: f64 = digits.parse().ok()?;
    let sign = sign.trim();
    if sign.is_empty() {
        return Some(number);
    }
    let seconds = |unit| match unit {
        Unit::Seconds => Some(1.0),
        Unit::Milliseconds => Some(1e-3),
        Unit::Microseconds => Some(1e-6),
        _ => None,
    };
    let given = match sign {
        "s" => Some(Unit::Seconds),
        "ms" => Some(Unit::Milliseconds),
        "us" | "µs" => Some(Unit::Microseconds),
        _ => None,
    };
    let bytes = match sign {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => 0.0,
    };
    match unit {
        Unit::Percent if sign == "%" => Some(number),
        Unit::PerSecond if sign == "/s" => Some(number),
        Unit::Bytes if bytes > 0.0 => Some(number * bytes),
        unit => Some(number * (seconds(given?)? / seconds(unit)?)),
    }
}

fn unit_hint(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds | Unit::Seconds | Unit::Microseconds => " with us, ms or s behind it",
        Unit::Bytes => " with B, kB, MB or GB behind it",
        Unit::Percent => " with % behind it",
        Unit::PerSecond => " with /s behind it",
        Unit::Count => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_figures_comparisons_and_units() {
        for (text, bound, shown) in [
            ("create.p99>50ms", 50.0, "create.p99>50ms"),
            ("create.p99 >= 0.05 s", 50.0, "create.p99>=50ms"),
            ("fetch.service.p50<800us", 0.8, "fetch.service.p50<0.8ms"),
            ("failed>0", 0.0, "failed>0"),
            ("failed_percent<=0.1%", 0.1, "failed_percent<=0.1%"),
            ("db.memory_peak_bytes>1.5GB", 1.5e9, "db.memory_peak_bytes>1500000000B"),
            ("rate<100", 100.0, "rate<100/s"),
        ] {
            let threshold: Threshold = text.parse().unwrap();
            assert!((threshold.bound - bound).abs() < 1e-9, "{text}: {}", threshold.bound);
            assert_eq!(threshold.to_string(), shown);
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for text in
            ["", "create.p99", "create.p98>5ms", "create.p99>5%", "create.p99>ms", "failed>1ms", "failed>-1", "rate>>1"]
        {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
