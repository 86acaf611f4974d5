//! The verdict over a run: clean, failed, suspect or invalid, why, and with which exit status the program then ends.

use std::collections::BTreeMap;

use super::bench::census::Census;
use crate::exit::Exit;
use crate::load::driver::drive::Driven;
use crate::load::driver::strain::Strain;
use crate::record::metric::grouped;
use crate::record::run::{Durability, Outcome, People, Requests, Verdict};

/// The verdict over a bout. `errors` is what went wrong outside of requests. Gatling does not say how hard it had it.
pub fn of_bout(
    requests: &[Requests],
    errors: &BTreeMap<String, u64>,
    people: &People,
    durability: &Durability,
) -> Verdict {
    weigh((Strain::None, Vec::new()), bout_faults(requests, errors, people, durability), false)
}

/// The verdict over a bout of an entry, whose database is out of reach. `more` is what its containers betray.
pub fn of_entry(
    requests: &[Requests],
    errors: &BTreeMap<String, u64>,
    people: Option<&People>,
    more: Vec<String>,
) -> Verdict {
    let mut faults = request_faults(requests, errors);
    faults.extend(people.into_iter().flat_map(|people| people_faults(requests, people)));
    faults.extend(more);
    weigh((Strain::None, Vec::new()), faults, false)
}

/// The verdict over a run of the driver: first over the driver, then over the server. Where load was raised until something
/// gave, failed requests are no fault.
pub fn of_driven(driven: &Driven, requests: &[Requests], census: Option<&Census>) -> Verdict {
    let is_ramp = !driven.steps.is_empty();
    // Of what was on its way when the run was stopped, nobody knows what became of it.
    let unknown = driven.monitor.unknown + driven.monitor.in_flight;
    weigh(driven.strain.clone(), driven_faults(requests, census, unknown, is_ramp), driven.stopped)
}

/// The exit status for an outcome.
pub fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Clean | Outcome::Suspect => Exit::Good,
        Outcome::Failed => Exit::Failed,
        Outcome::Invalid => Exit::Invalid,
    }
}

/// A generator that was the bottleneck says nothing of the server; a fault of the server weighs more than a generator that
/// was late now and then, or a run that was stopped before its end.
fn weigh((strain, signs): (Strain, Vec<String>), faults: Vec<String>, stopped: bool) -> Verdict {
    if strain == Strain::TooMuch {
        return Verdict { outcome: Outcome::Invalid, reasons: signs };
    }
    if !faults.is_empty() {
        return Verdict { outcome: Outcome::Failed, reasons: faults };
    }
    if stopped {
        let reasons = [signs, vec!["stopped before its end".into()]].concat();
        return Verdict { outcome: Outcome::Suspect, reasons };
    }
    let outcome = if strain == Strain::Noticeable { Outcome::Suspect } else { Outcome::Clean };
    Verdict { outcome, reasons: signs }
}

fn bout_faults(
    requests: &[Requests],
    errors: &BTreeMap<String, u64>,
    people: &People,
    durability: &Durability,
) -> Vec<String> {
    let mut faults = request_faults(requests, errors);
    faults.extend(people_faults(requests, people));
    if !durability.fsync || durability.synchronous_commit == "off" {
        faults.push("PostgreSQL is set to answer before a commit is on disk".into());
    }
    faults
}

fn request_faults(requests: &[Requests], errors: &BTreeMap<String, u64>) -> Vec<String> {
    let mut faults = Vec::new();
    for requests in requests {
        for (reason, count) in &requests.failures {
            faults.push(format!("{} of {} {} requests failed: {reason}", count, requests.count, requests.kind));
        }
    }
    for (error, count) in errors {
        faults.push(format!("{count} times: {error}"));
    }
    if requests.iter().all(|requests| requests.count == 0) {
        faults.push("no request was sent".into());
    }
    faults
}

fn people_faults(requests: &[Requests], people: &People) -> Vec<String> {
    let mut faults = Vec::new();
    if people.stored < people.ceiling {
        faults.push(format!("{} people are lost or were refused", people.ceiling - people.stored));
    }
    if people.stored > 0 && !requests.iter().any(|requests| requests.kind == "create") {
        faults.push("how many people there should be cannot be told: no request is named `create` or `criação`".into());
    } else if people.stored > people.ceiling {
        faults.push(format!("{} people should not have been stored", people.stored - people.ceiling));
    }
    if people.acknowledged.is_some_and(|acknowledged| acknowledged > people.stored) {
        faults.push("more people were acknowledged than are stored".into());
    }
    faults
}

fn driven_faults(requests: &[Requests], census: Option<&Census>, unknown: u64, is_ramp: bool) -> Vec<String> {
    let mut faults: Vec<String> = if is_ramp { Vec::new() } else { requests.iter().flat_map(failures).collect() };
    faults.extend(census.iter().flat_map(|census| census_faults(census, unknown)));
    if requests.is_empty() {
        faults.push("no request was answered".into());
    }
    faults
}

fn failures(requests: &Requests) -> impl Iterator<Item = String> + '_ {
    let Requests { kind, count, failures, .. } = requests;
    let count = grouped(*count as f64);
    failures.iter().map(move |(reason, failed)| format!("{} of {count} {kind}: {reason}", grouped(*failed as f64)))
}

/// What a count betrays, where the server may have stored `unknown` people whose creates were never answered.
fn census_faults(census: &Census, unknown: u64) -> Vec<String> {
    let People { stored, acknowledged, .. } = census.people;
    let acknowledged = acknowledged.unwrap_or(stored);
    let mut faults = Vec::new();
    if stored < acknowledged {
        let lost = grouped((acknowledged - stored) as f64);
        faults.push(format!("{lost} people are lost: they were answered with 201 and are not stored"));
    } else if !census.settled_at_once {
        faults.push("people were answered with 201 before the count knew of them".into());
    }
    if stored > acknowledged + unknown {
        let extra = grouped((stored - acknowledged - unknown) as f64);
        faults.push(format!("{extra} people are stored whom nobody was told of"));
    }
    faults
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

    fn creates(count: u64, failures: &[(&str, u64)]) -> Vec<Requests> {
        vec![Requests {
            kind: "create".into(),
            count,
            failures: failures.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            statuses: BTreeMap::new(),
            response: Default::default(),
            service: None,
            histogram: None,
        }]
    }

    fn bout(requests: &[Requests], stored: u64, acknowledged: u64, durability: &Durability) -> Verdict {
        let people = People { stored, ceiling: 9, acknowledged: Some(acknowledged) };
        of_bout(requests, &BTreeMap::new(), &people, durability)
    }

    #[test]
    fn only_a_bout_without_any_fault_is_clean() {
        assert_eq!(bout(&creates(10, &[]), 9, 9, &durability()).outcome, Outcome::Clean);
        assert_eq!(bout(&creates(10, &[("status 502", 1)]), 9, 9, &durability()).outcome, Outcome::Failed);
        assert_eq!(bout(&creates(10, &[]), 8, 8, &durability()).reasons, ["1 people are lost or were refused"]);
        assert_eq!(bout(&creates(10, &[]), 10, 9, &durability()).reasons, ["1 people should not have been stored"]);
        assert_eq!(bout(&creates(10, &[]), 9, 10, &durability()).outcome, Outcome::Failed);
        assert_eq!(bout(&[], 9, 9, &durability()).outcome, Outcome::Failed);
        let careless = Durability { fsync: false, ..durability() };
        assert_eq!(bout(&creates(10, &[]), 9, 9, &careless).outcome, Outcome::Failed);
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
            creates(10, &[]).into_iter().map(|requests| Requests { kind: "POST".into(), ..requests }).collect();
        let people = People { stored: 9, ceiling: 0, acknowledged: Some(0) };
        let reasons = of_bout(&requests, &BTreeMap::new(), &people, &durability()).reasons;
        assert!(reasons.len() == 1 && reasons[0].contains("no request is named"), "{reasons:?}");
    }

    #[test]
    fn errors_outside_of_requests_count() {
        let errors = BTreeMap::from([("no such session attribute".to_owned(), 2)]);
        let people = People { stored: 9, ceiling: 9, acknowledged: None };
        assert_eq!(of_bout(&creates(10, &[]), &errors, &people, &durability()).outcome, Outcome::Failed);
    }

    fn in_time() -> (Strain, Vec<String>) {
        (Strain::None, vec![])
    }

    fn census(stored: u64, acknowledged: u64) -> Census {
        let people = People { stored, ceiling: acknowledged, acknowledged: Some(acknowledged) };
        Census { before: 0, people, settled_at_once: true }
    }

    fn driven(failures: &[(&str, u64)], census: Census, unknown: u64) -> Outcome {
        weigh(in_time(), driven_faults(&creates(1000, failures), Some(&census), unknown, false), false).outcome
    }

    #[test]
    fn a_run_is_clean_only_without_any_fault() {
        assert_eq!(driven(&[], census(9, 9), 0), Outcome::Clean);
        assert_eq!(driven(&[("status 500", 1)], census(9, 9), 0), Outcome::Failed);
        assert_eq!(driven(&[], census(8, 9), 0), Outcome::Failed);
        assert_eq!(driven(&[], census(10, 9), 0), Outcome::Failed);
        assert_eq!(driven(&[], Census { settled_at_once: false, ..census(9, 9) }, 0), Outcome::Failed);
    }

    #[test]
    fn a_create_without_an_answer_may_be_stored_or_not() {
        let timed_out = [("timed out", 2)];
        for stored in 9..=11 {
            let faults = driven_faults(&creates(1000, &timed_out), Some(&census(stored, 9)), 2, false);
            assert_eq!(faults, ["2 of 1,000 create: timed out"]);
        }
        assert_eq!(driven(&timed_out, census(12, 9), 2), Outcome::Failed);
    }

    #[test]
    fn the_driver_is_judged_first() {
        let invalid = (Strain::TooMuch, vec!["late".to_owned()]);
        let verdict = weigh(invalid, vec!["2 of 1,000 create: status 500".to_owned()], true);
        assert_eq!((verdict.outcome, verdict.reasons), (Outcome::Invalid, vec!["late".to_owned()]));
        let suspect = (Strain::Noticeable, vec!["late".to_owned()]);
        assert_eq!(weigh(suspect, vec![], false).outcome, Outcome::Suspect);
    }

    #[test]
    fn a_ramp_may_fail_requests_and_a_stopped_run_is_no_whole_one() {
        let of_ramp = driven_faults(&creates(1000, &[("timed out", 5)]), None, 5, true);
        assert_eq!(weigh(in_time(), of_ramp, false).outcome, Outcome::Clean);
        assert_eq!(weigh(in_time(), vec![], true).outcome, Outcome::Suspect);
        assert_eq!(weigh(in_time(), driven_faults(&[], None, 0, false), false).outcome, Outcome::Failed);
    }
}
