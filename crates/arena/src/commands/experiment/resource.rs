//! The scarce resource: within the request or after it, without and with a limit.

use super::server::{Server, Watch};
use super::table::{Column, Row, Table};
use super::{Bench, Common, tools};

/// Options of `arena experiment resource`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub common: Common,

    /// Requests of each run
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(100..))]
    requests: u32,

    /// Requests at once
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    concurrency: u32,

    /// Uses at once in hard mode
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

const COLUMNS: [Column; 8] = [
    Column { title: "answered", unit: "/s" },
    Column { title: "turned away", unit: "" },
    Column { title: "p50", unit: "ms" },
    Column { title: "p99", unit: "ms" },
    Column { title: "took", unit: "s" },
    Column { title: "most uses at once", unit: "" },
    Column { title: "memory", unit: "MB" },
    Column { title: "CPU", unit: "ms" },
];

/// Runs the four combinations.
pub(super) fn run(args: &Args) -> anyhow::Result<Table> {
    let bench = Bench::new(&args.common)?;
    let mut rows = Vec::new();
    let mut complaints = Vec::new();
    for limit in [None, Some(args.limit)] {
        for (side, path) in ["/part1/serial", "/part1/async"].into_iter().enumerate() {
            let row = measure(&bench, args, side, path, limit)?;
            if limit.is_none() && row.figures[1] != Some(0.0) {
                complaints.push(format!("{}: without a limit nobody must be turned away", row.label));
            }
            if limit.is_some_and(|limit| row.figures[5] > Some(f64::from(limit))) {
                complaints.push(format!("{}: more uses at once than the limit", row.label));
            }
            rows.push(row);
        }
    }
    Ok(Table {
        schema: 1,
        name: "resource",
        title: "The scarce resource: used within the request, or after it".into(),
        setting: format!(
            "ab -k -n {} -c {}, each use takes 500 ms, {} CPU for the server",
            args.requests, args.concurrency, args.common.cpus
        ),
        columns: COLUMNS.to_vec(),
        rows,
        lesson: "Answering first makes the caller fast and lets the load on the resource grow without bound; a limit protects it and must turn most callers away.".into(),
        complaints,
    })
}

fn measure(bench: &Bench, args: &Args, side: usize, path: &str, limit: Option<u32>) -> anyhow::Result<Row> {
    let label = match limit {
        None => path.to_owned(),
        Some(limit) => format!("{path}, limit {limit}"),
    };
    eprintln!("ab on {label}");
    let limit = limit.map(|limit| limit.to_string());
    let mut arguments = vec!["resource"];
    if let Some(limit) = &limit {
        arguments.extend(["--limit", limit]);
    }
    let server = Server::listening(bench, &arguments)?;
    let watch = Watch::begin(&server, false);
    let load = tools::ab(&format!("{}{path}", server.url), args.requests, args.concurrency)?;
    let used = watch.end()?;
    let outcome: serde_json::Value = serde_json::from_str(&server.get("/outcome")?)?;
    let figures = [
        Some(load.rate),
        Some(load.failed),
        Some(load.p50),
        Some(load.p99),
        Some(load.seconds),
        outcome["peak_use"].as_f64(),
        Some(used.memory / 1e6),
        Some(used.cpu_seconds * 1e3),
    ];
    Ok(Row { label, side, figures: figures.to_vec() })
}
