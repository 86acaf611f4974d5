//! The command line: one subcommand per module.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::commands::analyze;
use crate::commands::bench;
use crate::commands::check;
use crate::commands::class;
use crate::commands::cluster;
use crate::commands::doctor;
use crate::commands::experiment;
use crate::commands::fight;
use crate::commands::fill;
use crate::commands::floor;
use crate::commands::league;
use crate::commands::payloads;
use crate::commands::simulate;
use crate::commands::stack;
use crate::commands::stress;
use crate::commands::torment;
use crate::commands::trial;
use crate::commands::tune;
use crate::exit::Exit;
use crate::read::compare;
use crate::read::history;
use crate::read::report;

#[derive(Parser)]
#[command(name = "cargo arena", bin_name = "cargo arena", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fight a whole bout: stack, load test, verdict, report
    Fight(Box<fight::FightArgs>),
    /// Have several entries of the contest fight in turns, and rank them
    League(Box<league::LeagueArgs>),
    Doctor(doctor::DoctorArgs),
    /// Check formatting and lints, and run every test
    Test(check::Args),
    /// Start the stack: PostgreSQL, two instances, nginx, each held to its limits
    Up(stack::UpArgs),
    /// End the stack, also what a crash left of it
    Down(stack::DownArgs),
    #[command(hide = true)]
    Supervise(stack::SuperviseArgs),
    /// Say what runs
    Status(stack::StatusArgs),
    /// Show what the services wrote
    Logs(stack::LogsArgs),
    Cluster(cluster::ClusterArgs),
    /// Drive open-loop load of our own at the stack or at any other server, check the answers, judge the run
    Bench(Box<bench::Args>),
    Fill(Box<fill::Args>),
    /// Measure two ways to run the stack in turns, compare them, and show them side by side
    Trial(trial::Args),
    /// Find the smallest budget that passes: CPUs first, then memory
    Floor(Box<floor::Args>),
    /// Find a better split of a budget, and better settings; propose what is better beyond the noise
    Tune(Box<tune::Args>),
    /// Tell from measured costs how far a stack goes, or a hundred of them, without running any
    Simulate(Box<simulate::Args>),
    Payloads(payloads::Args),
    /// Bring faults about under load, and check that everything that was answered can be true
    Torment(Box<torment::TormentArgs>),
    Stress(stress::Args),
    Analyze(analyze::Args),
    Experiment(experiment::Args),
    Lab(class::Args),
    /// List the runs kept in this checkout, or draw one figure over them
    History(history::Args),
    /// Compare runs: each difference with its noise, and thresholds that can fail
    Compare(compare::Args),
    /// Make one self-contained page of a run, or of several side by side
    Report(report::Args),
}

/// Parses the command line, runs the command and turns its outcome into an exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match run(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("arena: {error:#}");
            Exit::Failed.into()
        }
    }
}

/// Looks at a command line without running it; the error says on one line why it could not be run.
fn check(words: Vec<OsString>) -> anyhow::Result<()> {
    Cli::try_parse_from(words).map(drop).map_err(|error| anyhow::anyhow!("{}", one_line(&error.to_string())))
}

fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fill(arguments) => fill::run(&arguments),
        Command::Fight(arguments) => fight::run(&arguments),
        Command::League(arguments) => league::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Test(arguments) => check::run(&arguments),
        Command::Up(arguments) => stack::up(&arguments),
        Command::Down(arguments) => stack::down(&arguments),
        Command::Supervise(arguments) => stack::supervise(&arguments),
        Command::Status(arguments) => stack::status(&arguments),
        Command::Logs(arguments) => stack::logs(&arguments),
        Command::Cluster(arguments) => cluster::run(&arguments),
        Command::Floor(arguments) => floor::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Payloads(arguments) => payloads::run(arguments),
        Command::Torment(arguments) => torment::run(&arguments),
        Command::Stress(arguments) => stress::run(arguments),
        Command::Analyze(arguments) => analyze::run(arguments),
        Command::Experiment(arguments) => experiment::run(arguments),
        Command::Lab(arguments) => class::run(&arguments),
        Command::History(arguments) => history::run(arguments),
        Command::Trial(arguments) => trial::run(&arguments, check),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Report(arguments) => report::run(arguments),
    }
}

/// Answers a command line that starts nothing: help as it is, an error on one line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        _ => {
            eprintln!("arena: {}", one_line(&error.to_string()));
            Exit::Usage.into()
        }
    }
}

/// What clap says over several lines, without its usage and its pointer to `--help`.
fn one_line(error: &str) -> String {
    let said: Vec<&str> = error
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .collect();
    said.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn says_an_error_on_one_line() {
        let error =
            "error: missing:\n  <SECONDS>\n\n  tip: try\n\nUsage: arena\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(error), "missing: <SECONDS> tip: try");
    }
}
