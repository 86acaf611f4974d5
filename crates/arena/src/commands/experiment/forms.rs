//! Opinions stored at once, or queued.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Deserialize;

use super::server::Server;
use super::table::{Column, Row, Table};
use super::{Bench, Common, tools};
use crate::observe::Observer;

/// How long the worker may take to store what is left when the load ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// Options of `arena experiment forms`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub common: Common,

    /// Opinions sent each way
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    opinions: u32,

    /// Seconds in which they are sent
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// Options of `arena experiment burst`.
#[derive(clap::Args)]
pub(super) struct BurstArgs {
    #[command(flatten)]
    pub common: Common,

    /// Opinions sent each way
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    opinions: u32,

    /// Seconds in which they are sent
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,

    /// Milliseconds of work that storing an opinion takes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    work: u32,
}

/// What is sent, and what storing it takes.
struct Load {
    opinions: u32,
    seconds: u32,
    work: u32,
    cpus: f64,
}

/// Database connections of the server, as in `docker-compose.yml`; the worker does as many jobs at once, so that both
/// ways get the same of the database.
const CONNECTIONS: u32 = 5;

const WAYS: [(&str, &str); 2] = [("opinion", "at once"), ("opinion-async", "queued")];

const COLUMNS: [Column; 9] = [
    Column { title: "stored", unit: "" },
    Column { title: "failed", unit: "" },
    Column { title: "mean", unit: "ms" },
    Column { title: "p50", unit: "ms" },
    Column { title: "p95", unit: "ms" },
    Column { title: "p99", unit: "ms" },
    Column { title: "stored after", unit: "ms, p50" },
    Column { title: "stored after", unit: "ms, p99" },
    Column { title: "CPU / 1,000", unit: "ms" },
];

/// Sends opinions both ways, evenly and with nothing to do for them but a row.
pub(super) fn run(args: &Args) -> anyhow::Result<Table> {
    let Args { common, opinions, seconds } = args;
    let load = Load { opinions: *opinions, seconds: *seconds, work: 0, cpus: common.cpus };
    let (rows, complaints) = both_ways(common, &load)?;
    Ok(Table {
        schema: 1,
        name: "forms",
        title: "Opinions stored at once, or queued: who waits, and for how long?".into(),
        setting: load.setting(),
        columns: COLUMNS.to_vec(),
        rows,
        lesson: "A queue does not make small work cheap: the job is itself a commit, and the opinion appears later. It pays where the work is long or its target may be away.".into(),
        complaints,
    })
}

/// Sends a burst of opinions both ways, each of which is work.
pub(super) fn run_burst(args: &BurstArgs) -> anyhow::Result<Table> {
    let BurstArgs { common, opinions, seconds, work } = args;
    let load = Load { opinions: *opinions, seconds: *seconds, work: *work, cpus: common.cpus };
    let (rows, complaints) = both_ways(common, &load)?;
    Ok(Table {
        schema: 1,
        name: "burst",
        title: "A burst of slow work, done at once or queued: who is turned away?".into(),
        setting: load.setting(),
        columns: COLUMNS.to_vec(),
        rows,
        lesson: "The work takes as long either way. At once, callers wait for it, and are turned away when they wait too long; a queue takes all of them in milliseconds and works them off afterwards.".into(),
        complaints,
    })
}

impl Load {
    fn setting(&self) -> String {
        let work = match self.work {
            0 => String::new(),
            work => format!(
                "; storing one takes {work} ms of work on one of {CONNECTIONS} connections, or of {CONNECTIONS} jobs at once"
            ),
        };
        format!(
            "k6 sends {} opinions in {} s each way; {} CPU for the server and as much for the worker; CPU is that of both{work}",
            self.opinions, self.seconds, self.cpus
        )
    }
}

fn both_ways(common: &Common, load: &Load) -> anyhow::Result<(Vec<Row>, Vec<String>)> {
    let bench = Bench::new(common)?.with_database()?;
    let (database, work, connections) = (bench.database(), load.work.to_string(), CONNECTIONS.to_string());
    let both = ["--database-url", &database, "--connections", &connections, "--work", &work];
    let parts = Parts {
        server: Server::listening(&bench, &[&["forms"], &both[..]].concat())?,
        worker: Server::working(&bench, &[&["worker", "--jobs", &connections], &both[..]].concat())?,
    };
    let mut rows = Vec::new();
    let mut complaints = Vec::new();
    for (side, (way, label)) in WAYS.into_iter().enumerate() {
        eprintln!("k6 on opinions {label}");
        rows.push(measure(&bench, load, &parts, side, way, label, &mut complaints)?);
    }
    Ok((rows, complaints))
}

struct Parts {
    server: Server,
    worker: Server,
}

fn measure(
    bench: &Bench,
    sent: &Load,
    parts: &Parts,
    side: usize,
    way: &str,
    label: &str,
    complaints: &mut Vec<String>,
) -> anyhow::Result<Row> {
    let folder = tempfile::tempdir()?;
    let points = folder.path().join("points.json");
    let settings = [
        ("FORMS_URL", parts.server.url.clone()),
        ("WAY", way.into()),
        ("RUN", "experiment".into()),
        ("OPINIONS", sent.opinions.to_string()),
        ("SECONDS", sent.seconds.to_string()),
    ];
    let observed = [("server", &parts.server), ("worker", &parts.worker)];
    let observer = Observer::start(observed.map(|(name, part)| (name.to_owned(), part.target())).into())?;
    let load = tools::k6(&bench.workspace.path("k6/forms.js"), &settings, Some(&points))?;
    let answered = answers(&points)?;
    let stored = wait_until_stored(bench, way, answered.len())?;
    let cpu_seconds: f64 = observer.stop().whole().0.iter().map(|cost| cost.cpu_seconds).sum();
    let mut lags: Vec<f64> =
        answered.iter().filter_map(|(name, answered)| Some((stored.get(name)? - answered).max(0.0) * 1e3)).collect();
    lags.sort_by(f64::total_cmp);
    // Who was told that the database does not answer may be stored all the same.
    let most = answered.len() as f64 + load.failed;
    if lags.len() != answered.len() || stored.len() as f64 > most {
        complaints.push(format!("{label}: {} opinions were accepted, {} are stored", answered.len(), stored.len()));
    }
    let figures = [
        Some(stored.len() as f64),
        Some(load.failed),
        Some(load.mean),
        Some(load.p50),
        Some(load.p95),
        Some(load.p99),
        quantile(&lags, 0.50),
        quantile(&lags, 0.99),
        Some(cpu_seconds * 1e6 / load.requests.max(1.0)),
    ];
    Ok(Row { label: label.into(), side, figures: figures.to_vec() })
}

#[derive(Deserialize)]
struct Line {
    metric: String,
    data: Option<Point>,
}

#[derive(Deserialize)]
struct Point {
    time: Option<Timestamp>,
    #[serde(default)]
    tags: HashMap<String, String>,
}

/// When each accepted opinion was answered, in seconds since the epoch, by its name.
fn answers(points: &Path) -> anyhow::Result<HashMap<String, f64>> {
    let text = std::fs::read_to_string(points).context("k6 left no measurements")?;
    let mut answers = HashMap::new();
    for line in text.lines().filter(|line| line.contains("http_req_duration")) {
        let line: Line = serde_json::from_str(line).context("k6's measurements")?;
        let Some(Point { time: Some(time), mut tags }) = line.data else { continue };
        let accepted = line.metric == "http_req_duration" && tags.get("status").is_some_and(|status| status == "303");
        if let Some(name) = tags.remove("opinion").filter(|_| accepted) {
            answers.insert(name, time.as_nanosecond() as f64 / 1e9);
        }
    }
    Ok(answers)
}

/// When each opinion was stored, in seconds since the epoch, by its name.
fn wait_until_stored(bench: &Bench, way: &str, expected: usize) -> anyhow::Result<HashMap<String, f64>> {
    let deadline = Instant::now() + PATIENCE;
    let sql = format!(
        "SELECT name, extract(epoch FROM stored_at)::float8 FROM opinions WHERE name LIKE '{way} experiment %'"
    );
    loop {
        let rows = bench.query(&sql)?;
        if rows.len() >= expected {
            return rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        }
        if Instant::now() > deadline {
            bail!(
                "{expected} opinions were accepted, and only {} are stored after {} s",
                rows.len(),
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The nearest rank.
fn quantile(sorted: &[f64], quantile: f64) -> Option<f64> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_answers_among_the_measurements() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("points");
        let point = |metric: &str, status: &str| {
            format!(
                r#"{{"metric":"{metric}","type":"Point","data":{{"time":"2026-01-02T03:04:05.5Z","value":1,"tags":{{"opinion":"a {status}","status":"{status}"}}}}}}"#
            )
        };
        let lines = [
            r#"{"type":"Metric","data":{"name":"http_req_duration","type":"trend"},"metric":"http_req_duration"}"#
                .to_owned(),
            point("http_req_duration", "303"),
            point("http_req_duration", "503"),
            point("http_reqs", "303"),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        assert_eq!(answers(&file).unwrap(), HashMap::from([("a 303".to_owned(), 1_767_323_045.5)]));
    }

    #[test]
    fn takes_the_nearest_rank() {
        assert_eq!(quantile(&[], 0.5), None);
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.99)), (Some(50.0), Some(99.0)));
    }
}
