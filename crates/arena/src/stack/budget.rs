//! The budget that the services of a stack share, and whether they keep to it.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::compose::bytes;
use crate::record::metric::grouped;
use crate::record::run::{Limit, Outcome};

/// What all services may use together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    cpus: f64,
    memory_bytes: u64,
}

/// Sums of decimal fractions differ from what they should be by less.
const ROUNDING: f64 = 1e-6;

impl Budget {
    /// That of the contest, in the words of the command line.
    pub const CONTEST: &str = "1.5,3g";

    /// CPUs that all services may use together.
    pub fn cpus(&self) -> f64 {
        self.cpus
    }

    /// Bytes of memory that all services may use together.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// What is wrong with the limits of services, with the sum and what to do; none where they keep to the budget.
    pub fn fault(&self, limits: &[Limit]) -> Option<(Outcome, String)> {
        let without =
            |has: fn(&Limit) -> bool| limits.iter().filter(move |limit| !has(limit)).map(|limit| &limit.service);
        let unlimited: Vec<String> = without(|limit| limit.cpus.is_some())
            .map(|service| format!("{service} on its CPUs"))
            .chain(without(|limit| limit.memory_bytes.is_some()).map(|service| format!("{service} on its memory")))
            .collect();
        if !unlimited.is_empty() || limits.is_empty() {
            let who = if limits.is_empty() { "any service".to_owned() } else { unlimited.join(", ") };
            return Some((
                Outcome::NoBudget,
                format!(
                    "no limit holds {who}, so nothing can be said of the budget of {self}; give each service both under \
                     deploy.resources.limits, on a machine where they can be set, or ask for --no-limits"
                ),
            ));
        }
        let sum = Self {
            cpus: limits.iter().filter_map(|limit| limit.cpus).sum(),
            memory_bytes: limits.iter().filter_map(|limit| limit.memory_bytes).sum(),
        };
        let is_over = sum.cpus > self.cpus + ROUNDING || sum.memory_bytes > self.memory_bytes;
        is_over.then(|| {
            let advice = "lower deploy.resources.limits, or allow more with --budget";
            (Outcome::OverBudget, format!("the services together may use {sum}, and the budget is {self}; {advice}"))
        })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In the powers of 1024 that Compose files and `--budget` mean.
        let gibibytes = (100.0 * self.memory_bytes as f64 / f64::from(1 << 30)).round() / 100.0;
        write!(out, "{} CPUs and {} GiB", grouped(self.cpus), grouped(gibibytes))
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text} is no budget; want CPUs and memory, such as {}", Self::CONTEST);
        let (cpus, memory) = text.split_once(',').ok_or_else(wanted)?;
        let cpus = cpus.trim().parse().ok().filter(|cpus: &f64| cpus.is_finite() && *cpus > 0.0);
        let memory_bytes = bytes(&Value::from(memory.trim())).filter(|bytes| *bytes > 0);
        let (cpus, memory_bytes) = cpus.zip(memory_bytes).ok_or_else(wanted)?;
        Ok(Self { cpus, memory_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(service: &str, cpus: f64, memory_bytes: u64) -> Limit {
        let given = |any: bool| any.then_some(());
        Limit {
            service: service.into(),
            cpus: given(cpus > 0.0).map(|()| cpus),
            memory_bytes: given(memory_bytes > 0).map(|()| memory_bytes),
        }
    }

    #[test]
    fn the_sum_of_all_services_counts() {
        let budget: Budget = Budget::CONTEST.parse().unwrap();
        let outcome = |limits: &[Limit]| budget.fault(limits).map(|(outcome, _)| outcome);
        // Ten tenths and more are not quite one and a half.
        let tenths: Vec<Limit> = (0..15).map(|_| limit("api", 0.1, 200 << 20)).collect();
        assert_eq!(outcome(&tenths), None);
        assert_eq!(outcome(&[tenths.clone(), vec![limit("db", 0.01, 1)]].concat()), Some(Outcome::OverBudget));
        assert_eq!(outcome(&[limit("db", 1.5, (3 << 30) + 1)]), Some(Outcome::OverBudget));
        assert_eq!(outcome(&[limit("db", 1.5, 0)]), Some(Outcome::NoBudget));
        assert_eq!(outcome(&[limit("api", 9.0, 1), limit("db", 0.0, 1)]), Some(Outcome::NoBudget));
        assert_eq!(outcome(&[]), Some(Outcome::NoBudget));
    }

    #[test]
    fn a_fault_tells_the_sum_and_who_it_is() {
        let budget: Budget = "1.5, 3gb".parse().unwrap();
        let (_, over) = budget.fault(&[limit("api", 2.0, 1 << 30), limit("db", 0.45, 1 << 30)]).unwrap();
        assert!(over.contains("2.45 CPUs") && over.contains("1.5 CPUs") && over.contains("--budget"), "{over}");
        let (_, none) = budget.fault(&[limit("api", 0.0, 1), limit("db", 1.0, 0)]).unwrap();
        assert!(none.contains("api on its CPUs, db on its memory"), "{none}");
        assert!(
            ["", "1.5", "x,3g", "1.5,y", "0,3g", "1.5,0", "-1,3g", "inf,3g"]
                .iter()
                .all(|text| text.parse::<Budget>().is_err())
        );
    }
}
