//! The command line: one subcommand per module.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Exit;
use crate::stack::command;

#[derive(Parser)]
#[command(name = "cargo arena", bin_name = "cargo arena", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the stack: PostgreSQL, two instances, nginx, each held to its limits
    Up(command::UpArgs),
    /// End the stack, also what a crash left of it
    Down(command::DownArgs),
    /// Say what runs
    Status(command::StatusArgs),
    /// Show what the services wrote
    Logs(command::LogsArgs),
}

/// Parses the command line, runs the command and turns its outcome into an exit status.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("arena: {error:#}");
            Exit::Failed.into()
        }
    }
}

fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Up(arguments) => command::up(&arguments),
        Command::Down(arguments) => command::down(&arguments),
        Command::Status(arguments) => command::status(&arguments),
        Command::Logs(arguments) => command::logs(&arguments),
    }
}
