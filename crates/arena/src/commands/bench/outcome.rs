//! The judgement over a run, and the one table that shows it.

use std::time::{Duration, Instant};

use crate::load::driver::drive::Driven;
use crate::load::driver::entry::Entry;
use crate::load::driver::monitor::{Monitor, Tally};
use crate::load::driver::probe;
use crate::load::driver::schedule::Kind;
use crate::load::driver::validity::Validity;
use crate::read::costs;
use crate::record::metric::grouped;
use crate::record::run::{Outcome, People, Requests, Run, Verdict};
use crate::terminal;

/// How long a count may lag behind the last 201 before people are given up as lost.
const SETTLING: Duration = Duration::from_secs(5);

/// Time between two counts.
const BETWEEN_COUNTS: Duration = Duration::from_millis(200);

/// Who was there before, and who is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// People before the run.
    pub before: u64,
    /// The score, without those who were there before.
    pub people: People,
    /// Whether the count was right at once.
    pub settled_at_once: bool,
}

impl Census {
    /// Counts. A count that falls short is asked again for a while: some servers answer before they store.
    ///
    /// # Errors
    ///
    /// The server does not tell the count.
    pub fn take(entry: &Entry, before: u64, acknowledged: u64, ceiling: u64) -> anyhow::Result<Self> {
        let deadline = Instant::now() + SETTLING;
        let mut settled_at_once = true;
        let stored = loop {
            let stored = probe::count(entry)?.saturating_sub(before);
            if stored >= acknowledged || Instant::now() >= deadline {
                break stored;
            }
            settled_at_once = false;
            std::thread::sleep(BETWEEN_COUNTS);
        };
        Ok(Self { before, people: People { stored, ceiling, acknowledged: Some(acknowledged) }, settled_at_once })
    }

    fn faults(&self, unknown: u64) -> Vec<String> {
        let People { stored, acknowledged, .. } = self.people;
        let acknowledged = acknowledged.unwrap_or(stored);
        let mut faults = Vec::new();
        if stored < acknowledged {
            let lost = grouped((acknowledged - stored) as f64);
            faults.push(format!("{lost} people are lost: they were answered with 201 and are not stored"));
        } else if !self.settled_at_once {
            faults.push("people were answered with 201 before the count knew of them".into());
        }
        if stored > acknowledged + unknown {
            let extra = grouped((stored - acknowledged - unknown) as f64);
            faults.push(format!("{extra} people are stored whom nobody was told of"));
        }
        faults
    }
}

/// Judges a run: first the driver, then the server. Where load was raised until something gave, failed requests are no
/// fault.
pub fn judge(driven: &Driven, requests: &[Requests], census: Option<&Census>) -> Verdict {
    let is_ramp = !driven.steps.is_empty();
    // Of what was on its way when the run was stopped, nobody knows what became of it.
    let unknown = driven.monitor.unknown + driven.monitor.in_flight;
    weigh(driven.validity.clone(), requests, census, unknown, driven.stopped, is_ramp)
}

fn weigh(
    (validity, reasons): (Validity, Vec<String>),
    requests: &[Requests],
    census: Option<&Census>,
    unknown: u64,
    stopped: bool,
    is_ramp: bool,
) -> Verdict {
    if validity == Validity::Invalid {
        return Verdict { outcome: Outcome::Invalid, reasons };
    }
    let mut faults: Vec<String> = if is_ramp { Vec::new() } else { requests.iter().flat_map(failures).collect() };
    faults.extend(census.iter().flat_map(|census| census.faults(unknown)));
    if requests.is_empty() {
        faults.push("no request was answered".into());
    }
    if !faults.is_empty() {
        return Verdict { outcome: Outcome::Failed, reasons: faults };
    }
    if stopped {
        let reasons = [reasons, vec!["stopped before its end".into()]].concat();
        return Verdict { outcome: Outcome::Suspect, reasons };
    }
    let outcome = if validity == Validity::Suspect { Outcome::Suspect } else { Outcome::Clean };
    Verdict { outcome, reasons }
}

fn failures(requests: &Requests) -> impl Iterator<Item = String> + '_ {
    let Requests { kind, count, failures, .. } = requests;
    let count = grouped(*count as f64);
    failures.iter().map(move |(reason, failed)| format!("{} of {count} {kind}: {reason}", grouped(*failed as f64)))
}

/// The run as text for people: the verdict, times by kind, what services cost, the score, and what the driver says of
/// itself.
pub fn table(run: &Run, driven: &Driven, missed: &[String]) -> String {
    let monitor = &driven.monitor;
    let mut parts = vec![headline(run)];
    parts.push(times(run));
    parts.extend(examples(monitor));
    parts.extend((!run.steps.is_empty()).then(|| steps(run)));
    parts.extend((!run.services.is_empty()).then(|| costs(run)));
    parts.extend(run.people.as_ref().map(score));
    parts.push(driver(run, monitor, driven.validity.0));
    parts.extend((!missed.is_empty()).then(|| list("Thresholds missed:", missed)));
    parts.join("\n\n")
}

fn headline(run: &Run) -> String {
    let outcome = run.verdict.outcome.word();
    let settings = &run.settings;
    let line = format!(
        "{outcome}: {} of {} requests failed in {:.0} s; {} profile, {}, {}",
        grouped(run.failed() as f64),
        grouped(run.request_count() as f64),
        run.seconds,
        settings.profile,
        settings.more.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", "),
        settings.target,
    );
    if run.verdict.reasons.is_empty() { line } else { list(&line, &run.verdict.reasons) }
}

fn list(title: &str, items: &[String]) -> String {
    items.iter().fold(title.to_owned(), |text, item| format!("{text}\n- {item}"))
}

/// Times from the intended moment, and after the slash from the moment of sending.
fn times(run: &Run) -> String {
    let headings = ["requests", "count", "failed", "statuses", "mean ms", "p50 ms", "p95 ms", "p99 ms", "max ms"];
    let mut table = terminal::plain_table(&headings);
    terminal::align_right(&mut table, [1, 2, 4, 5, 6, 7, 8]);
    for requests in &run.requests {
        let service = requests.service.unwrap_or_default();
        let both = |response: f64, service: f64| format!("{response:.1}/{service:.1}");
        let response = requests.response;
        let statuses = requests.statuses.iter().map(|(status, count)| format!("{status}: {}", grouped(*count as f64)));
        table.add_row([
            requests.kind.clone(),
            grouped(requests.count as f64),
            grouped(requests.failed() as f64),
            statuses.collect::<Vec<_>>().join(", "),
            both(response.mean, service.mean),
            both(response.p50, service.p50),
            both(response.p95, service.p95),
            both(response.p99, service.p99),
            both(response.max, service.max),
        ]);
    }
    format!("{table}\nTimes: from the intended moment / from the moment of sending.")
}

/// One wrong answer for each way to fail.
fn examples(monitor: &Monitor) -> Option<String> {
    let one = |(kind, tally): (Kind, &Tally)| {
        let shown = tally.failures.iter().filter_map(|(reason, (_, example))| Some((reason, example.as_ref()?)));
        shown.map(|(reason, example)| format!("{}: {reason}: {example}", kind.name())).collect::<Vec<_>>()
    };
    let examples: Vec<String> = Kind::ALL.into_iter().zip(&monitor.tallies).flat_map(one).collect();
    (!examples.is_empty()).then(|| list("For example:", &examples))
}

fn steps(run: &Run) -> String {
    let mut table = terminal::plain_table(&["users/s", "requests/s", "failed", "p50 ms", "p99 ms", "broken"]);
    terminal::align_right(&mut table, [0, 1, 2, 3, 4]);
    for step in &run.steps {
        let worst = |time: fn(&Requests) -> f64| step.requests.iter().map(time).fold(0.0, f64::max);
        let count: u64 = step.requests.iter().map(|requests| requests.count).sum();
        table.add_row([
            grouped(step.users_per_second),
            grouped(count as f64 / step.seconds),
            grouped(step.requests.iter().map(Requests::failed).sum::<u64>() as f64),
            format!("{:.1}", worst(|requests| requests.response.p50)),
            format!("{:.1}", worst(|requests| requests.response.p99)),
            step.broken.join("; "),
        ]);
    }
    format!("{table}\nTimes are those of the slowest kind of request.\n{}", knee(run))
}

fn knee(run: &Run) -> String {
    match run.steps.iter().position(|step| !step.broken.is_empty()) {
        Some(0) => "The first step broke already: begin lower.".to_owned(),
        Some(broken) => format!(
            "Knee: {} users/s hold, {} do not.",
            grouped(run.steps[broken - 1].users_per_second),
            grouped(run.steps[broken].users_per_second)
        ),
        None if run.verdict.outcome == Outcome::Invalid => {
            "No step broke: the ramp ended where the driver could not keep up.".to_owned()
        }
        None => "No step broke.".to_owned(),
    }
}

fn costs(run: &Run) -> String {
    let mut table = terminal::plain_table(&costs::HEADINGS);
    terminal::align_right(&mut table, 1..costs::COLUMNS);
    table.add_rows(costs::rows(run));
    table.to_string()
}

fn score(people: &People) -> String {
    let number = |number: u64| grouped(number as f64);
    let acknowledged = people.acknowledged.map(|count| format!(", {} answered with 201", number(count)));
    format!(
        "People: {} stored, ceiling {}{}",
        number(people.stored),
        number(people.ceiling),
        acknowledged.unwrap_or_default()
    )
}

fn driver(run: &Run, monitor: &Monitor, validity: Validity) -> String {
    let Some(generator) = &run.generator else { return String::new() };
    format!(
        "Driver: {}; {} of {} requests sent, p99 of the send lag {:.2} ms, {:.0} µs of CPU a request, at most {:.0} % of a core",
        validity.name(),
        grouped(generator.sent as f64),
        grouped(generator.intended as f64),
        generator.send_lag_p99,
        1e6 * generator.cpu_seconds / generator.sent.max(1) as f64,
        100.0 * monitor.busiest,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::driver::document;
    use crate::record::run::Step;

    fn requests(failures: &[(&str, u64)]) -> Vec<Requests> {
        vec![Requests {
            kind: "create".into(),
            count: 1000,
            failures: failures.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            statuses: BTreeMap::new(),
            response: Default::default(),
            service: None,
            histogram: None,
        }]
    }

    fn census(stored: u64, acknowledged: u64) -> Census {
        let people = People { stored, ceiling: acknowledged, acknowledged: Some(acknowledged) };
        Census { before: 0, people, settled_at_once: true }
    }

    fn outcome(failures: &[(&str, u64)], census: Census, unknown: u64) -> Outcome {
        weigh((Validity::Valid, vec![]), &requests(failures), Some(&census), unknown, false, false).outcome
    }

    #[test]
    fn a_run_is_clean_only_without_any_fault() {
        assert_eq!(outcome(&[], census(9, 9), 0), Outcome::Clean);
        assert_eq!(outcome(&[("status 500", 1)], census(9, 9), 0), Outcome::Failed);
        assert_eq!(outcome(&[], census(8, 9), 0), Outcome::Failed);
        assert_eq!(outcome(&[], census(10, 9), 0), Outcome::Failed);
        assert_eq!(outcome(&[], Census { settled_at_once: false, ..census(9, 9) }, 0), Outcome::Failed);
    }

    #[test]
    fn a_create_without_an_answer_may_be_stored_or_not() {
        let timed_out = [("timed out", 2)];
        for stored in 9..=11 {
            let verdict =
                weigh((Validity::Valid, vec![]), &requests(&timed_out), Some(&census(stored, 9)), 2, false, false);
            assert_eq!(verdict.reasons, ["2 of 1,000 create: timed out"]);
        }
        assert_eq!(outcome(&timed_out, census(12, 9), 2), Outcome::Failed);
    }

    #[test]
    fn the_driver_is_judged_first() {
        let invalid = (Validity::Invalid, vec!["late".to_owned()]);
        let verdict = weigh(invalid, &requests(&[("status 500", 1)]), None, 0, true, false);
        assert_eq!((verdict.outcome, verdict.reasons), (Outcome::Invalid, vec!["late".to_owned()]));
        let suspect = (Validity::Suspect, vec!["late".to_owned()]);
        assert_eq!(weigh(suspect, &requests(&[]), None, 0, false, false).outcome, Outcome::Suspect);
    }

    #[test]
    fn a_ramp_says_where_it_ended_and_why() {
        let step = |rate: f64, broken: &[&str]| Step {
            users_per_second: rate,
            seconds: 1.0,
            requests: Vec::new(),
            broken: broken.iter().map(|reason| (*reason).to_owned()).collect(),
        };
        let monitor = Monitor::new(Instant::now(), false).unwrap();
        let mut run = document::draft(&monitor, Duration::ZERO).unwrap();
        run.steps = vec![step(100.0, &[]), step(200.0, &[])];
        assert_eq!(knee(&run), "No step broke.");
        run.verdict.outcome = Outcome::Invalid;
        assert_eq!(knee(&run), "No step broke: the ramp ended where the driver could not keep up.");
        run.steps[1] = step(200.0, &["failed is 1"]);
        assert_eq!(knee(&run), "Knee: 100 users/s hold, 200 do not.");
        run.steps.remove(0);
        assert_eq!(knee(&run), "The first step broke already: begin lower.");
    }

    #[test]
    fn a_ramp_may_fail_requests_and_a_stopped_run_is_no_whole_one() {
        let valid = || (Validity::Valid, vec![]);
        assert_eq!(weigh(valid(), &requests(&[("timed out", 5)]), None, 5, false, true).outcome, Outcome::Clean);
        assert_eq!(weigh(valid(), &requests(&[]), None, 0, true, false).outcome, Outcome::Suspect);
        assert_eq!(weigh(valid(), &[], None, 0, false, false).outcome, Outcome::Failed);
    }
}
