//! `arena fill`: a stack that holds as many people as one likes.

use std::time::Instant;

use anyhow::Context;
use clap::builder::RangedU64ValueParser;
use postgres::{Client, Config, NoTls};

use crate::exit::{self, Exit};
use crate::load::fill;
use crate::record::metric::grouped;
use crate::stack::which::Which;
use crate::terminal;
use crate::workspace::Workspace;

/// Fill the running stack: store the first N people of a seed straight into its database
///
/// Run again with a larger N, or after an interruption, it adds those who are missing. Nobody who is there is touched;
/// whose nickname somebody has is left out.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many people are to be there
    #[arg(value_name = "N", value_parser = RangedU64ValueParser::<u64>::new().range(1..=fill::MOST))]
    people: u64,
    /// What the people are made from; by default not what a bout's are made from, who would then all be refused
    #[arg(long, default_value_t = fill::SEED)]
    seed: u64,
    #[command(flatten)]
    which: Which,
    /// Fill this database instead, whose table `users` has the contender's columns, such as "host=/run/postgresql
    /// user=postgres"
    #[arg(long, value_name = "CONNECTION", conflicts_with_all = ["engine", "data"])]
    database: Option<Config>,
}

/// Fills the database.
///
/// # Errors
///
/// No stack runs, or its database refuses, or the user wants an end.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    exit::interruption()?;
    let start = Instant::now();
    let mut client = connect(args)?;
    let filled = fill::fill(&mut client, args.seed, args.people)?;
    terminal::print(&format!(
        "{} people: {} stored, {} were there already; in {:.0} s\n",
        grouped(filled.people() as f64),
        grouped(filled.stored as f64),
        grouped(filled.there as f64),
        start.elapsed().as_secs_f64(),
    ))?;
    Ok(Exit::Good)
}

fn connect(args: &Args) -> anyhow::Result<Client> {
    let config = match &args.database {
        Some(config) => config.clone(),
        None => {
            let running = args.which.running(&Workspace::find()?)?;
            let running =
                running.context("no stack runs; `cargo arena up` starts one, --database fills another one")?;
            running.database.parse()?
        }
    };
    config.connect(NoTls).context("connecting to the database")
}
