//! All runs that a server remembers, and any two of them side by side.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Experiment, Format, Page, Visit};
use crate::live::run::{Key, Outcome};

/// Two runs of the list, by their labels.
#[derive(Debug, Default, Deserialize)]
pub struct Chosen {
    /// Stands on the left.
    #[serde(default)]
    left: String,
    /// Stands on the right.
    #[serde(default)]
    right: String,
}

const ROWS: [(&str, &str, Format); 16] = [
    ("requests", "Requests answered", Format::Count),
    ("failed", "Failed or turned away", Format::Count),
    ("rate", "Answered per second", Format::Rate),
    ("seconds", "First to last answer", Format::Seconds),
    ("work_seconds", "Until all work was done", Format::Seconds),
    ("p50", "Response time in the server, median", Format::Milliseconds),
    ("p95", "95 % within", Format::Milliseconds),
    ("p99", "99 % within", Format::Milliseconds),
    ("max", "Longest", Format::Milliseconds),
    ("peak_in_flight", "Most in flight at once", Format::Count),
    ("peak_use", "Most uses at once", Format::Count),
    ("wait_p50", "Time in line, median", Format::Milliseconds),
    ("wait_p99", "Time in line, 99 % within", Format::Milliseconds),
    ("lag_p50", "Accepted until stored, median", Format::Milliseconds),
    ("lag_p99", "Accepted until stored, 99 % within", Format::Milliseconds),
    ("longest_ping", "Longest ping", Format::Milliseconds),
];

/// The list, and the two that were chosen from it.
pub fn page(visit: &Visit, experiment: Experiment, runs: &[(Key, Outcome)], chosen: &Chosen) -> Markup {
    let page = Page { experiment, sheet: "", title: "All runs", visit, sources: vec![] };
    let find = |label: &str| runs.iter().find(|(key, _)| key.label() == label);
    page.render(html! {
        p.question { "The last run of everybody at every side. Choose two: serial and asynchronous, at once and queued, yours and somebody else's." }
        @if runs.is_empty() { p.note { "There is none yet." } }
        @else { (choice(runs, chosen)) }
        @if let (Some(left), Some(right)) = (find(&chosen.left), find(&chosen.right)) { (pair(left, right)) }
        @if !runs.is_empty() { (list(runs, &visit.run)) }
        p { a href="/" { "Back to the experiment" } }
    })
}

fn choice(runs: &[(Key, Outcome)], chosen: &Chosen) -> Markup {
    let select = |name: &str, label: &str, chosen: &str| {
        html! {
            label { span { (label) } select name=(name) {
                @for (key, _) in runs { @let text = key.label(); option value=(text) selected[text == chosen] { (text) } }
            } }
        }
    };
    html! {
        form.name action="/runs" method="get" {
            (select("left", "This one", &chosen.left))
            (select("right", "beside", &chosen.right))
            button type="submit" { "Side by side" }
        }
    }
}

fn pair(left: &(Key, Outcome), right: &(Key, Outcome)) -> Markup {
    let figures = [left, right].map(|(_, outcome)| json!(outcome));
    let has = |figure: &str| figures.iter().any(|outcome| outcome[figure].is_number());
    html! {
        h2 { "Side by side" }
        div.scroll { table.pair-of-runs {
            thead { tr { th scope="col" { "Figure" } @for (key, outcome) in [left, right] { th.number scope="col" { (key.label()) @if outcome.running { ", under way" } } } } }
            tbody { @for (figure, label, format) in ROWS.iter().filter(|(figure, ..)| has(figure)) {
                tr {
                    th scope="row" { (label) @if !format.unit().is_empty() { span.unit { ", " (format.unit()) } } }
                    @for outcome in &figures { td.number { (written(outcome, figure, *format)) } }
                }
            } }
        } }
    }
}

/// The columns of the list, under heads short enough for all of them to stand beside each other.
const COLUMNS: [(&str, &str, Format); 9] = [
    ("requests", "requests", Format::Count),
    ("failed", "failed", Format::Count),
    ("rate", "per second", Format::Rate),
    ("p50", "median, ms", Format::Milliseconds),
    ("p99", "99 %, ms", Format::Milliseconds),
    ("peak_in_flight", "in flight", Format::Count),
    ("peak_use", "uses at once", Format::Count),
    ("wait_p99", "in line, 99 %, ms", Format::Milliseconds),
    ("lag_p99", "stored, 99 %, ms", Format::Milliseconds),
];

fn list(runs: &[(Key, Outcome)], own: &str) -> Markup {
    let outcomes: Vec<(&Key, &Outcome, Value)> = runs.iter().map(|(key, run)| (key, run, json!(run))).collect();
    let columns: Vec<_> =
        COLUMNS.iter().filter(|(figure, ..)| outcomes.iter().any(|(.., run)| run[*figure].is_number())).collect();
    html! {
        h2 { "Everybody's last" }
        div.scroll { table.runs {
            thead { tr { th scope="col" { "Run" } th scope="col" { "began, UTC" } @for (_, label, _) in &columns { th.number scope="col" { (label) } } } }
            tbody { @for (key, run, figures) in &outcomes {
                tr.own[key.name == own] {
                    th scope="row" { (key.label()) @if run.running { " …" } }
                    td { (run.began.strftime("%H:%M:%S")) }
                    @for (figure, _, format) in &columns { td.number { (written(figures, figure, *format)) } }
                }
            } }
        } }
    }
}

fn written(outcome: &Value, figure: &str, format: Format) -> String {
    outcome[figure].as_f64().map_or("–".into(), |value| format.write(value))
}
