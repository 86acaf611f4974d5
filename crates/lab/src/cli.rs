//! The command line.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::database::{self, Database};
use crate::{all, check, forms, resource, users};

/// Small servers in which the questions of a back end can be seen while they happen.
#[derive(Parser)]
#[command(name = "lab", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Port 8000: a thread waits for every round trip to the database
    Blocking(users::BlockingArgs),
    /// Port 8001: a task waits for every round trip to the database
    Nonblocking(users::NonBlockingArgs),
    /// Port 5000: opinion forms that store at once or queue
    Forms(forms::Args),
    /// Stores the opinions that the forms queued
    Worker(forms::WorkerArgs),
    /// Port 4000: a scarce resource, with and without a limit
    Resource(resource::Args),
    /// Creates the database, its tables and the job queue where they are missing; wipes nothing
    Init(Database),
    /// Says by its exit status whether a part works: 0 if it does
    Check(check::Args),
    /// All servers and one worker, each as a process of its own that is started again when it dies
    All(all::Args),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Resource(args) = &command
        && let Err(error) = args.check()
    {
        Cli::command().error(ErrorKind::ValueValidation, error).exit();
    }
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Blocking(args) => runtime(Some(args.threads))?.block_on(users::run_blocking(args)),
        Command::Nonblocking(args) => runtime(None)?.block_on(users::run_non_blocking(args)),
        Command::Forms(args) => runtime(None)?.block_on(forms::run(args)),
        Command::Worker(args) => runtime(None)?.block_on(forms::run_worker(args)),
        Command::Resource(args) => runtime(None)?.block_on(resource::run(args)),
        Command::Init(args) => runtime(None)?.block_on(database::init(&args.database_url)),
        Command::Check(args) => runtime(None)?.block_on(check::run(args)),
        Command::All(args) => runtime(None)?.block_on(all::run(args)),
    }
}

/// As many threads as the machine has cores, and `waiting` more for work that blocks.
fn runtime(waiting: Option<u32>) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(waiting) = waiting {
        builder.max_blocking_threads(waiting as usize);
    }
    builder.enable_all().build()
}
