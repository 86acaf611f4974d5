//! Gatling's own results as a run, with all that Gatling cannot know left out.

use std::collections::BTreeMap;
use std::path::Path;

use super::results::read_results;
use crate::record::run::{Driver, Judged, Machine, Outcome, Run, SCHEMA, Settings, Verdict};

/// What stands for the vocabulary, as results do not tell it.
const UNKNOWN: &str = "unknown";

/// What results alone cannot tell.
const UNCHECKED: &str = "everything but the statuses of answers: Gatling's results hold nothing else";

/// Reads a results directory of Gatling.
///
/// # Errors
/// As [`read_results`].
pub fn read(directory: &Path) -> anyhow::Result<Run> {
    let results = read_results(directory)?;
    let name =
        results.directory.file_name().map_or_else(|| results.simulation.clone().into(), |name| name.to_string_lossy());
    let mut reasons: Vec<String> = results
        .requests
        .iter()
        .flat_map(|kind| kind.failures.iter().map(|(reason, count)| format!("{count} × {}: {reason}", kind.kind)))
        .collect();
    reasons.extend(results.errors.iter().map(|(message, count)| format!("{count} × {message}")));
    let outcome = if reasons.is_empty() { Outcome::Clean } else { Outcome::Failed };
    Ok(Run {
        schema: SCHEMA,
        id: name.into_owned(),
        driver: Driver::Gatling,
        label: None,
        started: results.started.to_string(),
        seconds: results.seconds,
        commit: None,
        settings: Settings {
            engine: "external".to_owned(),
            vocabulary: UNKNOWN.to_owned(),
            profile: results.simulation,
            target: String::new(),
            rate_factor: 1.0,
            duration_factor: 1.0,
            more: BTreeMap::new(),
        },
        budget: Vec::new(),
        versions: BTreeMap::from([("gatling".to_owned(), results.version)]),
        machine: Machine::default(),
        judged: Judged::new(Verdict { outcome, reasons, unchecked: vec![UNCHECKED.to_owned()] }, None),
        requests: results.requests,
        services: Vec::new(),
        durability: None,
        generator: None,
        steps: Vec::new(),
        series: results.series,
    })
}
