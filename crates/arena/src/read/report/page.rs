//! The page as a whole.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::Chart;
use super::charts::{self, Runs};
use super::{facts, goodput, headline, spread};
use crate::read::compare;
use crate::record::metric::{Unit, grouped};
use crate::record::run::Run;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// No resource may come from anywhere, whatever a document holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// The page of at least one run.
pub(super) fn page(all: &[Run]) -> Markup {
    let runs = Runs::new(all);
    let top = html! { section.top aria-label="Verdict" { (headline::verdict(&runs)) (cautions(&runs)) } };
    let main = html! { (top) (body(&runs)) };
    frame(
        &title(&runs),
        all.len() > 1,
        masthead(&runs),
        main,
        html! { (made_by("report")) " from " (documents(&runs)) "." },
    )
}

/// A page's frame around what it shows; `several` says that there is more than one run.
pub(super) fn frame(title: &str, several: bool, masthead: Markup, main: Markup, origin: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body.several[several] {
                header { (masthead) }
                main { (main) }
                footer { p { (origin) } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// Which command made a page.
pub(super) fn made_by(command: &str) -> Markup {
    html! { "Made by " code { "cargo arena " (command) } " of Peleja " (env!("CARGO_PKG_VERSION")) }
}

/// Everything below the verdict.
pub(super) fn body(runs: &Runs) -> Markup {
    let mut ids = 0..;
    let mut charts = |charts: Vec<Chart>| {
        html! {
            div.charts { @for (chart, id) in charts.iter().zip(&mut ids) { (chart.render(&format!("chart-{id}"))) } }
        }
    };
    html! {
        section aria-labelledby="times" {
            h2 #times { "Response times" }
            (spread::spread(runs))
            (charts(charts::response_times(runs)))
            (charts(charts::distributions(runs)))
        }
        section aria-labelledby="load" {
            h2 #load { "Load" }
            (charts(goodput::charts(runs)))
            (charts(charts::load(runs)))
            @if runs.all.iter().all(|run| run.failed() == 0 && run.request_count() > 0) { p.note { "No request failed at any time." } }
            (facts::answers(runs))
        }
        section aria-labelledby="cost" {
            h2 #cost { "Cost" }
            @if runs.services().is_empty() {
                p.note { "No service was observed." }
            } @else {
                (facts::costs(runs))
                (facts::cost_notes(runs))
                (charts(charts::cpu(runs)))
                (charts(charts::memory(runs)))
            }
        }
        section aria-labelledby="conditions" { h2 #conditions { "Conditions" } (facts::conditions(runs)) }
    }
}

fn masthead(runs: &Runs) -> Markup {
    html! {
        p.brand { "Peleja" }
        @if let Some(run) = runs.single() { p.about { (about(run)) } } @else { p.about { (runs.names.join(" · ")) } }
    }
}

fn about(run: &Run) -> Markup {
    let settings = &run.settings;
    let mut facts = vec![
        profile(run),
        format!("by {}", run.driver),
        Unit::Seconds.show(run.seconds),
        settings.engine.clone(),
        date(&run.started),
    ];
    facts.extend(run.commit.iter().map(|commit| format!("commit {commit}")));
    html! { strong { (run.label.as_ref().unwrap_or(&run.id)) } " · " (facts.join(" · ")) }
}

fn profile(run: &Run) -> String {
    let times = |factor: f64, what: &str| (factor != 1.0).then(|| format!(", {} times its {what}", grouped(factor)));
    let rates = times(run.settings.rate_factor, "rates").unwrap_or_default();
    let durations = times(run.settings.duration_factor, "durations").unwrap_or_default();
    format!("{} profile{rates}{durations}", run.settings.profile)
}

fn cautions(runs: &Runs) -> Markup {
    let warnings = match runs.all.split_first() {
        Some((first, rest)) if !rest.is_empty() => compare::notes(std::slice::from_ref(first), rest).warnings,
        _ => Vec::new(),
    };
    html! {
        @if !warnings.is_empty() {
            div.caution role="note" {
                h2 { "Compare with care" }
                ul { @for warning in warnings { li { (warning) } } }
            }
        }
    }
}

fn title(runs: &Runs) -> String {
    match runs.single() {
        Some(run) => format!("{}: {} · Peleja", run.label.as_ref().unwrap_or(&run.id), run.verdict().outcome),
        None => format!("{} · Peleja", runs.names.join(", ")),
    }
}

fn documents(runs: &Runs) -> String {
    runs.all.iter().map(|run| format!("{}.json", run.id)).collect::<Vec<_>>().join(", ")
}

fn date(started: &str) -> String {
    let written = started.parse().map(|start: Timestamp| start.strftime("%-d %B %Y, %H:%M UTC").to_string());
    written.unwrap_or_else(|_| started.to_owned())
}
