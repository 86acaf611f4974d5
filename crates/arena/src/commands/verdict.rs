//! The verdict over a run: clean, failed, suspect or invalid, why, what could not be checked, and with which exit status the
//! program then ends. What it sees and what it cannot see stands in `docs/JUDGE.md`.

use std::collections::BTreeMap;

use super::census::Census;
use super::flushes;
use crate::exit::Exit;
use crate::load::driver::drive::Driven;
use crate::load::driver::roll::{Tallied, Wrong};
use crate::load::driver::schedule::Kind;
use crate::load::driver::strain::Strain;
use crate::load::driver::survey::Survey;
use crate::record::metric::grouped;
use crate::record::run::{Durability, Judged, Outcome, People, Requests, Verdict};

/// What speaks for and against a bout.
#[derive(Debug)]
pub struct Bout<'a> {
    /// Outcome by kind of request.
    pub requests: &'a [Requests],
    /// What went wrong outside of requests.
    pub errors: &'a BTreeMap<String, u64>,
    /// The score.
    pub people: People,
    /// The count that it comes from.
    pub census: Census,
    /// People in the table who should not be there, or not so.
    pub wrong: &'a BTreeMap<Wrong, u64>,
    /// Searches after the load.
    pub survey: &'a Survey,
    /// Whether commits are on disk.
    pub durability: &'a Durability,
    /// Whether the user knows that they need not be.
    pub volatile: bool,
    /// How hard Gatling had it, where its schedule is known.
    pub strain: Option<(Strain, Vec<String>)>,
}

/// The verdict over a bout.
pub fn of_bout(bout: &Bout) -> Judged {
    let unchecked = bout_unchecked(bout);
    let strain = bout.strain.clone().unwrap_or((Strain::None, Vec::new()));
    let verdict = weigh(strain, bout_faults(bout), false);
    Judged::new(Verdict { unchecked, ..verdict }, Some(bout.people))
}

/// What speaks for and against a bout of an entry, whose database is out of reach.
#[derive(Debug)]
pub struct EntryBout<'a> {
    /// Outcome by kind of request.
    pub requests: &'a [Requests],
    /// What went wrong outside of requests.
    pub errors: &'a BTreeMap<String, u64>,
    /// The score and the count that it comes from, where the API told it.
    pub counted: Option<(People, Census)>,
    /// Whether it was asked.
    pub is_counted: bool,
    /// Searches after the load, where it is known whom they must find.
    pub survey: Option<&'a Survey>,
    /// What became of services that did not survive, one sentence each, and what else went wrong around the load.
    pub fates: Vec<String>,
    /// How hard Gatling had it, where its schedule is known.
    pub strain: Option<(Strain, Vec<String>)>,
}

/// The verdict over a bout of an entry.
pub fn of_entry(bout: &EntryBout) -> Judged {
    let strain = bout.strain.clone().unwrap_or((Strain::None, Vec::new()));
    let verdict = weigh(strain, entry_faults(bout), false);
    let people = bout.counted.map(|(people, _)| people);
    Judged::new(Verdict { unchecked: entry_unchecked(bout), ..verdict }, people)
}

/// What speaks for and against a run of the driver.
#[derive(Debug)]
pub struct Drive<'a> {
    /// The run.
    pub driven: &'a Driven,
    /// Outcome by kind of request.
    pub requests: &'a [Requests],
    /// What the answers to creates say together; absent where they are not looked at.
    pub tallied: Option<Tallied>,
    /// People from before the run whose nicknames are not known, where people are counted.
    pub strangers: Option<u64>,
    /// The score and the count that it comes from, where people are counted.
    pub counted: Option<(People, Census)>,
    /// Searches after the load, where answers are looked at.
    pub survey: Option<&'a Survey>,
    /// Whether commits are on disk, where the database can be asked.
    pub durability: Option<&'a Durability>,
    /// Whether the user knows that they need not be.
    pub volatile: bool,
    /// Whether it is known what each service may use.
    pub is_limited: bool,
}

/// The verdict over a run of the driver: first over the driver, then over the server.
pub fn of_driven(drive: &Drive) -> Judged {
    let verdict = weigh(drive.driven.strain.clone(), drive_faults(drive), drive.driven.stopped);
    let people = drive.counted.map(|(people, _)| people);
    Judged::new(Verdict { unchecked: drive_unchecked(drive), ..verdict }, people)
}

/// The exit status for an outcome.
pub fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Clean | Outcome::Suspect => Exit::Good,
        Outcome::Failed | Outcome::OverBudget | Outcome::NoBudget => Exit::Failed,
        Outcome::Invalid => Exit::Invalid,
    }
}

/// A generator that was the bottleneck says nothing of the server; a fault of the server weighs more than a generator that
/// was late now and then, or a run that was stopped before its end.
fn weigh((strain, signs): (Strain, Vec<String>), faults: Vec<String>, stopped: bool) -> Verdict {
    if strain == Strain::TooMuch {
        return Verdict::new(Outcome::Invalid, signs);
    }
    if !faults.is_empty() {
        return Verdict::new(Outcome::Failed, faults);
    }
    if stopped {
        return Verdict::new(Outcome::Suspect, [signs, vec!["stopped before its end".into()]].concat());
    }
    let outcome = if strain == Strain::Noticeable { Outcome::Suspect } else { Outcome::Clean };
    Verdict::new(outcome, signs)
}

fn bout_faults(bout: &Bout) -> Vec<String> {
    let Bout { requests, people, .. } = bout;
    let mut faults = request_faults(requests, bout.errors);
    faults.extend(score_faults(requests, people, &bout.census));
    faults.extend(bout.wrong.iter().map(|(wrong, count)| format!("the table holds somebody {wrong}, {count} times")));
    faults.extend(survey_faults(bout.survey));
    faults.extend(durability_faults(bout.durability, bout.volatile));
    faults
}

fn entry_faults(bout: &EntryBout) -> Vec<String> {
    let mut faults = request_faults(bout.requests, bout.errors);
    if let Some((people, census)) = &bout.counted {
        faults.extend(score_faults(bout.requests, people, census));
    }
    faults.extend(bout.survey.into_iter().flat_map(survey_faults));
    faults.extend(bout.fates.iter().cloned());
    faults
}

fn score_faults(requests: &[Requests], people: &People, census: &Census) -> Vec<String> {
    let mut faults = Vec::new();
    let create = requests.iter().find(|requests| requests.kind == "create");
    match create {
        None if people.stored > 0 => faults.push(
            "how many people there should be cannot be told: no request is named `create` or `criação`".to_owned(),
        ),
        _ => faults.extend(people.faults()),
    }
    let unknown = create.map_or(0, Requests::failed);
    faults.extend(acknowledgement_faults(people, unknown));
    faults.extend((unknown == 0).then(|| census.faults()).into_iter().flatten());
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

/// Who was told what, against who is stored; of `unknown` creates nobody knows what they did.
fn acknowledgement_faults(people: &People, unknown: u64) -> Vec<String> {
    let People { stored, acknowledged, .. } = *people;
    let acknowledged = acknowledged.unwrap_or(stored);
    let lost = acknowledged.saturating_sub(stored);
    let untold = stored.saturating_sub(acknowledged + unknown);
    let lost = (lost > 0)
        .then(|| format!("{} people are lost: they were answered with 201 and are not stored", grouped(lost as f64)));
    let untold = (untold > 0).then(|| format!("{} people are stored whom nobody was told of", grouped(untold as f64)));
    lost.into_iter().chain(untold).collect()
}

fn survey_faults(survey: &Survey) -> impl Iterator<Item = String> + '_ {
    let asked = survey.asked;
    survey.faults.iter().map(move |(fault, count)| format!("{count} of {asked} searches after the load {fault}"))
}

fn durability_faults(durability: &Durability, volatile: bool) -> Vec<String> {
    let mut faults = flushes::faults(durability);
    let known = || flushes::volatile(durability).map(|reason| format!("{reason} (--volatile lets that pass)"));
    faults.extend((!volatile).then(known).flatten());
    faults
}

fn bout_unchecked(bout: &Bout) -> Vec<String> {
    let mut unchecked = vec!["which creates were answered with 201: Gatling's log tells their number alone".to_owned()];
    if bout.strain.is_none() {
        unchecked.push("whether Gatling kept its schedule, which is not known of this simulation".to_owned());
    }
    if bout.people.acknowledged.is_none() {
        unchecked
            .push("how many creates were answered with 201: not every simulation fetches whom it created".to_owned());
    }
    unchecked.extend(unasked(bout.survey));
    unchecked.extend(overlooked(bout.durability, bout.volatile));
    unchecked
}

fn entry_unchecked(bout: &EntryBout) -> Vec<String> {
    let mut unchecked = vec!["whether a 201 is on disk: the entry's database is out of reach".to_owned()];
    if !bout.is_counted {
        unchecked.push("how many people are stored: they were not counted".to_owned());
    }
    match bout.survey {
        Some(survey) => unchecked.extend(unasked(survey)),
        None => unchecked.push("searches after the load: it is not known who was answered with 201".to_owned()),
    }
    if bout.strain.is_none() {
        unchecked.push("whether Gatling kept its schedule, which is not known of this simulation".to_owned());
    }
    unchecked
}

fn drive_unchecked(drive: &Drive) -> Vec<String> {
    let mut unchecked = Vec::new();
    if drive.strangers.is_none() {
        unchecked.push("how many people are stored: they were not counted".to_owned());
    }
    if drive.tallied.is_none() {
        unchecked.push("what answers hold, and whether rows got what they deserve".to_owned());
    }
    match drive.durability {
        Some(durability) => unchecked.extend(overlooked(durability, drive.volatile)),
        None => unchecked.push("whether a 201 is on disk: the database is out of reach".to_owned()),
    }
    if !drive.is_limited {
        unchecked.push("whether the services keep to the budget: not of each is it known what it may use".to_owned());
    }
    unchecked.extend(drive.survey.and_then(unasked));
    unchecked
}

fn unasked(survey: &Survey) -> Option<String> {
    let left = survey.intended - survey.asked;
    (left > 0).then(|| format!("{left} of {} searches after the load: the others took too long", survey.intended))
}

fn overlooked(durability: &Durability, volatile: bool) -> impl Iterator<Item = String> {
    let unprobed = durability
        .probes
        .is_none()
        .then(|| "whether a 201 is on disk when it comes: creates after the load failed".to_owned());
    flushes::volatile(durability).filter(|_| volatile).into_iter().chain(unprobed)
}

fn drive_faults(drive: &Drive) -> Vec<String> {
    let Drive { driven, requests, .. } = drive;
    // Of what was on its way when the run was stopped, nobody knows what became of it.
    let unknown = driven.monitor.unknown + driven.monitor.in_flight;
    let mut faults = match driven.steps.is_empty() {
        true => requests.iter().flat_map(failures).collect(),
        false => ramp_faults(driven),
    };
    if requests.is_empty() {
        faults.push("no request was answered".into());
    }
    faults.extend(drive.tallied.and_then(|tallied| nickname_fault(tallied, drive.strangers)));
    if let Some((people, census)) = drive.counted {
        faults.extend(count_faults(&people, &census, unknown));
    }
    faults.extend(drive.survey.into_iter().flat_map(survey_faults));
    faults.extend(drive.durability.into_iter().flat_map(|durability| durability_faults(durability, drive.volatile)));
    faults
}

fn failures(requests: &Requests) -> impl Iterator<Item = String> + '_ {
    let Requests { kind, count, failures, .. } = requests;
    let count = grouped(*count as f64);
    failures.iter().map(move |(reason, failed)| format!("{} of {count} {kind}: {reason}", grouped(*failed as f64)))
}

/// Where load is raised until something gives, a server may fail for want of capacity once it has held a step. It may not
/// give wrong answers.
fn ramp_faults(driven: &Driven) -> Vec<String> {
    let kinds = Kind::ALL.into_iter().zip(&driven.monitor.tallies);
    let wrong = kinds.flat_map(|(kind, tally)| {
        let wrong = tally.failures.iter().filter(|(_, failures)| !failures.is_overload);
        let count = grouped(tally.count as f64);
        wrong.map(move |(reason, failures)| {
            format!("{} of {count} {}: {reason}", grouped(failures.count as f64), kind.name())
        })
    });
    let wrong: Vec<String> = wrong.collect();
    if !wrong.is_empty() {
        return wrong;
    }
    let first = driven.steps.first().into_iter().flat_map(|step| &step.requests);
    first.flat_map(failures).map(|failure| format!("the first step failed already: {failure}")).collect()
}

/// What the answers to creates betray when they are laid side by side.
fn nickname_fault(tallied: Tallied, strangers: Option<u64>) -> Option<String> {
    let Tallied { sent, acknowledged, doubled, refused, .. } = tallied;
    let number = |number: u64| grouped(number as f64);
    if doubled > 0 {
        return Some(format!("{} creates were answered with 201 for a nickname that was taken", number(doubled)));
    }
    // Each of the strangers bears one nickname. Without a count there may be as many of them as there are refusals.
    if acknowledged == 0 && sent > strangers.unwrap_or_default() {
        return Some(format!("none of {} valid people was taken", number(sent)));
    }
    let unborne = refused.saturating_sub(strangers?);
    (unborne > 0).then(|| format!("{} nicknames were refused that nobody bears", number(unborne)))
}

/// What a count betrays, where the server may have stored `unknown` people whose creates were never answered.
fn count_faults(people: &People, census: &Census, unknown: u64) -> Vec<String> {
    let mut faults = acknowledgement_faults(people, unknown);
    let is_early = people.acknowledged.is_some_and(|acknowledged| {
        let before = census.last.saturating_sub(people.stored);
        census.first.saturating_sub(before) < acknowledged && acknowledged <= people.stored
    });
    if is_early {
        faults.push("people were answered with 201 before the count knew of them".to_owned());
    } else if unknown == 0 {
        faults.extend(census.faults());
    }
    faults.extend(people.faults());
    faults
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::load::driver::monitor::Monitor;

    fn durability() -> Durability {
        Durability {
            fsync: true,
            synchronous_commit: "on".into(),
            wal_syncs: Some(7),
            flush_median_us: Some(400.0),
            honoured: true,
            ..Durability::default()
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

    fn at_rest(people: u64) -> Census {
        Census { first: people, last: people, rests: true }
    }

    fn bout_with(requests: &[Requests], stored: u64, acknowledged: u64, durability: &Durability) -> Verdict {
        let people = People { stored, ceiling: 9, acknowledged: Some(acknowledged) };
        let bout = Bout {
            requests,
            errors: &BTreeMap::new(),
            people,
            census: at_rest(stored),
            wrong: &BTreeMap::new(),
            survey: &Survey::default(),
            durability,
            volatile: false,
            strain: Some(in_time()),
        };
        weigh(in_time(), bout_faults(&bout), false)
    }

    #[test]
    fn only_a_bout_without_any_fault_is_clean() {
        let bout =
            |requests: &[Requests], stored, acknowledged| bout_with(requests, stored, acknowledged, &durability());
        assert_eq!(bout(&creates(10, &[]), 9, 9).outcome, Outcome::Clean);
        assert_eq!(bout(&creates(10, &[("status 502", 1)]), 9, 9).outcome, Outcome::Failed);
        assert_eq!(bout(&creates(10, &[]), 8, 8).reasons, ["1 people are lost or were refused"]);
        assert_eq!(bout(&creates(10, &[]), 10, 10).reasons, ["1 people should not have been stored"]);
        assert_eq!(bout(&creates(10, &[]), 9, 0).reasons, ["9 people are stored whom nobody was told of"]);
        assert_eq!(bout(&creates(10, &[]), 9, 10).outcome, Outcome::Failed);
        assert_eq!(bout(&[], 9, 9).outcome, Outcome::Failed);
        let careless = Durability { fsync: false, ..durability() };
        assert_eq!(bout_with(&creates(10, &[]), 9, 9, &careless).outcome, Outcome::Failed);
        let in_memory = Durability { in_memory: true, honoured: false, ..durability() };
        assert_eq!(bout_with(&creates(10, &[]), 9, 9, &in_memory).outcome, Outcome::Failed);
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
        let reasons = bout_with(&requests, 9, 9, &durability()).reasons;
        assert!(reasons.len() == 1 && reasons[0].contains("no request is named"), "{reasons:?}");
    }

    fn in_time() -> (Strain, Vec<String>) {
        (Strain::None, vec![])
    }

    fn driven(monitor: Monitor) -> Driven {
        let (started, length) = (SystemTime::now(), Duration::ZERO);
        Driven { started, length, stopped: false, monitor, steps: Vec::new(), strain: in_time() }
    }

    /// The faults of a run whose ceiling is 9, of which `unknown` creates were not answered.
    fn drive(failures: &[(&str, u64)], stored: u64, acknowledged: u64, unknown: u64) -> Vec<String> {
        let mut monitor = Monitor::new(Instant::now(), false).unwrap();
        monitor.unknown = unknown;
        let people = People { stored, ceiling: stored.clamp(9, 9 + unknown), acknowledged: Some(acknowledged) };
        drive_faults(&Drive {
            driven: &driven(monitor),
            requests: &creates(1000, failures),
            tallied: None,
            strangers: Some(0),
            counted: Some((people, at_rest(stored))),
            survey: None,
            durability: None,
            volatile: false,
            is_limited: true,
        })
    }

    #[test]
    fn a_run_is_clean_only_without_any_fault() {
        assert_eq!(drive(&[], 9, 9, 0), [""; 0]);
        assert_eq!(drive(&[("status 500", 1)], 9, 9, 0), ["1 of 1,000 create: status 500"]);
        assert_eq!(drive(&[], 8, 8, 0), ["1 people are lost or were refused"]);
        assert_eq!(drive(&[], 10, 10, 0), ["1 people should not have been stored"]);
        assert_eq!(drive(&[], 9, 8, 0), ["1 people are stored whom nobody was told of"]);
    }

    #[test]
    fn a_create_without_an_answer_may_be_stored_or_not() {
        let timed_out = [("timed out", 2)];
        for stored in 9..=11 {
            assert_eq!(drive(&timed_out, stored, 9, 2), ["2 of 1,000 create: timed out"]);
        }
        assert_eq!(drive(&timed_out, 12, 9, 2).len(), 3);
    }

    #[test]
    fn a_count_that_moves_betrays_who_answers_first_or_stores_last() {
        let people = People { stored: 9, ceiling: 9, acknowledged: Some(9) };
        let late = Census { first: 7, last: 9, rests: true };
        assert_eq!(count_faults(&people, &late, 0), ["people were answered with 201 before the count knew of them"]);
        let people = People { stored: 9, ceiling: 9, acknowledged: None };
        assert_eq!(count_faults(&people, &late, 0), ["the count went from 7 to 9 after the last answer"]);
        assert_eq!(count_faults(&people, &late, 1), [""; 0]);
    }

    #[test]
    fn whoever_was_there_before_explains_one_refusal_each() {
        let tallied = |acknowledged, refused| Tallied { sent: 9, acknowledged, refused, ..Tallied::default() };
        assert_eq!(nickname_fault(tallied(9, 0), Some(0)), None);
        assert_eq!(nickname_fault(tallied(6, 3), Some(3)), None);
        assert_eq!(nickname_fault(tallied(6, 3), None), None);
        let refused = nickname_fault(tallied(6, 3), Some(1));
        assert_eq!(refused.as_deref(), Some("2 nicknames were refused that nobody bears"));
        for before in [None, Some(1)] {
            assert_eq!(nickname_fault(tallied(0, 9), before).as_deref(), Some("none of 9 valid people was taken"));
        }
        assert_eq!(nickname_fault(tallied(0, 9), Some(9)), None);
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
    fn a_run_that_was_stopped_is_no_whole_one() {
        assert_eq!(weigh(in_time(), vec![], true).outcome, Outcome::Suspect);
    }
}
