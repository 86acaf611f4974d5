//! `arena history`: every run that was ever driven from this checkout.

mod list;
mod plot;

use clap::Args as ClapArgs;

use crate::exit::{self, Exit};
use crate::record::history::{Contents, History};
use crate::record::metric::Metric;
use crate::record::run::Run;
use crate::terminal;

/// Arguments of `arena history`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Only the runs that carry this label
    #[arg(long)]
    label: Option<String>,
    /// Draw one figure over the runs, such as create.p99, people.lost or total.cpu_ms_per_thousand
    #[arg(long, value_name = "METRIC")]
    plot: Option<String>,
    /// For programs: JSON on standard output
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of the run document and end
    #[arg(long, exclusive = true)]
    schema: bool,
}

/// Lists the runs, or draws a figure over them.
///
/// # Errors
/// The directory of the runs cannot be found or listed.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    if args.schema {
        terminal::print_json(&schemars::schema_for!(Run))?;
        return Ok(Exit::Good);
    }
    let Contents { mut runs, unreadable } = History::of_checkout()?.all()?;
    for error in unreadable {
        eprintln!("arena: left out: {error:#}");
    }
    if let Some(label) = &args.label {
        runs.retain(|run| run.label.as_ref() == Some(label));
        if runs.is_empty() && !args.json {
            terminal::print(&format!("no run kept carries the label {label:?}\n"))?;
            return Ok(Exit::Good);
        }
    }
    let Some(name) = &args.plot else {
        list::print(&runs, args.json)?;
        return Ok(Exit::Good);
    };
    let metric = if runs.is_empty() { Metric::parse(name) } else { Metric::parse_for(name, &runs) };
    let Some(metric) = exit::accept(metric) else { return Ok(Exit::Usage) };
    plot::print(&metric, &runs, args.json)?;
    Ok(Exit::Good)
}
