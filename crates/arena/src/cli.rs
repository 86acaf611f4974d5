//! The command line: one subcommand per module.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Exit;

#[derive(Parser)]
#[command(name = "cargo arena", bin_name = "cargo arena", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

/// Parses the command line, runs the command and turns its outcome into an exit status.
pub fn main() -> ExitCode {
    let outcome: anyhow::Result<Exit> = match Cli::parse().command {};
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("arena: {error:#}");
            Exit::Failed.into()
        }
    }
}
