//! The one table that shows a bout.

use crate::read::costs::{self, COLUMNS};
use crate::record::metric::grouped;
use crate::record::run::{Durability, Generator, Requests, Run};
use crate::terminal;

type Row = [String; COLUMNS];

const REQUESTS: [&str; COLUMNS] = ["requests", "count", "failed", "p50 ms", "p75 ms", "p95 ms", "p99 ms", "max ms"];

/// The verdict as one Markdown table, readable in a terminal too, with the reasons above it and the conditions below.
pub fn table(run: &Run) -> String {
    let mut text = headline(run);
    for reason in &run.verdict().reasons {
        text.push_str(&format!("\n- {reason}"));
    }
    text.push_str("\n\n");
    text.push_str(&terminal::markdown(&REQUESTS, rows(run), 1..COLUMNS));
    text.push_str("\n\n");
    text.push_str(&conditions(run));
    text
}

fn headline(run: &Run) -> String {
    let outcome = run.headline();
    let people = run.people().map_or(String::new(), |people| {
        format!("{} people stored of {}, ", grouped(people.stored as f64), grouped(people.ceiling as f64))
    });
    format!(
        "**{outcome}**: {people}{} of {} requests failed, in {:.0} s",
        grouped(run.failed() as f64),
        grouped(run.request_count() as f64),
        run.seconds
    )
}

fn rows(run: &Run) -> Vec<Row> {
    let mut rows: Vec<Row> = run.requests.iter().map(request_row).collect();
    rows.push(bold(costs::HEADINGS));
    rows.extend(costs::text(run));
    if let Some(people) = run.people() {
        rows.push(bold(["people", "stored", "ceiling", "lost", "extra", "", "", ""]));
        let number = |number: u64| grouped(number as f64);
        rows.push([
            String::new(),
            number(people.stored),
            number(people.ceiling),
            number(people.lost()),
            number(people.extra()),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    rows
}

fn request_row(requests: &Requests) -> Row {
    let time = |milliseconds: f64| format!("{milliseconds:.1}");
    let times = &requests.response;
    [
        requests.kind.clone(),
        grouped(requests.count as f64),
        grouped(requests.failed() as f64),
        time(times.p50),
        time(times.p75),
        time(times.p95),
        time(times.p99),
        time(times.max),
    ]
}

fn bold(cells: [&str; COLUMNS]) -> Row {
    cells.map(|cell| if cell.is_empty() { String::new() } else { format!("**{cell}**") })
}

fn conditions(run: &Run) -> String {
    let mut text: String = costs::notes(run).iter().map(|note| format!("{note}  \n")).collect();
    if let Some(durability) = &run.durability {
        let honoured = if durability.honoured { "honoured" } else { "NOT honoured" };
        text.push_str(&format!(
            "Disk flushes: {honoured} (fsync {}, synchronous_commit {}, {} flushes of the log, {} µs each).  \n",
            if durability.fsync { "on" } else { "off" },
            durability.synchronous_commit,
            durability.wal_syncs.map_or("uncounted".into(), |syncs| grouped(syncs as f64)),
            durability.flush_median_us.map_or("unknown".into(), |median| format!("{median:.0}")),
        ));
    }
    text.push_str(&run.durability.as_ref().and_then(probes).unwrap_or_default());
    text.push_str(&run.generator.as_ref().map(gatling).unwrap_or_default());
    for unchecked in &run.verdict().unchecked {
        text.push_str(&format!("Not checked: {unchecked}.  \n"));
    }
    let versions: Vec<String> = run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let machine = &run.machine;
    text.push_str(&format!(
        "Settings: {} engine, {} vocabulary, rates x{}, durations x{}, commit {}.  \n",
        run.settings.engine,
        run.settings.vocabulary,
        run.settings.rate_factor,
        run.settings.duration_factor,
        run.commit.as_deref().unwrap_or("unknown"),
    ));
    text.push_str(&format!("Versions: {}.  \n", versions.join(", ")));
    text.push_str(&format!(
        "Machine: {} x {}, {} GiB, {}, {}, cgroup {}.",
        machine.cores,
        machine.cpu,
        machine.memory_bytes >> 30,
        machine.os,
        machine.kernel,
        machine.cgroup,
    ));
    text
}

fn probes(durability: &Durability) -> Option<String> {
    let (probes, unflushed) = durability.probes.zip(durability.unflushed_probes)?;
    let transactions = grouped(durability.transactions? as f64);
    Some(format!(
        "On disk when their 201 came, outside of the load: {} of {probes}; {transactions} transactions stored people in it.  \n",
        probes - unflushed
    ))
}

fn gatling(generator: &Generator) -> String {
    let number = |count: u64| grouped(count as f64);
    let Generator { intended, sent, send_lag_p99, .. } = generator;
    format!(
        "Gatling: {} of {} users came, 99 % of them at most {send_lag_p99:.0} ms late.  \n",
        number(*sent),
        number(*intended)
    )
}
