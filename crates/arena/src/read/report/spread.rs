//! Where the response times of each kind lie: one row a distribution on an axis that all share.

use maud::{Markup, html};

use super::charts::Runs;
use super::look::Look;
use super::scale::Scale;
use crate::record::metric::{grouped, measured};
use crate::record::run::{Percentiles, Requests};

/// The figure and its table.
pub(super) fn spread(runs: &Runs) -> Markup {
    let rows = rows(runs);
    let sent = || rows.iter().filter(|row| row.requests.count > 0).map(|row| &row.requests.response);
    if sent().next().is_none() {
        return html! { p.note { "No request was sent." } };
    }
    let scale = Scale::log(sent().flat_map(|times| [times.p50, times.p99, times.max]));
    html! {
        figure.spread {
            figcaption {
                h3 #spread-title { "Median, 95th and 99th percentile, and slowest" }
                p { "Milliseconds on a logarithmic axis; the figures stand in the table below." }
            }
            ul.legend aria-hidden="true" {
                @for (class, name) in MARKS { li { span.{ "sign " (class) } {} span.name { (name) } } }
            }
            div.rows aria-hidden="true" {
                @for row in &rows {
                    @if row.is_first { p.kind { (row.kind) } }
                    (row.draw(scale))
                }
                div.axis { span {} div { @for tick in scale.ticks() { @if let Some(at) = scale.position(tick) {
                    span style={ "left:" (percent(at)) } { (grouped(tick)) }
                } } } }
            }
        }
        (table(runs, &rows))
    }
}

const MARKS: [(&str, &str); 4] = [("p50", "median"), ("p95", "95th"), ("p99", "99th"), ("max", "slowest")];

struct Row<'a> {
    kind: &'a str,
    /// Name of the run, where there are several.
    run: Option<&'a str>,
    look: Look,
    /// Whether it is the first of several rows of its kind.
    is_first: bool,
    requests: &'a Requests,
}

impl Row<'_> {
    fn draw(&self, scale: Scale) -> Markup {
        let times = &self.requests.response;
        let at = |value: f64| scale.position(value).unwrap_or_default();
        let sent = self.requests.count > 0;
        html! {
            div.{ "row " (self.look) } {
                span.label { (self.run.unwrap_or(self.kind)) }
                div.track {
                    @if sent {
                        span.bar style={ "left:" (percent(at(times.p50))) ";right:" (percent(1.0 - at(times.max))) } {}
                        @for ((class, name), value) in MARKS.iter().zip([times.p50, times.p95, times.p99, times.max]) {
                            span.{ "sign " (class) } style={ "left:" (percent(at(value))) } title={ (self.kind) ", " (name) ": " (measured(value)) " ms" } {}
                        }
                    }
                }
            }
        }
    }
}

fn rows<'a>(runs: &'a Runs<'a>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (look_of_kind, kind) in runs.kinds_with_looks() {
        let before = rows.len();
        for (look_of_run, name, run) in runs.named() {
            let single = runs.single().is_some();
            let found = run.requests.iter().find(|requests| requests.kind == kind);
            rows.extend(found.map(|requests| Row {
                kind,
                run: (!single).then_some(name),
                look: if single { look_of_kind } else { look_of_run },
                is_first: !single && rows.len() == before,
                requests,
            }));
        }
    }
    rows
}

type Column = (&'static str, fn(&Percentiles) -> f64);

const COLUMNS: [Column; 6] = [
    ("mean", |times| times.mean),
    ("p50", |times| times.p50),
    ("p75", |times| times.p75),
    ("p95", |times| times.p95),
    ("p99", |times| times.p99),
    ("max", |times| times.max),
];

fn table(runs: &Runs, rows: &[Row]) -> Markup {
    let with_service = rows.iter().any(|row| row.requests.service.is_some());
    html! {
        div.scroll tabindex="0" role="region" aria-label="Response times by kind of request" {
            table.figures {
                caption { span {
                    "Response times in milliseconds"
                    @if with_service { ", from the moment each request was due; service time from the moment it was sent" }
                } }
                thead { tr {
                    th scope="col" { "Kind" }
                    @if runs.single().is_none() { th.text scope="col" { "Run" } }
                    th scope="col" { "Requests" } th scope="col" { "Failed" }
                    @for (name, _) in COLUMNS { th scope="col" { (name) } }
                    @if with_service { th scope="col" { "service p50" } th scope="col" { "service p99" } }
                } }
                tbody { @for row in rows { tr.first[row.is_first] {
                    th scope="row" { (row.kind) }
                    @if let Some(run) = row.run { td.text { (run) } }
                    td { (grouped(row.requests.count as f64)) }
                    td.bad[row.requests.failed() > 0] { (grouped(row.requests.failed() as f64)) }
                    @for (_, read) in COLUMNS { td { (time(row.requests.response_time(read))) } }
                    @if with_service {
                        td { (time(row.requests.service.map(|times| times.p50))) }
                        td { (time(row.requests.service.map(|times| times.p99))) }
                    }
                } } }
            }
        }
    }
}

fn time(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), measured)
}

fn percent(at: f64) -> String {
    format!("{:.2}%", at * 100.0)
}
