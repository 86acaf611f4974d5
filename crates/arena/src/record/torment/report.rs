//! What a history comes to: the document for programs, and whether it passes.

use serde::{Deserialize, Serialize};

use super::check::{Findings, check};
use super::recovery::{Effect, Summary, effects, summaries};
use super::{CLUSTER, Header, History};

/// Of the document's format.
const SCHEMA: u32 = 1;

/// A stack serves again so soon behind the end of any one process, in milliseconds.
const SERVED_WITHIN_MS: f64 = 5_000.0;

/// Faults that leave one instance to serve everybody.
const ONE_INSTANCE_DEAD: [&str; 4] = ["kill-api1", "kill-api2", "restart-api1", "restart-api2"];

/// What came of a torment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of this format.
    pub schema: u32,
    /// What was asked for.
    pub header: Header,
    /// Whether nothing is wrong with the history and every promise was kept.
    pub passed: bool,
    /// What of both is not so.
    pub reasons: Vec<String>,
    /// Requests in all.
    pub requests: usize,
    /// Those that failed.
    pub failed: usize,
    /// People stored in the end.
    pub people: usize,
    /// What is wrong with the history.
    pub findings: Findings,
    /// What the faults of each name did.
    pub faults: Vec<Summary>,
    /// What each fault did, in order.
    pub effects: Vec<Effect>,
}

impl Report {
    /// Checks a history.
    pub fn of(history: &History) -> Self {
        let findings = check(&history.requests, &history.rows);
        let effects = effects(history);
        let reasons = reasons(&findings, &effects, history.header.engine == CLUSTER);
        Self {
            schema: SCHEMA,
            header: history.header.clone(),
            passed: reasons.is_empty(),
            reasons,
            requests: history.requests.len(),
            failed: history.requests.iter().filter(|request| request.failed()).count(),
            people: history.rows.len(),
            findings,
            faults: summaries(&effects),
            effects,
        }
    }
}

fn reasons(findings: &Findings, effects: &[Effect], of_cluster: bool) -> Vec<String> {
    let found = findings.kinds().into_iter().filter(|(_, found)| !found.is_empty());
    let found = found.map(|(kind, found)| format!("{} {kind}: {}", found.len(), found[0]));
    let broken = effects.iter().zip(1..).filter_map(|(effect, nth)| {
        let promise = broken_promise(effect, of_cluster)?;
        Some(format!("fault {nth}, {}: {promise}", effect.name))
    });
    found.chain(broken).collect()
}

/// What the stack promises of any one fault, and did not keep. A cluster promises no times.
fn broken_promise(effect: &Effect, of_cluster: bool) -> Option<String> {
    let process_died = !of_cluster && ["kill-", "restart-"].iter().any(|kind| effect.name.starts_with(kind));
    let late = |time: Option<f64>| time.is_none_or(|time| time > SERVED_WITHIN_MS);
    if effect.served_ms.is_none() {
        return Some("nobody was served again".into());
    }
    if process_died && (late(effect.served_ms) || late(effect.back_ms)) {
        return Some(format!("it took more than {} s to come back and serve", SERVED_WITHIN_MS / 1e3));
    }
    let one_dead = ONE_INSTANCE_DEAD.contains(&effect.name.as_str());
    (one_dead && effect.failed > 0).then(|| format!("{} requests failed with one instance dead", effect.failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(name: &str, failed: usize, served_ms: Option<f64>) -> Effect {
        let (without_writes_ms, without_reads_ms) = (1.0, 1.0);
        Effect {
            name: name.into(),
            failed,
            slowest_ms: 1.0,
            back_ms: served_ms,
            served_ms,
            without_writes_ms,
            without_reads_ms,
        }
    }

    #[test]
    fn each_promise_can_be_broken() {
        for (effect, promise) in [
            (effect("kill-db", 9, Some(700.0)), None),
            (effect("kill-db", 9, Some(5_100.0)), Some("more than 5 s")),
            (effect("stop-db", 9, Some(5_100.0)), None),
            (effect("stop-db", 9, None), Some("nobody was served")),
            (effect("kill-api1", 0, Some(9.0)), None),
            (effect("kill-api1", 1, Some(9.0)), Some("one instance dead")),
        ] {
            let told = broken_promise(&effect, false);
            assert_eq!(told.is_some(), promise.is_some(), "{effect:?}");
            assert!(promise.is_none_or(|promise| told.unwrap().contains(promise)), "{effect:?}");
        }
        assert_eq!(broken_promise(&effect("kill-primary", 9, Some(30_000.0)), true), None);
        assert!(broken_promise(&effect("kill-primary", 9, None), true).is_some());
    }
}
