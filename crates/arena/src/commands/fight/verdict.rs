//! The judgement over a bout, and the one table that shows it.

use std::collections::BTreeMap;

use crate::exit::Exit;
use crate::read::costs::{self, COLUMNS};
use crate::record::metric::grouped;
use crate::record::run::{Durability, Outcome, People, Requests, Run, Verdict};
use crate::terminal;

/// Judges a bout. `errors` is what went wrong outside of requests.
pub fn judge(
    requests: &[Requests],
    errors: &BTreeMap<String, u64>,
    people: &People,
    durability: &Durability,
) -> Verdict {
    let mut reasons = Vec::new();
    for requests in requests {
        for (reason, count) in &requests.failures {
            reasons.push(format!("{} of {} {} requests failed: {reason}", count, requests.count, requests.kind));
        }
    }
    for (error, count) in errors {
        reasons.push(format!("{count} times: {error}"));
    }
    if requests.iter().all(|requests| requests.count == 0) {
        reasons.push("no request was sent".into());
    }
    if people.stored < people.ceiling {
        reasons.push(format!("{} people are lost or were refused", people.ceiling - people.stored));
    }
    if people.stored > 0 && !requests.iter().any(|requests| requests.kind == "create") {
        reasons
            .push("how many people there should be cannot be told: no request is named `create` or `criação`".into());
    } else if people.stored > people.ceiling {
        reasons.push(format!("{} people should not have been stored", people.stored - people.ceiling));
    }
    if people.acknowledged.is_some_and(|acknowledged| acknowledged > people.stored) {
        reasons.push("more people were acknowledged than are stored".into());
    }
    if !durability.fsync || durability.synchronous_commit == "off" {
        reasons.push("PostgreSQL is set to answer before a commit is on disk".into());
    }
    let outcome = if reasons.is_empty() { Outcome::Clean } else { Outcome::Failed };
    Verdict { outcome, reasons }
}

/// The exit status for an outcome.
pub fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Clean | Outcome::Suspect => Exit::Good,
        Outcome::Failed => Exit::Failed,
        Outcome::Invalid => Exit::Invalid,
    }
}

type Row = [String; COLUMNS];

const REQUESTS: [&str; COLUMNS] = ["requests", "count", "failed", "p50 ms", "p75 ms", "p95 ms", "p99 ms", "max ms"];

/// The verdict as one Markdown table, readable in a terminal too, with the reasons above it and the conditions below.
pub fn table(run: &Run) -> String {
    let mut text = headline(run);
    for reason in &run.verdict.reasons {
        text.push_str(&format!("\n- {reason}"));
    }
    text.push_str("\n\n");
    text.push_str(&terminal::markdown(&REQUESTS, rows(run), 1..COLUMNS));
    text.push_str("\n\n");
    text.push_str(&conditions(run));
    text
}

fn headline(run: &Run) -> String {
    let outcome = run.verdict.outcome.word();
    let requests: u64 = run.requests.iter().map(|requests| requests.count).sum();
    let failed: u64 = run.requests.iter().map(Requests::failed).sum();
    let people = run.people.map_or(String::new(), |people| {
        format!("{} people stored of {}, ", grouped(people.stored as f64), grouped(people.ceiling as f64))
    });
    format!(
        "**{outcome}**: {people}{} of {} requests failed, in {:.0} s",
        grouped(failed as f64),
        grouped(requests as f64),
        run.seconds
    )
}

fn rows(run: &Run) -> Vec<Row> {
    let mut rows: Vec<Row> = run.requests.iter().map(request_row).collect();
    rows.push(bold(costs::HEADINGS));
    rows.extend(costs::rows(run));
    if let Some(people) = &run.people {
        rows.push(bold(["people", "stored", "ceiling", "lost", "extra", "", "", ""]));
        let number = |number: u64| grouped(number as f64);
        rows.push([
            String::new(),
            number(people.stored),
            number(people.ceiling),
            number(people.ceiling.saturating_sub(people.stored)),
            number(people.stored.saturating_sub(people.ceiling)),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    rows
}

fn request_row(requests: &Requests) -> Row {
    let time = |milliseconds: f64| format!("{milliseconds:.1}");
    let times = &requests.response;
    [
        requests.kind.clone(),
        grouped(requests.count as f64),
        grouped(requests.failed() as f64),
        time(times.p50),
        time(times.p75),
        time(times.p95),
        time(times.p99),
        time(times.max),
    ]
}

fn bold(cells: [&str; COLUMNS]) -> Row {
    cells.map(|cell| if cell.is_empty() { String::new() } else { format!("**{cell}**") })
}

fn conditions(run: &Run) -> String {
    let mut text = String::new();
    if let Some(durability) = &run.durability {
        let honoured = if durability.honoured { "honoured" } else { "NOT honoured" };
        text.push_str(&format!(
            "Disk flushes: {honoured} (fsync {}, synchronous_commit {}, {} flushes of the log, {} µs each).  \n",
            if durability.fsync { "on" } else { "off" },
            durability.synchronous_commit,
            durability.wal_syncs.map_or("uncounted".into(), |syncs| grouped(syncs as f64)),
            durability.flush_median_us.map_or("unknown".into(), |median| format!("{median:.0}")),
        ));
    }
    let versions: Vec<String> = run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let machine = &run.machine;
    text.push_str(&format!(
        "Settings: {} engine, {} vocabulary, rates x{}, durations x{}, commit {}.  \n",
        run.settings.engine,
        run.settings.vocabulary,
        run.settings.rate_factor,
        run.settings.duration_factor,
        run.commit.as_deref().unwrap_or("unknown"),
    ));
    text.push_str(&format!("Versions: {}.  \n", versions.join(", ")));
    text.push_str(&format!(
        "Machine: {} x {}, {} GiB, {}, {}, cgroup {}.",
        machine.cores,
        machine.cpu,
        machine.memory_bytes >> 30,
        machine.os,
        machine.kernel,
        machine.cgroup,
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durability() -> Durability {
        Durability {
            fsync: true,
            synchronous_commit: "on".into(),
            wal_syncs: Some(7),
            flush_median_us: Some(400.0),
            honoured: true,
        }
    }

    fn creates(failures: &[(&str, u64)]) -> Vec<Requests> {
        vec![Requests {
            kind: "create".into(),
            count: 10,
            failures: failures.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            statuses: BTreeMap::new(),
            response: Default::default(),
            service: None,
            histogram: None,
        }]
    }

    fn outcome(requests: &[Requests], stored: u64, acknowledged: u64, durability: &Durability) -> Verdict {
        let people = People { stored, ceiling: 9, acknowledged: Some(acknowledged) };
        judge(requests, &BTreeMap::new(), &people, durability)
    }

    #[test]
    fn only_a_bout_without_any_fault_is_clean() {
        assert_eq!(outcome(&creates(&[]), 9, 9, &durability()).outcome, Outcome::Clean);
        assert_eq!(outcome(&creates(&[("status 502", 1)]), 9, 9, &durability()).outcome, Outcome::Failed);
        assert_eq!(outcome(&creates(&[]), 8, 8, &durability()).reasons, ["1 people are lost or were refused"]);
        assert_eq!(outcome(&creates(&[]), 10, 9, &durability()).reasons, ["1 people should not have been stored"]);
        assert_eq!(outcome(&creates(&[]), 9, 10, &durability()).outcome, Outcome::Failed);
        assert_eq!(outcome(&[], 9, 9, &durability()).outcome, Outcome::Failed);
        let careless = Durability { fsync: false, ..durability() };
        assert_eq!(outcome(&creates(&[]), 9, 9, &careless).outcome, Outcome::Failed);
    }

    #[test]
    fn only_a_clean_bout_ends_well() {
        assert_eq!(exit(Outcome::Clean), Exit::Good);
        assert_eq!(exit(Outcome::Failed), Exit::Failed);
        assert_eq!(exit(Outcome::Invalid), Exit::Invalid);
    }

    #[test]
    fn a_simulation_whose_creates_have_another_name_is_told_so() {
        let requests: Vec<Requests> =
            creates(&[]).into_iter().map(|requests| Requests { kind: "POST".into(), ..requests }).collect();
        let people = People { stored: 9, ceiling: 0, acknowledged: Some(0) };
        let reasons = judge(&requests, &BTreeMap::new(), &people, &durability()).reasons;
        assert!(reasons.len() == 1 && reasons[0].contains("no request is named"), "{reasons:?}");
    }

    #[test]
    fn errors_outside_of_requests_count() {
        let errors = BTreeMap::from([("no such session attribute".to_owned(), 2)]);
        let people = People { stored: 9, ceiling: 9, acknowledged: None };
        assert_eq!(judge(&creates(&[]), &errors, &people, &durability()).outcome, Outcome::Failed);
    }
}
