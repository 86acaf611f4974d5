//! The page of a search over limits: what was tried, what came of it, what was found beside what is.

use maud::{Markup, html};

use super::chart::{Across, Chart, Limit as Level, Line};
use super::look::Look;
use super::page::{frame, made_by};
use super::scale::Scale;
use crate::record::metric::grouped;
use crate::record::run::Limit;
use crate::record::search::{Aim, Attempt, Compared, Figure, Found, Search, cpus, memory_bytes};

/// CPUs by which totals may differ that are meant to be the same: shares are rounded.
const SAME: f64 = 0.01;

/// The page of one search.
pub(super) fn page(search: &Search) -> Markup {
    let command = search.command();
    let masthead = html! { p.brand { "Peleja" } p.about { strong { (command) } " · " (search.asked) } };
    let charts = charts(search);
    let main = html! {
        section.top aria-label="Result" {
            @if let Some(found) = &search.found { (verdict(search, found)) } @else { h1 { "Not over" } }
            p.note { "Passes, or is better: " (search.goal) "." }
        }
        @if !search.comparisons.is_empty() { (comparisons(&search.comparisons)) }
        section aria-labelledby="path" {
            h2 #path { "The path" }
            div.charts { @for (nth, chart) in charts.iter().enumerate() { (chart.render(&format!("chart-{nth}"))) } }
        }
        section aria-labelledby="attempts" { h2 #attempts { "Attempts" } (attempts(search)) }
    };
    frame(&format!("{command}: {} · Peleja", search.id), false, masthead, main, html! { (made_by(command)) "." })
}

fn verdict(search: &Search, found: &Found) -> Markup {
    let word = match (search.command(), found.is_confirmed) {
        ("tune", true) => "Proposal",
        ("tune", false) => "No proposal",
        (_, true) => "Confirmed",
        (_, false) => "Not confirmed",
    };
    let names: Vec<&str> = search.today.iter().map(|limit| limit.service.as_str()).collect();
    html! {
        h1 { (word) ": " (format!("{:.3}", cpus(&found.limits))) " CPUs, " (size(memory_bytes(&found.limits))) }
        div.scroll tabindex="0" role="region" aria-label="Found and today" {
            table.figures {
                thead { tr { th.text scope="col" { "" } @for name in &names { th scope="col" { (name) } } th scope="col" { "in all" } } }
                tbody {
                    @for (label, limits) in [("found", &found.limits), ("in the files", &search.today)] {
                        tr {
                            th.text scope="row" { (label) }
                            @for name in &names { td { (limit_cell(limits, name)) } }
                            td { (format!("{:.3}", cpus(limits))) ", " (size(memory_bytes(limits))) }
                        }
                    }
                }
            }
        }
        @for (name, value) in &found.settings { p.note { "Setting: " code { (name) "=" (value) } } }
        ul { @for remark in &found.remarks { li { (remark) } } }
    }
}

fn limit_cell(limits: &[Limit], name: &str) -> String {
    let limit = limits.iter().find(|limit| limit.service == name);
    limit.map_or_else(String::new, |limit| {
        format!("{}, {}", grouped(limit.cpus.unwrap_or_default()), size(limit.memory_bytes.unwrap_or_default()))
    })
}

fn comparisons(compared: &[Compared]) -> Markup {
    html! {
        section aria-labelledby="comparisons" {
            h2 #comparisons { "In pairs" }
            div.scroll tabindex="0" role="region" aria-labelledby="comparisons" {
                table.figures {
                    thead { tr { @for heading in ["what", "before", "after", "mean before", "mean after", "change", "95 %", "pairs", ""] { th.text scope="col" { (heading) } } } }
                    tbody { @for compared in compared { tr {
                        th.text scope="row" { (compared.what) }
                        td.text { (compared.values[0]) } td.text { (compared.values[1]) }
                        td { (grouped(compared.means[0])) } td { (grouped(compared.means[1])) }
                        td { (format!("{:+.1} %", compared.percent)) }
                        td { @if let Some([low, high]) = compared.interval { (format!("{low:+.1} to {high:+.1} %")) } }
                        td { (compared.pairs) }
                        td.text { @if compared.is_better { "better" } @else if let Some(pairs) = compared.would_do { "within noise; " (pairs) " pairs would tell" } @else { "not better" } }
                    } } }
                }
            }
        }
    }
}

fn attempts(search: &Search) -> Markup {
    let names: Vec<&str> = search.today.iter().map(|limit| limit.service.as_str()).collect();
    let other = (search.figure != Figure::P99).then(|| search.figure.unit());
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="attempts" {
            table.figures {
                thead { tr {
                    th scope="col" { "" } th.text scope="col" { "for" } th scope="col" { "in all" }
                    @for name in &names { th scope="col" { (name) } }
                    th scope="col" { "p99 ms" } @if let Some(heading) = other { th scope="col" { (heading) } } th scope="col" { "failed" } th.text scope="col" { "throttled" } th.text scope="col" { "verdict" }
                } }
                tbody { @for (nth, attempt) in search.attempts.iter().enumerate() { tr {
                    td { (nth + 1) } td.text { (what(attempt)) }
                    td { (share(attempt, Some(attempt.cpus()), Some(attempt.memory_bytes()))) }
                    @for name in &names { td { (share_of(attempt, name)) } }
                    td { @if let Some(p99) = attempt.p99 { (grouped(p99)) } }
                    @if other.is_some() { td { @if let Some(value) = search.figure.of(attempt) { (grouped(value)) } } }
                    td { (grouped(attempt.failed as f64)) }
                    td.text { (throttled(attempt)) }
                    td.text { @if attempt.passed { "passed" } @else { (reason(attempt)) } }
                } } }
            }
        }
    }
}

/// What a service had of that which the attempt is about.
fn share_of(attempt: &Attempt, name: &str) -> String {
    let limit = attempt.limits.iter().find(|limit| limit.service == name);
    limit.map_or_else(String::new, |limit| share(attempt, limit.cpus, limit.memory_bytes))
}

fn share(attempt: &Attempt, cpus: Option<f64>, memory: Option<u64>) -> String {
    match attempt.aim {
        Aim::Memory => memory.map_or_else(String::new, size),
        _ => format!("{:.3}", cpus.unwrap_or_default()),
    }
}

fn reason(attempt: &Attempt) -> String {
    let first = attempt.reasons.first().and_then(|reason| reason.lines().next());
    first.map_or_else(|| "failed".to_owned(), |reason| format!("failed: {reason}"))
}

fn throttled(attempt: &Attempt) -> String {
    let each: Vec<String> =
        attempt.throttled().iter().map(|(service, share)| format!("{service} {share:.0} %")).collect();
    each.join(", ")
}

fn charts(search: &Search) -> Vec<Chart> {
    let of_cpus: Vec<&Attempt> = search.attempts.iter().filter(|attempt| attempt.aim != Aim::Memory).collect();
    // What is tried of one total stands in one place of an axis of totals.
    let mut charts = match of_one_total(&of_cpus) {
        true => vec![by_attempt(search.figure, &of_cpus)],
        false => vec![times(&of_cpus), failures(&of_cpus)],
    };
    charts.push(path(search, &of_cpus, "CPUs", |limit| limit.cpus));
    let of_memory: Vec<&Attempt> = search.attempts.iter().filter(|attempt| attempt.aim == Aim::Memory).collect();
    if !of_memory.is_empty() {
        charts.push(path(search, &of_memory, "MiB", |limit| Some((limit.memory_bytes? >> 20) as f64)));
    }
    charts
}

/// Whether all attempts divide the same.
fn of_one_total(attempts: &[&Attempt]) -> bool {
    let totals = || attempts.iter().map(|attempt| attempt.cpus());
    totals().fold(0.0, f64::max) - totals().fold(f64::INFINITY, f64::min) < SAME
}

/// A figure, attempt by attempt.
fn by_attempt(figure: Figure, attempts: &[&Attempt]) -> Chart {
    let lines = passed_and_failed(attempts, figure);
    Chart {
        title: match figure {
            Figure::Rate => "Answered with success each second".into(),
            Figure::P99 => "99th percentile".into(),
            Figure::Cost => "CPU time for every thousand requests".into(),
        },
        description: "Attempt by attempt".into(),
        x: one_by_one(attempts),
        y: Scale::linear(lines.iter().flat_map(|line| &line.values).flatten().copied()),
        unit: figure.unit(),
        lines,
        limits: Vec::new(),
        marks: Vec::new(),
        joined: false,
    }
}

/// One value for each attempt, in their order: a line of those that passed and one of the others.
fn passed_and_failed(attempts: &[&Attempt], figure: Figure) -> Vec<Line> {
    let line = |name: &str, look, wanted: bool| Line {
        name: name.to_owned(),
        look,
        values: attempts.iter().map(|attempt| figure.of(attempt).filter(|_| attempt.passed == wanted)).collect(),
        note: String::new(),
        area: false,
    };
    vec![line("passed", Look::nth(2), true), line("failed", Look::nth(3), false)]
}

/// Response time over the total, of what passed and of what failed.
fn times(attempts: &[&Attempt]) -> Chart {
    let lines = passed_and_failed(&in_order(attempts), Figure::P99);
    Chart {
        title: "99th percentile over the total".into(),
        description: "Of the kind of request whose is the longest; logarithmic axis".into(),
        x: totals(attempts),
        y: Scale::log(lines.iter().flat_map(|line| &line.values).flatten().copied()),
        unit: "ms",
        lines,
        limits: Vec::<Level>::new(),
        marks: Vec::new(),
        joined: false,
    }
}

/// Failed requests over the total.
fn failures(attempts: &[&Attempt]) -> Chart {
    let share = |attempt: &Attempt| 100.0 * attempt.failed as f64 / attempt.requests.max(1) as f64;
    let values = over_total(attempts, |attempt| Some(share(attempt)));
    let line = Line { name: "failed".into(), look: Look::nth(3), values, note: String::new(), area: false };
    Chart {
        title: "Failed requests over the total".into(),
        description: "Of all that were sent until the attempt was given up".into(),
        x: totals(attempts),
        y: Scale::linear(line.values.iter().flatten().copied()),
        unit: "%",
        lines: vec![line],
        limits: Vec::new(),
        marks: Vec::new(),
        joined: true,
    }
}

/// What each service had, attempt by attempt.
fn path(search: &Search, attempts: &[&Attempt], unit: &'static str, of: impl Fn(&Limit) -> Option<f64>) -> Chart {
    let names: Vec<&str> = search.today.iter().map(|limit| limit.service.as_str()).collect();
    let value = |attempt: &Attempt, name: &str| of(attempt.limits.iter().find(|limit| limit.service == *name)?);
    let line = |name: &&str| {
        let values: Vec<Option<f64>> = attempts.iter().map(|attempt| value(attempt, name)).collect();
        let last = values.iter().flatten().last().map_or_else(String::new, |last| format!("last {}", grouped(*last)));
        Line { name: (*name).to_owned(), look: Look::of_service(name, &names), values, note: last, area: false }
    };
    let lines: Vec<Line> = names.iter().map(line).collect();
    Chart {
        title: if unit == "CPUs" { "The split's path".into() } else { "The memory's path".into() },
        description: "What a container of each service had, attempt by attempt; logarithmic axis".into(),
        x: one_by_one(attempts),
        y: Scale::log(lines.iter().flat_map(|line| &line.values).flatten().copied()),
        unit,
        lines,
        limits: Vec::new(),
        marks: Vec::new(),
        joined: true,
    }
}

/// The axis of attempts in their order.
fn one_by_one(attempts: &[&Attempt]) -> Across {
    let count = attempts.len().max(2) - 1;
    let at = |nth: usize| nth as f64 / count as f64;
    Across {
        heading: "Attempt",
        points: attempts.iter().enumerate().map(|(nth, attempt)| format!("{}, {}", nth + 1, what(attempt))).collect(),
        positions: (0..attempts.len()).map(at).collect(),
        ticks: (0..attempts.len()).step_by(5).map(|nth| (at(nth), (nth + 1).to_string())).collect(),
    }
}

/// What an attempt is for, and the settings that it tries.
fn what(attempt: &Attempt) -> String {
    let settings: String = attempt.settings.iter().map(|(name, value)| format!(", {name}={value}")).collect();
    format!("{}{settings}", attempt.aim)
}

/// One value for each attempt, in the order of [`totals`].
fn over_total(attempts: &[&Attempt], of: impl Fn(&Attempt) -> Option<f64>) -> Vec<Option<f64>> {
    in_order(attempts).into_iter().map(of).collect()
}

/// The axis of the totals; each attempt has a point of its own.
fn totals(attempts: &[&Attempt]) -> Across {
    let ordered = in_order(attempts);
    let scale = Scale::log(ordered.iter().map(|attempt| attempt.cpus()));
    let position = |total: f64| scale.position(total).unwrap_or_default();
    Across {
        heading: "CPUs in all",
        points: ordered.iter().map(|attempt| format!("{:.3}, {}", attempt.cpus(), attempt.aim)).collect(),
        positions: ordered.iter().map(|attempt| position(attempt.cpus())).collect(),
        ticks: scale.ticks().into_iter().map(|tick| (position(tick), grouped(tick))).collect(),
    }
}

fn in_order<'a>(attempts: &[&'a Attempt]) -> Vec<&'a Attempt> {
    let mut ordered = attempts.to_vec();
    ordered.sort_by(|a, b| a.cpus().total_cmp(&b.cpus()));
    ordered
}

fn size(bytes: u64) -> String {
    format!("{} MiB", grouped((bytes as f64 / f64::from(1 << 20)).round()))
}
