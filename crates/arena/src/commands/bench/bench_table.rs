//! The one table that shows a run of the driver.

use crate::load::driver::drive::Driven;
use crate::load::driver::monitor::{Monitor, Tally};
use crate::load::driver::schedule::Kind;
use crate::load::driver::strain::Strain;
use crate::read::costs;
use crate::record::metric::grouped;
use crate::record::run::{Outcome, People, Percentiles, Run, Step};
use crate::terminal;

/// The run as text for people: the verdict, times by kind, what services cost, the score, and what the driver says of
/// itself.
pub fn table(run: &Run, driven: &Driven, missed: &[String]) -> String {
    let monitor = &driven.monitor;
    let mut parts = vec![headline(run)];
    parts.push(times(run));
    parts.extend(examples(monitor));
    parts.extend((!run.steps.is_empty()).then(|| steps(run)));
    parts.extend((!run.services.is_empty()).then(|| costs(run)));
    parts.extend(Some(costs::notes(run).join("\n")).filter(|notes| !notes.is_empty()));
    parts.extend(run.people().as_ref().map(score));
    parts.push(driver(run, monitor, driven.strain.0));
    let unchecked = &run.verdict().unchecked;
    parts.extend((!unchecked.is_empty()).then(|| list("Not checked:", unchecked)));
    parts.extend((!missed.is_empty()).then(|| list("Thresholds missed:", missed)));
    parts.join("\n\n")
}

fn headline(run: &Run) -> String {
    let outcome = run.headline();
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
    if run.verdict().reasons.is_empty() { line } else { list(&line, &run.verdict().reasons) }
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
        let shown = tally.failures.iter().filter_map(|(reason, failures)| Some((reason, failures.example.as_ref()?)));
        shown.map(|(reason, example)| format!("{}: {reason}: {example}", kind.name())).collect::<Vec<_>>()
    };
    let examples: Vec<String> = Kind::ALL.into_iter().zip(&monitor.tallies).flat_map(one).collect();
    (!examples.is_empty()).then(|| list("For example:", &examples))
}

fn steps(run: &Run) -> String {
    let headings = ["users/s", "requests/s", "good/s", "refused", "failed", "p50 ms", "p99 ms", "broken"];
    let mut table = terminal::plain_table(&headings);
    terminal::align_right(&mut table, 0..7);
    for step in &run.steps {
        let count: u64 = step.requests.iter().map(|requests| requests.count).sum();
        let goodput = step.goodput.clone().unwrap_or_default();
        let worst = |time: fn(&Percentiles) -> f64| goodput.response.values().map(time).fold(0.0, f64::max);
        table.add_row([
            grouped(step.users_per_second),
            grouped(count as f64 / step.seconds),
            grouped(goodput.per_second),
            grouped(goodput.refused as f64),
            grouped(step.broken_down() as f64),
            format!("{:.1}", worst(|times| times.p50)),
            format!("{:.1}", worst(|times| times.p99)),
            step.broken.join("; "),
        ]);
    }
    let notes = "Good: answered with success while users arrived. Times are those of the slowest kind of request, without \
                 the refused and the failed ones.";
    let lines = [Some(table.to_string()), Some(notes.to_owned()), Some(knee(run)), level(run)];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// What is left of the most that was answered with success when more is offered than that.
fn level(run: &Run) -> Option<String> {
    let at = |step: &Step| Some((step.goodput.as_ref()?.per_second, step.users_per_second));
    let steps: Vec<(f64, f64)> = run.steps.iter().filter_map(at).collect();
    let (most, rate) = steps.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let beyond = steps.iter().copied().filter(|(_, offered)| *offered > rate);
    let (least, offered) = beyond.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "Goodput: at most {}/s, at {} users/s; beyond that at least {}/s ({:.0} %), at {} users/s.",
        grouped(most.round()),
        grouped(rate),
        grouped(least.round()),
        100.0 * least / most,
        grouped(offered),
    ))
}

fn knee(run: &Run) -> String {
    match run.steps.iter().position(|step| !step.broken.is_empty()) {
        Some(0) => "The first step broke already: begin lower.".to_owned(),
        Some(broken) => format!(
            "Knee: {} users/s hold, {} do not.",
            grouped(run.steps[broken - 1].users_per_second),
            grouped(run.steps[broken].users_per_second)
        ),
        None if run.verdict().outcome == Outcome::Invalid => {
            "No step broke: the ramp ended where the driver could not keep up.".to_owned()
        }
        None => "No step broke.".to_owned(),
    }
}

fn costs(run: &Run) -> String {
    let mut table = terminal::plain_table(&costs::HEADINGS);
    terminal::align_right(&mut table, 1..costs::COLUMNS);
    table.add_rows(costs::text(run));
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

fn driver(run: &Run, monitor: &Monitor, strain: Strain) -> String {
    let Some(generator) = &run.generator else { return String::new() };
    let repeated = match generator.repeated {
        0 => String::new(),
        repeated => format!(", {} of them once more as their connection was closed", grouped(repeated as f64)),
    };
    format!(
        "Driver: {}; {} of {} requests sent{repeated}, p99 of the send lag {:.2} ms, {:.0} µs of CPU a request, at most {:.0} % of a core",
        strain.name(),
        grouped(generator.sent as f64),
        grouped(generator.intended as f64),
        generator.send_lag_p99,
        1e6 * generator.cpu_seconds / generator.sent.max(1) as f64,
        100.0 * monitor.busiest,
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::load::driver::document;
    use crate::record::run::{Goodput, Judged, Verdict};

    #[test]
    fn a_ramp_says_where_it_ended_and_why() {
        let step = |rate: f64, broken: &[&str]| Step {
            users_per_second: rate,
            seconds: 1.0,
            requests: Vec::new(),
            broken: broken.iter().map(|reason| (*reason).to_owned()).collect(),
            goodput: None,
        };
        let monitor = Monitor::new(Instant::now(), false).unwrap();
        let mut run = document::draft(&monitor, Duration::ZERO).unwrap();
        run.steps = vec![step(100.0, &[]), step(200.0, &[])];
        assert_eq!(knee(&run), "No step broke.");
        run.judged = Judged::new(Verdict::new(Outcome::Invalid, Vec::new()), None);
        assert_eq!(knee(&run), "No step broke: the ramp ended where the driver could not keep up.");
        run.steps[1] = step(200.0, &["failed is 1"]);
        assert_eq!(knee(&run), "Knee: 100 users/s hold, 200 do not.");
        run.steps.remove(0);
        assert_eq!(knee(&run), "The first step broke already: begin lower.");
    }

    #[test]
    fn goodput_is_told_beyond_its_peak() {
        let monitor = Monitor::new(Instant::now(), false).unwrap();
        let mut run = document::draft(&monitor, Duration::ZERO).unwrap();
        let step = |(rate, good): (f64, f64)| Step {
            users_per_second: rate,
            seconds: 1.0,
            requests: Vec::new(),
            broken: Vec::new(),
            goodput: Some(Goodput { seconds: 1.0, per_second: good, ..Goodput::default() }),
        };
        run.steps = [(100.0, 150.0), (200.0, 300.0)].map(step).into();
        assert_eq!(level(&run), None);
        run.steps.extend([(400.0, 240.0), (800.0, 270.0), (100.0, 150.0)].map(step));
        let told = "Goodput: at most 300/s, at 200 users/s; beyond that at least 240/s (80 %), at 400 users/s.";
        assert_eq!(level(&run).as_deref(), Some(told));
    }
}
