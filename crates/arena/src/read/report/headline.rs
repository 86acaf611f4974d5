//! The top of the page: what came of it, in ten seconds of looking.

use maud::{Markup, html};

use super::charts::Runs;
use crate::record::metric::{Better, Metric, Unit, grouped, measured};
use crate::record::run::{Outcome, Run};

/// The judgement over one run with its main figures, or a table of several.
pub(super) fn verdict(runs: &Runs) -> Markup {
    match runs.single() {
        Some(run) => html! { (verdict_of(run)) (tiles(run)) },
        None => side_by_side(runs),
    }
}

fn verdict_of(run: &Run) -> Markup {
    html! {
        div.{ "verdict " (run.verdict().outcome) } {
            span.icon aria-hidden="true" { (icon(run.verdict().outcome)) }
            div {
                h1 { (word(run.verdict().outcome)) }
                p { (meaning(run)) }
                @if !run.verdict().reasons.is_empty() {
                    ul { @for reason in &run.verdict().reasons { li { (reason) } } }
                }
                @for unchecked in &run.verdict().unchecked {
                    p { "Not checked: " (unchecked) "." }
                }
            }
        }
    }
}

fn icon(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Clean => "✓",
        Outcome::Failed | Outcome::OverBudget | Outcome::NoBudget => "✕",
        Outcome::Suspect => "!",
        Outcome::Invalid => "?",
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Clean => "Clean",
        Outcome::Failed => "Failed",
        Outcome::OverBudget => "Over budget",
        Outcome::NoBudget => "No budget",
        Outcome::Suspect => "Suspect",
        Outcome::Invalid => "Invalid",
    }
}

fn meaning(run: &Run) -> String {
    let count = run.request_count();
    let failed = match run.failed() {
        0 if count == 0 => "No request was sent".to_owned(),
        0 => format!("None of {} requests failed", grouped(count as f64)),
        failed => format!("{} of {} requests failed", grouped(failed as f64), grouped(count as f64)),
    };
    let people = run.people().map_or(". How many people are stored is not known".to_owned(), |people| {
        match (people.lost(), people.extra()) {
            (0, 0) if people.ceiling == 0 => ", and none of them should have stored anybody".to_owned(),
            (0, 0) => format!(", and all {} people are stored", grouped(people.stored as f64)),
            (0, extra) => format!(", and {} people are stored that should have been refused", grouped(extra as f64)),
            (lost, _) => {
                format!(", and {} of {} people are missing", grouped(lost as f64), grouped(people.ceiling as f64))
            }
        }
    });
    let caution = match run.verdict().outcome {
        Outcome::Clean | Outcome::Failed => "",
        Outcome::OverBudget => " Its services may use more than the budget.",
        Outcome::NoBudget => " Not every service has a limit, so nothing can be said of the budget.",
        Outcome::Suspect => " The load generator was late now and then: read the tails with care.",
        Outcome::Invalid => " The load generator was the bottleneck: this says nothing about the server.",
    };
    format!("{failed}{people}.{caution}")
}

fn tiles(run: &Run) -> Markup {
    let found = [people(run), failures(run), slowest(run), cost(run), throttling(run)];
    html! {
        dl.tiles {
            @for tile in found.into_iter().flatten() {
                div.bad[tile.bad] {
                    dt { (tile.name) }
                    dd { strong { (tile.figure) } " " span { (tile.detail) } }
                }
            }
        }
    }
}

struct Tile {
    name: &'static str,
    figure: String,
    detail: String,
    bad: bool,
}

fn people(run: &Run) -> Option<Tile> {
    let people = run.people()?;
    let detail = match (people.lost(), people.extra()) {
        (0, 0) => format!("of {}", grouped(people.ceiling as f64)),
        (0, extra) => format!("{} too many", grouped(extra as f64)),
        (lost, _) => format!("of {}, {} lost", grouped(people.ceiling as f64), grouped(lost as f64)),
    };
    let bad = people.lost() + people.extra() > 0;
    Some(Tile { name: "People stored", figure: grouped(people.stored as f64), detail, bad })
}

fn failures(run: &Run) -> Option<Tile> {
    Some(Tile {
        name: "Failed requests",
        figure: grouped(run.failed() as f64),
        detail: format!("of {}", grouped(run.request_count() as f64)),
        bad: run.failed() > 0,
    })
}

fn slowest(run: &Run) -> Option<Tile> {
    let mut kinds: Vec<(&str, f64)> = run
        .requests
        .iter()
        .filter_map(|kind| Some((kind.kind.as_str(), kind.response_time(|times| times.p99)?)))
        .collect();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (name, time) = kinds.first()?;
    let others: Vec<String> =
        kinds.iter().skip(1).map(|(kind, time)| format!("{kind}\u{a0}{}", measured(*time))).collect();
    let detail = if others.is_empty() { (*name).to_owned() } else { format!("{name}; {}", others.join(", ")) };
    Some(Tile { name: "Highest p99", figure: Unit::Milliseconds.show(*time), detail, bad: false })
}

fn cost(run: &Run) -> Option<Tile> {
    let total = value("total.cpu_ms_per_thousand", run)?;
    let of = |service: &String| value(&format!("{service}.cpu_ms_per_thousand"), run);
    let services =
        run.services.iter().filter_map(|cost| Some(format!("{}\u{a0}{}", cost.service, measured(of(&cost.service)?))));
    Some(Tile {
        name: "CPU per 1,000 requests",
        figure: Unit::Milliseconds.show(total),
        detail: services.collect::<Vec<_>>().join(", "),
        bad: false,
    })
}

fn throttling(run: &Run) -> Option<Tile> {
    let shares = run
        .services
        .iter()
        .filter_map(|cost| Some((value(&format!("{}.throttled_percent", cost.service), run)?, &cost.service)));
    let (most, service) = shares.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let detail = if most > 0.0 { format!("of {service}'s periods") } else { "of any service's periods".to_owned() };
    Some(Tile { name: "Most throttled", figure: Unit::Percent.show(most), detail, bad: false })
}

fn side_by_side(runs: &Runs) -> Markup {
    html! {
        h1 { (runs.all.len()) " runs side by side" }
        div.scroll tabindex="0" role="region" aria-label="Main figures of each run" {
            table.runs {
                thead { tr {
                    th scope="col" { "Run" }
                    @for (look, name, _) in runs.named() {
                        th.{ (look) } scope="col" { svg.key viewBox="0 0 24 10" aria-hidden="true" { path.line d="M1 5H23" {} } (name) }
                    }
                } }
                tbody {
                    tr { th scope="row" { "Verdict" } @for run in runs.all {
                        td.{ "outcome " (run.verdict().outcome) } { span aria-hidden="true" { (icon(run.verdict().outcome)) } " " (word(run.verdict().outcome)) }
                    } }
                    @for (metric, name) in rows(runs) { tr {
                        th scope="row" { (name) }
                        @for (nth, run) in runs.all.iter().enumerate() { (compared(&metric, run, (nth > 0).then(|| &runs.all[0]))) }
                    } }
                }
            }
        }
        p.note { "Changes are against the first run. Single runs say nothing of noise: " code { "cargo arena compare" } " takes sets of runs and tells it." }
    }
}

/// The figures to set side by side, with names for people.
fn rows(runs: &Runs) -> Vec<(Metric, String)> {
    let kinds = runs.kinds().into_iter().flat_map(|kind| {
        [
            (format!("{kind}.p50"), format!("{kind}, median")),
            (format!("{kind}.p99"), format!("{kind}, 99th percentile")),
        ]
    });
    let services = runs.services().into_iter().chain(["total"]).map(|service| {
        let name = if service == "total" { "all services" } else { service };
        (format!("{service}.cpu_ms_per_thousand"), format!("CPU per 1,000 requests, {name}"))
    });
    let first = [("people.stored", "People stored"), ("failed", "Failed requests"), ("rate", "Requests a second")];
    let first = first.into_iter().map(|(metric, name)| (metric.to_owned(), name.to_owned()));
    let named = first.chain(kinds).chain(services);
    let known = named.filter_map(|(metric, name)| Some((Metric::parse(&metric).ok()?, name)));
    known.filter(|(metric, _)| runs.all.iter().any(|run| metric.value(run).is_some())).collect()
}

fn compared(metric: &Metric, run: &Run, base: Option<&Run>) -> Markup {
    let Some(value) = metric.value(run) else { return html! { td { "–" } } };
    let change = base
        .and_then(|base| metric.value(base))
        .filter(|base| *base != 0.0 && *base != value)
        .map(|base| 100.0 * (value - base) / base);
    let class = change.map_or("", |change| match metric.better() {
        Better::Lower if change <= -0.5 => "better",
        Better::Higher if change >= 0.5 => "better",
        Better::Lower if change >= 0.5 => "worse",
        Better::Higher if change <= -0.5 => "worse",
        _ => "",
    });
    html! { td { (metric.unit().show(value)) @if let Some(change) = change { " " small class=(class) { (signed_percent(change)) } } } }
}

fn signed_percent(change: f64) -> String {
    let sign = if change < 0.0 { "−" } else { "+" };
    format!("{sign}{} %", grouped((change.abs() * 10.0).round() / 10.0))
}

fn value(metric: &str, run: &Run) -> Option<f64> {
    Metric::parse(metric).ok()?.value(run)
}
