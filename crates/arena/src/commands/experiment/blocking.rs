//! Blocking and non-blocking, up a ladder of users, over a fast and a slow database.

use super::server::{Server, Watch};
use super::table::{Column, Row, Table};
use super::{Bench, Common, tools};

/// Options of `arena experiment blocking`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub common: Common,

    /// Virtual users, one run for each number
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,5000", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    users: Vec<u32>,

    /// Milliseconds that every query takes longer, one ladder for each
    #[arg(long, value_delimiter = ',', default_value = "0,20", value_parser = clap::value_parser!(u32).range(..=10_000))]
    delays: Vec<u32>,

    /// Seconds of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,

    /// Database connections of each server, by default as many as in docker-compose.yml
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=150))]
    connections: u32,
}

const SIDES: [&str; 2] = ["blocking", "nonblocking"];

const COLUMNS: [Column; 9] = [
    Column { title: "answered", unit: "/s" },
    Column { title: "failed", unit: "" },
    Column { title: "p50", unit: "ms" },
    Column { title: "p99", unit: "ms" },
    Column { title: "longest ping", unit: "ms" },
    Column { title: "threads", unit: "" },
    Column { title: "memory", unit: "MB" },
    Column { title: "CPU / 1,000", unit: "ms" },
    Column { title: "switches each", unit: "" },
];

/// Runs every step of every ladder on both sides.
pub(super) fn run(args: &Args) -> anyhow::Result<Table> {
    let bench = Bench::new(&args.common)?.with_database()?;
    let mut rows = Vec::new();
    let mut complaints = Vec::new();
    for &delay in &args.delays {
        for &users in &args.users {
            for side in 0..SIDES.len() {
                rows.push(measure(&bench, args, side, users, delay, &mut complaints)?);
            }
        }
    }
    Ok(Table {
        schema: 1,
        name: "blocking",
        title: "Blocking and non-blocking: who waits for the database?".into(),
        setting: format!(
            "k6 for {} s a run, {} connections, {} CPU for the server; ping is a request that needs no database",
            args.seconds, args.connections, args.common.cpus
        ),
        columns: COLUMNS.to_vec(),
        rows,
        lesson: "A slow database sets the pace of both sides; what differs is the price of waiting: threads, CPU, context switches, and everybody else who needs a thread.".into(),
        complaints,
    })
}

fn measure(
    bench: &Bench,
    args: &Args,
    side: usize,
    users: u32,
    delay: u32,
    complaints: &mut Vec<String>,
) -> anyhow::Result<Row> {
    let name = SIDES[side];
    let label = match delay {
        0 => format!("{name}, {users} users"),
        delay => format!("{name}, {users} users, +{delay} ms"),
    };
    eprintln!("k6 on {label}");
    let (connections, delay) = (args.connections.to_string(), delay.to_string());
    let database = bench.database();
    let server = Server::listening(
        bench,
        &[name, "--database-url", &database, "--connections", &connections, "--query-delay", &delay],
    )?;
    let before = rows(bench)?;
    let watch = Watch::begin(&server, true);
    let script = bench.workspace.path(format!("k6/{name}.js"));
    let settings = [
        ("BLOCKING_URL", server.url.clone()),
        ("NONBLOCKING_URL", server.url.clone()),
        ("VUS", users.to_string()),
        ("DURATION", format!("{}s", args.seconds)),
        // Whoever still waits at the end is not waited for.
        ("GRACE", "0s".into()),
    ];
    let load = tools::k6(&script, &settings, None)?;
    let used = watch.end()?;
    let passed = load.requests - load.failed;
    let stored = rows(bench)? - before;
    if (stored as f64) < passed - load.requests.min(f64::from(users)) {
        complaints.push(format!("{label}: {passed} answers with 200, but {stored} rows"));
    }
    let per_request = |amount: f64| (load.requests > 0.0).then(|| amount / load.requests);
    let figures = [
        Some(load.rate),
        Some(load.failed),
        Some(load.p50),
        Some(load.p99),
        Some(used.longest_ping),
        Some(used.threads),
        Some(used.memory / 1e6),
        per_request(used.cpu_seconds * 1e6),
        per_request(used.switches),
    ];
    Ok(Row { label, side, figures: figures.to_vec() })
}

fn rows(bench: &Bench) -> anyhow::Result<i64> {
    let found = bench.query("SELECT count(*) FROM users")?;
    Ok(found.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
}
