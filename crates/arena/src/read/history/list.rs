//! The runs, one line each.

use serde::Serialize;

use crate::record::metric::Metric;
use crate::record::run::{Driver, Outcome, Run};
use crate::terminal;

/// The version of the list's shape for programs.
const SCHEMA: u32 = 1;

/// Prints the runs in the order given.
pub(super) fn print(runs: &[Run], json: bool) -> anyhow::Result<()> {
    let lines = runs.iter().map(Line::of).collect::<anyhow::Result<Vec<Line>>>()?;
    if json {
        return terminal::print_json(&List { schema: SCHEMA, runs: lines });
    }
    if lines.is_empty() {
        return terminal::print("no runs kept yet: `cargo arena fight` and `cargo arena bench` keep theirs\n");
    }
    let mut table = terminal::plain_table(&[
        "id",
        "driver",
        "label",
        "commit",
        "engine",
        "factor",
        "outcome",
        "people",
        "create p99",
        "CPU ms/1,000",
    ]);
    terminal::align_right(&mut table, 7..10);
    for line in lines {
        table.add_row(line.cells());
    }
    terminal::print(&format!("{}\n", table.trim_fmt()))
}

#[derive(Serialize)]
struct List<'run> {
    schema: u32,
    runs: Vec<Line<'run>>,
}

#[derive(Serialize)]
struct Line<'run> {
    id: &'run str,
    driver: Driver,
    label: Option<&'run str>,
    started: &'run str,
    commit: Option<&'run str>,
    engine: &'run str,
    profile: &'run str,
    rate_factor: f64,
    duration_factor: f64,
    outcome: Outcome,
    people_stored: Option<u64>,
    people_ceiling: Option<u64>,
    create_p99_ms: Option<f64>,
    cpu_ms_per_thousand: Option<f64>,
}

impl<'run> Line<'run> {
    fn of(run: &'run Run) -> anyhow::Result<Self> {
        Ok(Self {
            id: &run.id,
            driver: run.driver,
            label: run.label.as_deref(),
            started: &run.started,
            commit: run.commit.as_deref(),
            engine: &run.settings.engine,
            profile: &run.settings.profile,
            rate_factor: run.settings.rate_factor,
            duration_factor: run.settings.duration_factor,
            outcome: run.verdict().outcome,
            people_stored: run.people().map(|people| people.stored),
            people_ceiling: run.people().map(|people| people.ceiling),
            create_p99_ms: Metric::parse("create.p99")?.value(run),
            cpu_ms_per_thousand: Metric::parse("total.cpu_ms_per_thousand")?.value(run),
        })
    }

    fn cells(&self) -> Vec<String> {
        let people = self.people_stored.zip(self.people_ceiling);
        vec![
            terminal::one_line(self.id),
            self.driver.to_string(),
            terminal::one_line(self.label.unwrap_or("-")),
            short_commit(self.commit),
            terminal::one_line(self.engine),
            format!("{}x{}", self.rate_factor, self.duration_factor),
            self.outcome.to_string(),
            people.map_or_else(dash, |(stored, ceiling)| format!("{stored}/{ceiling}")),
            self.create_p99_ms.map_or_else(dash, |time| format!("{time:.1} ms")),
            self.cpu_ms_per_thousand.map_or_else(dash, |cost| format!("{cost:.0}")),
        ]
    }
}

/// The first seven digits of a commit, still marked where the tree differed.
pub(super) fn short_commit(commit: Option<&str>) -> String {
    let Some(commit) = commit else { return dash() };
    let (hash, dirty) = commit.strip_suffix("-dirty").map_or((commit, ""), |hash| (hash, "-dirty"));
    let short: String = hash.chars().take(7).collect();
    terminal::one_line(&format!("{short}{dirty}"))
}

fn dash() -> String {
    "-".to_owned()
}
