//! What a service cost, what was answered, and under which conditions: tables with a column for each run.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::charts::Runs;
use crate::read::costs::{self, Row};
use crate::record::metric::{Metric, Unit, grouped};
use crate::record::run::Run;

/// What each service used, for each run.
pub(super) fn costs(runs: &Runs) -> Markup {
    let rows: Vec<(&str, Vec<Row>)> = runs.named().map(|(_, name, run)| (name, costs::of_services(run))).collect();
    let mut lines = Vec::new();
    for service in runs.services() {
        for (nth, (name, rows)) in rows.iter().enumerate() {
            let row = rows.iter().find(|row| row.cost.service == service);
            lines.extend(row.map(|row| (nth, *name, row)));
        }
    }
    let most = lines.iter().filter_map(|(_, _, row)| row.cpu_ms_per_thousand).fold(0.0, f64::max);
    let share = |row: &Row| {
        let milliseconds = row.cpu_ms_per_thousand.unwrap_or_default();
        format!("--share:{:.1}%", 100.0 * milliseconds / most.max(f64::MIN_POSITIVE))
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="What each service used" {
            table.figures {
                caption { span { "What each service used during the load" } }
                thead { tr {
                    th scope="col" { "Service" }
                    @if runs.single().is_none() { th.text scope="col" { "Run" } }
                    th scope="col" { "CPU limit" }
                    @for (name, _, _) in COSTS { th scope="col" { (name) } }
                    th scope="col" { "Memory limit" }
                } }
                tbody {
                    @for (nth, name, row) in &lines { tr.first[runs.single().is_none() && *nth == 0] {
                        th scope="row" { (row.cost.service) }
                        @if runs.single().is_none() { td.text { (name) } }
                        td { (cpu_limit(row.cpu_limit)) }
                        @for (column, (_, figure, unit)) in COSTS.into_iter().enumerate() {
                            td.share[column == SHARED] style=[(column == SHARED).then(|| share(row))] {
                                (show(figure(row), unit)) (mark(row, column))
                            }
                        }
                        td { (memory_limit(row.memory_limit)) }
                    } }
                }
                tfoot { @for (name, run, row) in runs.named().filter_map(|(_, name, run)| Some((name, run, costs::of_all(run)?))) { tr {
                    th scope="row" { "all services" }
                    @if runs.single().is_none() { td.text { (name) } }
                    td { (grouped(run.budget.iter().filter_map(|limit| limit.cpus).sum())) }
                    @for (column, (_, figure, unit)) in COSTS.into_iter().enumerate() {
                        td { (show(figure(&row), unit)) (mark(&row, column)) }
                    }
                    td { (Unit::Bytes.show(run.budget.iter().filter_map(|limit| limit.memory_bytes).sum::<u64>() as f64)) }
                } } }
            }
        }
    }
}

/// What else is to be known of these figures, for each run.
pub(super) fn cost_notes(runs: &Runs) -> Markup {
    let notes = runs.named().flat_map(|(_, name, run)| costs::notes(run).into_iter().map(move |note| (name, note)));
    html! {
        @for (name, note) in notes { p.note { @if runs.single().is_none() { (name) ": " } (note) } }
    }
}

/// The figure that is also drawn as a bar, by its place in [`COSTS`].
const SHARED: usize = 0;

/// The figure that may only be sampled.
const PEAK: usize = 5;

fn mark(row: &Row, column: usize) -> &'static str {
    if column == PEAK && row.cost.memory_peak_sampled { costs::SAMPLED } else { "" }
}

type Figure = fn(&Row) -> Option<f64>;

const COSTS: [(&str, Figure, Unit); 6] = [
    ("CPU per 1,000 requests", |row| row.cpu_ms_per_thousand, Unit::Milliseconds),
    ("CPU in all", |row| Some(row.cost.cpu_seconds), Unit::Seconds),
    ("Periods throttled", |row| row.throttled_percent, Unit::Percent),
    ("Waited for quota", |row| row.cost.throttled_seconds, Unit::Seconds),
    ("Written to disk", |row| row.cost.disk_write_bytes.map(|bytes| bytes as f64), Unit::Bytes),
    ("Peak memory", |row| row.cost.memory_peak_bytes.map(|bytes| bytes as f64), Unit::Bytes),
];

/// Answers by status and failures by reason; nothing where the runs keep neither.
pub(super) fn answers(runs: &Runs) -> Markup {
    let mut lines = Vec::new();
    for (_, name, run) in runs.named() {
        for kind in &run.requests {
            let statuses = kind.statuses.iter().map(|(status, count)| (status.to_string(), *count, false));
            let failures = kind.failures.iter().map(|(reason, count)| (reason.clone(), *count, true));
            lines.extend(
                statuses.chain(failures).map(|(answer, count, failed)| (name, &kind.kind, answer, count, failed)),
            );
        }
    }
    html! {
        @if !lines.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Answers by status and failures by reason" {
                table.answers {
                    caption { span { "Answers by status, and failures by reason" } }
                    thead { tr {
                        th scope="col" { "Kind" }
                        @if runs.single().is_none() { th.text scope="col" { "Run" } }
                        th.text scope="col" { "Answer" } th scope="col" { "Requests" }
                    } }
                    tbody { @for (name, kind, answer, count, failed) in &lines { tr {
                        th scope="row" { (kind) }
                        @if runs.single().is_none() { td.text { (name) } }
                        td.text.bad[*failed] { @if *failed { "failed: " } (answer) }
                        td { (grouped(*count as f64)) }
                    } } }
                }
            }
        }
    }
}

/// Settings, limits, versions, machine and durability, with rows marked in which the runs differ.
pub(super) fn conditions(runs: &Runs) -> Markup {
    let groups: [(&str, Vec<Fact>); 6] = [
        ("Settings", settings(runs)),
        ("Budget", budget(runs)),
        ("Durability", durability(runs)),
        ("Load generator", generator(runs)),
        ("Versions", versions(runs)),
        ("Machine", machine(runs)),
    ];
    html! {
        div.conditions {
            @for (title, facts) in groups { @if facts.iter().any(Fact::known) { section {
                h3 { (title) }
                div.scroll tabindex="0" role="region" aria-label=(title) { table.facts {
                    @if runs.single().is_none() { thead { tr {
                        td {} @for name in &runs.names { th scope="col" { (name) } }
                    } } }
                    tbody { @for fact in facts.iter().filter(|fact| fact.known()) { tr.differs[fact.differs()] {
                        th scope="row" { (fact.name) @if fact.differs() { " " span.badge { "differs" } } }
                        @for value in &fact.values { td { (value.as_deref().unwrap_or("–")) } }
                    } } }
                } }
            } } }
        }
    }
}

/// One property and its value in each run.
struct Fact {
    name: String,
    values: Vec<Option<String>>,
}

impl Fact {
    fn of(name: impl Into<String>, runs: &Runs, read: impl Fn(&Run) -> Option<String>) -> Self {
        Self { name: name.into(), values: runs.all.iter().map(read).collect() }
    }

    fn known(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }

    fn differs(&self) -> bool {
        self.values.iter().any(|value| *value != self.values[0])
    }
}

fn settings(runs: &Runs) -> Vec<Fact> {
    let more: BTreeSet<&String> = runs.all.iter().flat_map(|run| run.settings.more.keys()).collect();
    let mut facts = vec![
        Fact::of("Driver", runs, |run| Some(run.driver.to_string())),
        Fact::of("Commit", runs, |run| run.commit.clone()),
        Fact::of("Engine", runs, |run| given(&run.settings.engine)),
        Fact::of("Target", runs, |run| given(&run.settings.target)),
        Fact::of("Profile", runs, |run| given(&run.settings.profile)),
        Fact::of("Vocabulary", runs, |run| given(&run.settings.vocabulary)),
        Fact::of("Rate factor", runs, |run| Some(run.settings.rate_factor.to_string())),
        Fact::of("Duration factor", runs, |run| Some(run.settings.duration_factor.to_string())),
        Fact::of("Length of the load", runs, |run| Some(Unit::Seconds.show(run.seconds))),
    ];
    facts.extend(more.into_iter().map(|name| Fact::of(name, runs, |run| run.settings.more.get(name).cloned())));
    facts
}

fn budget(runs: &Runs) -> Vec<Fact> {
    let services: BTreeSet<&String> = runs.all.iter().flat_map(|run| &run.budget).map(|limit| &limit.service).collect();
    let limits = |run: &Run, service: &str| {
        let limit = run.budget.iter().find(|limit| limit.service == service)?;
        Some(format!("{} CPU, {}", cpu_limit(limit.cpus), memory_limit(limit.memory_bytes)))
    };
    services.into_iter().map(|service| Fact::of(service, runs, |run| limits(run, service))).collect()
}

fn durability(runs: &Runs) -> Vec<Fact> {
    vec![
        Fact::of("A 201 is on disk", runs, |run| {
            Some(if run.durability.as_ref()?.honoured { "yes, as far as can be seen" } else { "not shown" }.to_owned())
        }),
        Fact::of("fsync", runs, |run| Some(if run.durability.as_ref()?.fsync { "on" } else { "off" }.to_owned())),
        Fact::of("synchronous_commit", runs, |run| given(&run.durability.as_ref()?.synchronous_commit)),
        Fact::of("Flushes of the log", runs, |run| Some(grouped(run.durability.as_ref()?.wal_syncs? as f64))),
        Fact::of("Median flush", runs, |run| Some(Unit::Microseconds.show(run.durability.as_ref()?.flush_median_us?))),
    ]
}

fn generator(runs: &Runs) -> Vec<Fact> {
    vec![
        Fact::of("Requests intended", runs, |run| Some(grouped(run.generator.as_ref()?.intended as f64))),
        Fact::of("Requests sent", runs, |run| Some(grouped(run.generator.as_ref()?.sent as f64))),
        Fact::of("Requests sent once more", runs, |run| {
            let repeated = run.generator.as_ref()?.repeated;
            (repeated > 0).then(|| grouped(repeated as f64))
        }),
        Fact::of("Sent late, 99th percentile", runs, |run| {
            Some(Unit::Milliseconds.show(run.generator.as_ref()?.send_lag_p99))
        }),
        Fact::of("Own CPU", runs, |run| Some(Unit::Seconds.show(run.generator.as_ref()?.cpu_seconds))),
        Fact::of("Own CPU per request", runs, |run| {
            Some(Unit::Microseconds.show(Metric::parse("generator.cpu_us_per_request").ok()?.value(run)?))
        }),
    ]
}

fn versions(runs: &Runs) -> Vec<Fact> {
    let names: BTreeSet<&String> = runs.all.iter().flat_map(|run| run.versions.keys()).collect();
    names.into_iter().map(|name| Fact::of(name, runs, |run| run.versions.get(name).cloned())).collect()
}

fn machine(runs: &Runs) -> Vec<Fact> {
    vec![
        Fact::of("Processor", runs, |run| given(&run.machine.cpu)),
        Fact::of("Processors", runs, |run| (run.machine.cores > 0).then(|| run.machine.cores.to_string())),
        Fact::of("Memory", runs, |run| {
            (run.machine.memory_bytes > 0).then(|| Unit::Bytes.show(run.machine.memory_bytes as f64))
        }),
        Fact::of("System", runs, |run| given(&run.machine.os)),
        Fact::of("Kernel", runs, |run| given(&run.machine.kernel)),
        Fact::of("Control groups", runs, |run| given(&run.machine.cgroup)),
    ]
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn cpu_limit(cpus: Option<f64>) -> String {
    cpus.map_or_else(|| "none".to_owned(), |cpus| cpus.to_string())
}

fn memory_limit(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "none".to_owned(), |bytes| Unit::Bytes.show(bytes as f64))
}

fn show(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| "–".to_owned(), |value| unit.show(value))
}
