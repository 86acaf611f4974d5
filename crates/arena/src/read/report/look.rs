//! Colours and dashes: the same run, kind of request or service looks alike in every chart, on every page.

use std::fmt;

use crate::record::metric::distinct;
use crate::record::run::Run;

/// Colours that the style sheet has, and ways to dash a line.
const STYLES: usize = 8;

/// Kinds and services that keep their colours whatever else a page shows. All others come behind them.
const KINDS: [&str; 4] = ["create", "fetch", "search", "invalid-search"];
const SERVICES: [&str; 4] = ["nginx", "api1", "api2", "db"];

/// Colour and dash of a line, written as its classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    colour: usize,
    dash: usize,
}

impl Look {
    /// Of a line that stands for all kinds or services together.
    pub(super) const NEUTRAL: Self = Self { colour: 6, dash: 0 };

    /// Of a kind of request among all of a page.
    pub(super) fn of_kind(kind: &str, all: &[&str]) -> Self {
        Self::of_name(kind, &KINDS, all)
    }

    /// Of a service among all of a page.
    pub(super) fn of_service(service: &str, all: &[&str]) -> Self {
        Self::of_name(service, &SERVICES, all)
    }

    /// Of each run of a page: a colour for each label, told apart by dashes where a label stands for several runs.
    pub(super) fn of_runs(runs: &[Run]) -> Vec<Self> {
        let labels = distinct(runs.iter().map(|run| &run.label));
        if labels.len() == 1 || labels.contains(&&None) {
            return (0..runs.len()).map(Self::nth).collect();
        }
        let has_sets = labels.len() < runs.len();
        let look = |(nth, run): (usize, &Run)| {
            let colour = labels.iter().position(|label| **label == run.label).unwrap_or_default();
            let repetition = runs[..nth].iter().filter(|before| before.label == run.label).count();
            Self { colour, dash: if has_sets { repetition } else { colour } }
        };
        runs.iter().enumerate().map(look).collect()
    }

    fn of_name(name: &str, known: &[&str], all: &[&str]) -> Self {
        let others = all.iter().filter(|other| !known.contains(other));
        let order: Vec<&str> = known.iter().chain(others).copied().collect();
        Self::nth(order.iter().position(|other| *other == name).unwrap_or_default())
    }

    /// The look of that number.
    pub(super) fn nth(nth: usize) -> Self {
        Self { colour: nth % STYLES, dash: nth % STYLES }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "c{} d{}", self.colour, self.dash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_keep_their_colours_and_no_two_names_share_one() {
        let all = ["redis", "db", "web"];
        let looks = all.map(|service| Look::of_service(service, &all).to_string());
        assert_eq!(looks, ["c4 d4", "c3 d3", "c5 d5"]);
        assert_eq!(Look::of_service("db", &["db"]), Look::of_service("db", &all));
        assert_eq!(Look::of_kind("search", &["search"]).to_string(), "c2 d2");
    }
}
