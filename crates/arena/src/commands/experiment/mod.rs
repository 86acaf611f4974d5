//! `arena experiment`: both sides of a question of the lab, under equal limits, with the real load tool.

mod blocking;
mod forms;
mod resource;
mod server;
mod table;
mod tools;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};

use crate::exit::Exit;
use crate::record::run::Limit;
use crate::stack::cgroup_limits::Hierarchy;
use crate::stack::cluster::Cluster;
use crate::terminal;
use crate::workspace::Workspace;

/// Try a question of the lab: both sides, equal limits, one table and one picture
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// A thread waits for the database, or a task does: up a ladder of users, fast and slow database
    Blocking(blocking::Args),
    /// Opinions stored at once, or queued: response times, and the time until stored
    Forms(forms::Args),
    /// A burst of slow work, done at once or queued: where the queue wins
    Burst(forms::BurstArgs),
    /// A resource used within the request or after it, without and with a limit
    Resource(resource::Args),
}

/// What every experiment takes.
#[derive(clap::Args, Clone, Debug)]
struct Common {
    /// CPUs that each server of the lab may use
    #[arg(long, default_value_t = 0.5, value_parser = cpus)]
    cpus: f64,

    /// Where the picture goes
    #[arg(long, short, value_name = "FILE.svg")]
    output: Option<PathBuf>,

    /// How the table is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Runs the experiment, prints its table and writes its picture.
///
/// # Errors
///
/// When a tool is missing, or a part of the lab does not come up.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let (common, table) = match args.question {
        Question::Blocking(args) => (args.common.clone(), blocking::run(&args)?),
        Question::Forms(args) => (args.common.clone(), forms::run(&args)?),
        Question::Burst(args) => (args.common.clone(), forms::run_burst(&args)?),
        Question::Resource(args) => (args.common.clone(), resource::run(&args)?),
    };
    match common.format {
        Format::Table => terminal::print(&table.text())?,
        Format::Json => terminal::print_json(&table)?,
    }
    let file = common.output.unwrap_or_else(|| format!("experiment-{}.svg", table.name).into());
    std::fs::write(&file, table.picture()).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("picture: {}", file.display());
    Ok(if table.is_clean() { Exit::Good } else { Exit::Failed })
}

/// What an experiment runs on: the lab's program, a database of its own where one is needed, and control groups.
struct Bench {
    workspace: Workspace,
    program: PathBuf,
    cluster: Option<Cluster>,
    hierarchy: Hierarchy,
    limit: Limit,
}

impl Bench {
    fn new(common: &Common) -> anyhow::Result<Self> {
        let workspace = Workspace::find()?;
        eprintln!("building the lab");
        let program = workspace.build("lab", "tool")?;
        let hierarchy = Hierarchy::detect(&format!("peleja-lab-{}", std::process::id())).entered();
        if let Hierarchy::Absent(reason) = &hierarchy {
            eprintln!("arena: the servers run without limits: {reason}");
        }
        let limit = Limit { service: "server".into(), cpus: Some(common.cpus), memory_bytes: None };
        Ok(Self { workspace, program, cluster: None, hierarchy, limit })
    }

    fn with_database(mut self) -> anyhow::Result<Self> {
        eprintln!("starting a PostgreSQL of its own");
        let cluster = Cluster::start(&["max_connections=200"])?;
        server::finish(&self.program, &["init", "--database-url", &cluster.connection("lab")])?;
        self.cluster = Some(cluster);
        Ok(self)
    }

    fn database(&self) -> String {
        self.cluster.as_ref().map(|cluster| cluster.connection("lab")).unwrap_or_default()
    }

    fn query(&self, sql: &str) -> anyhow::Result<Vec<postgres::Row>> {
        let mut client = postgres::Client::connect(&self.database(), postgres::NoTls)?;
        Ok(client.query(sql, &[])?)
    }
}

fn cpus(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cpus) if (0.05..=1024.0).contains(&cpus) => Ok(cpus),
        _ => Err("must be a number from 0.05 to 1024".into()),
    }
}
