//! A torment: whether it passes, faults, errors and response times on one time line, and what each fault did.

use maud::{Markup, html};

use super::chart::{Across, Chart, Line, with_suffix};
use super::look::Look;
use super::page::{frame, made_by};
use super::scale::{self, Scale};
use crate::record::metric::grouped;
use crate::record::torment::recovery::Summary;
use crate::record::torment::report::Report;
use crate::record::torment::{CLUSTER, History, Request};
use crate::terminal;

/// Points of the time line in each second.
const POINTS_A_SECOND: u64 = 4;

/// Columns of the table of faults; all but the first hold numbers.
const HEADINGS: [&str; 7] = [
    "fault",
    "tried",
    "served again",
    "failed requests",
    "slowest, ms",
    "back, ms: median, longest",
    "served, ms: median, longest",
];

/// The same for a cluster, whose hosts are brought back by whoever brought the fault about.
const CLUSTER_HEADINGS: [&str; 7] = [
    "fault",
    "tried",
    "served again",
    "failed requests",
    "slowest, ms",
    "without writes, s: median, longest",
    "without reads, s: median, longest",
];

/// What it came to, as text: the findings, and a row for each fault.
pub(super) fn text(report: &Report) -> String {
    let rows = report.faults.iter().map(|summary| row(summary, is_of_cluster(report)));
    let table = terminal::markdown(headings(report), rows, 1..HEADINGS.len());
    let reasons: String = report.reasons.iter().map(|reason| format!("- {reason}\n")).collect();
    let skipped = report.header.skipped.iter();
    let skipped: String = skipped.map(|(name, reason)| format!("Not tried: {name} ({reason}).\n")).collect();
    let word = word(report);
    format!("{word}: {}\n{reasons}\n{table}\n\n{}\n{skipped}", findings(report), meaning(report))
}

/// What the two last columns mean.
const NOTE: &str = "Back: a process that died is there again, ready. Served: each kind of request was answered well again, and \
                    none that was sent later failed. Both from the fault's end.";

/// The same for a cluster.
const CLUSTER_NOTE: &str = "Without writes: the longest time in which no create was acknowledged, from the fault's beginning on. \
                            Without reads: the same of fetches, searches and counts that were answered well.";

/// The page.
pub(super) fn page(report: &Report, history: &History) -> Markup {
    let header = &report.header;
    let about = format!(
        "{} · {} s of faults under {} clients · seed {} · {} · {}",
        header.id, header.seconds, header.clients, header.seed, header.engine, header.started
    );
    let masthead = html! { p.brand { "Peleja" } p.about { (about) } };
    let main = html! {
        section.top aria-label="Verdict" { (verdict(report)) }
        section aria-labelledby="line" {
            h2 #line { "Faults, answers and response times" }
            div.charts {
                @for (chart, id) in charts(history).iter().zip(0..) { (chart.render(&format!("chart-{id}"))) }
            }
        }
        section aria-labelledby="faults" {
            h2 #faults { "What each fault did" }
            p.note { (if is_of_cluster(report) { CLUSTER_NOTE } else { NOTE }) }
            (table(report))
            @for (name, reason) in &header.skipped { p.note { "Not tried: " (name) " (" (reason) ")." } }
        }
    };
    let origin = html! { (made_by("torment")) " from " (header.id) ".jsonl." };
    frame(&format!("Torment: {} · Peleja", word(report)), false, masthead, main, origin)
}

fn verdict(report: &Report) -> Markup {
    let (tone, icon) = if report.passed { ("clean", "✓") } else { ("failed", "✕") };
    html! {
        div.{ "verdict " (tone) } {
            span.icon aria-hidden="true" { (icon) }
            div {
                h1 { (word(report)) }
                p { (findings(report)) ". " (meaning(report)) }
                @if !report.reasons.is_empty() { ul { @for reason in &report.reasons { li { (reason) } } } }
            }
        }
    }
}

fn word(report: &Report) -> &'static str {
    if report.passed { "Passed" } else { "Failed" }
}

fn findings(report: &Report) -> String {
    let kinds = report.findings.kinds().map(|(kind, found)| format!("{kind} {}", found.len()));
    kinds.join(", ")
}

fn meaning(report: &Report) -> String {
    format!(
        "{} faults among {} requests, of which {} failed; {} people are stored.",
        report.effects.len(),
        grouped(report.requests as f64),
        grouped(report.failed as f64),
        grouped(report.people as f64)
    )
}

fn table(report: &Report) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Faults" {
            table.figures {
                thead { tr { @for (nth, heading) in headings(report).iter().enumerate() { th.text[nth == 0] scope="col" { (heading) } } } }
                tbody {
                    @for summary in &report.faults {
                        tr { @for (nth, cell) in row(summary, is_of_cluster(report)).iter().enumerate() { td.text[nth == 0] { (cell) } } }
                    }
                }
            }
        }
    }
}

fn is_of_cluster(report: &Report) -> bool {
    report.header.engine == CLUSTER
}

fn headings(report: &Report) -> &'static [&'static str; HEADINGS.len()] {
    if is_of_cluster(report) { &CLUSTER_HEADINGS } else { &HEADINGS }
}

fn row(summary: &Summary, of_cluster: bool) -> [String; HEADINGS.len()] {
    let none = || "–".to_owned();
    let pair =
        |times: Option<[f64; 2]>| times.map_or_else(none, |[median, longest]| format!("{median:.0}, {longest:.0}"));
    let seconds = |times: Option<[f64; 2]>| {
        times.map_or_else(none, |[median, longest]| format!("{:.1}, {:.1}", median / 1e3, longest / 1e3))
    };
    let times = match of_cluster {
        true => [seconds(summary.without_writes_ms), seconds(summary.without_reads_ms)],
        false => [pair(summary.back_ms), pair(summary.served_ms)],
    };
    let [first, second] = times;
    [
        summary.name.clone(),
        summary.times.to_string(),
        summary.recovered.to_string(),
        summary.failed.to_string(),
        format!("{:.0}", summary.slowest_ms),
        first,
        second,
    ]
}

fn charts(history: &History) -> Vec<Chart> {
    let time = Time::of(history);
    vec![response_times(history, &time), answers(history, &time), under_way(history, &time)]
}

/// The time line that all charts share.
struct Time {
    points: usize,
    across: Across,
}

impl Time {
    fn of(history: &History) -> Self {
        let ends = history.requests.iter().map(|request| request.end);
        let points = ends.max().map_or(1, |end| nth_point(end) + 1);
        let seconds = points as f64 / POINTS_A_SECOND as f64;
        let position = |seconds_in: f64| seconds_in / seconds;
        let second = |point: usize| point as f64 / POINTS_A_SECOND as f64;
        let ticks = scale::seconds(seconds).into_iter();
        let across = Across {
            heading: "Second",
            points: (0..points).map(|point| format!("{:.2}", second(point))).collect(),
            positions: (0..points).map(|point| position(second(point))).collect(),
            ticks: ticks.map(|tick| (position(tick), format!("{tick} s"))).collect(),
        };
        Self { points, across }
    }

    /// The values of each point, of those requests that ended there.
    fn by_point<'a>(&self, requests: impl Iterator<Item = &'a Request>) -> Vec<Vec<f64>> {
        let mut points = vec![Vec::new(); self.points];
        for request in requests {
            points[nth_point(request.end)].push((request.end - request.begin) as f64 / 1e3);
        }
        for times in &mut points {
            times.sort_by(f64::total_cmp);
        }
        points
    }
}

fn nth_point(micros: u64) -> usize {
    usize::try_from(micros * POINTS_A_SECOND / 1_000_000).unwrap_or_default()
}

fn response_times(history: &History, time: &Time) -> Chart {
    let points = time.by_point(history.requests.iter());
    let line = |nth, name: &str, value: &dyn Fn(&[f64]) -> Option<f64>| {
        let values: Vec<Option<f64>> = points.iter().map(|times| value(times)).collect();
        let most = values.iter().flatten().copied().fold(0.0, f64::max);
        let note = format!("at most {}", with_suffix(most, "ms"));
        Line { name: name.into(), look: Look::nth(nth), values, note, area: false }
    };
    let lines = vec![
        line(0, "slowest", &|times| times.last().copied()),
        line(1, "median", &|times| times.get(times.len() / 2).copied()),
    ];
    let all = lines.iter().flat_map(|line| line.values.iter().flatten().copied());
    Chart {
        title: "Response times".into(),
        description: "Of all requests that ended in each quarter of a second".into(),
        x: time.across.clone(),
        y: Scale::log(all),
        unit: "ms",
        lines,
        limits: Vec::new(),
        marks: Vec::new(),
        joined: false,
    }
}

fn answers(history: &History, time: &Time) -> Chart {
    let line = |look, name: &str, wanted: &dyn Fn(&&Request) -> bool| {
        let points = time.by_point(history.requests.iter().filter(wanted));
        let values: Vec<Option<f64>> =
            points.iter().map(|times| Some((times.len() as u64 * POINTS_A_SECOND) as f64)).collect();
        let note = grouped(points.iter().map(Vec::len).sum::<usize>() as f64);
        Line { name: name.into(), look, values, note, area: false }
    };
    let lines = vec![
        line(Look::nth(2), "answered", &|request| !request.failed()),
        line(Look::nth(3), "503 and the like", &|request| request.failed() && request.status.is_some()),
        line(Look::nth(4), "no answer", &|request| request.status.is_none()),
    ];
    let all = lines.iter().flat_map(|line| line.values.iter().flatten().copied());
    Chart {
        title: "Answers a second".into(),
        description: "Requests that ended in each quarter of a second, times four".into(),
        x: time.across.clone(),
        y: Scale::linear(all),
        unit: "/s",
        lines,
        limits: Vec::new(),
        marks: Vec::new(),
        joined: false,
    }
}

/// A line at a height of its own for what ends a process, what hinders it, and what comes between two.
fn under_way(history: &History, time: &Time) -> Chart {
    let rows: [(&str, &[&str]); 3] = [
        ("cut, late or held", &["cut", "delay", "hold"]),
        ("stopped or starved", &["stop", "cpu", "memory", "disk"]),
        ("killed or told to end", &["kill", "restart", "power", "switchover"]),
    ];
    let line = |(nth, (name, kinds)): (usize, (&str, &[&str]))| {
        let kind = |fault: &str| fault.split('-').next().is_some_and(|kind| kinds.contains(&kind));
        let faults = history.faults.iter().filter(|fault| kind(&fault.name));
        let spans: Vec<_> = faults
            .map(|fault| nth_point(fault.begin)..=nth_point(fault.back.unwrap_or(fault.end).max(fault.end)))
            .collect();
        let height = |point| spans.iter().any(|span| span.contains(&point)).then_some((nth + 1) as f64);
        let values = (0..time.points).map(height).collect();
        Line { name: name.into(), look: Look::nth(5 + nth), values, note: spans.len().to_string(), area: false }
    };
    Chart {
        title: "Faults under way".into(),
        description: "From the beginning of each to its end, or until the process was back".into(),
        x: time.across.clone(),
        y: Scale::linear([3.0].into_iter()),
        unit: "",
        lines: rows.into_iter().enumerate().map(line).collect(),
        limits: Vec::new(),
        marks: Vec::new(),
        joined: false,
    }
}
