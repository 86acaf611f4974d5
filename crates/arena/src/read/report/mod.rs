//! `arena report`: one self-contained page for a run, or for several side by side.
//!
//! The charts are SVG of our own. A drawing library for Rust (plotters) fixes colours and sizes when it draws, so a page
//! could not follow the reader's theme, width or text size, and its shapes carry no names for a screen reader; a
//! library in JavaScript (ECharts, 1 MB; uPlot, 50 kB) draws on a canvas that is empty without scripts and on paper.
//! What is needed here is lines over a shared axis: some three hundred lines of code, a few kilobytes a chart.

mod chart;
mod charts;
mod distribution;
mod facts;
mod goodput;
mod headline;
mod league;
mod look;
mod page;
mod scale;
mod search;
mod spread;
mod torment;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;

use crate::exit::{self, Exit};
use crate::read::standings::Standing;
use crate::record::history::History;
use crate::record::run::Run;
use crate::record::search::Search;
use crate::record::torment::History as Torment;
use crate::record::torment::report::Report;
use crate::terminal;

/// Runs that one page can hold and still tell apart.
pub const MOST_RUNS: usize = 8;

/// Arguments of `arena report`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The runs: ids, beginnings of ids, labels, latest, latest~1, paths of documents,
    /// or directories of Gatling's results (with a / in the path)
    #[arg(value_name = "RUN", default_value = "latest")]
    runs: Vec<String>,
    /// Where to write the page; without it, beside the first run's document in runs/
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
}

/// Writes the page and prints its path.
///
/// # Errors
/// A run cannot be read, there are too many, or the page cannot be written.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let history = History::of_checkout()?;
    let Some(runs) = exit::accept(select(&history, &args.runs)) else {
        return Ok(Exit::Usage);
    };
    let output = match (args.output, runs.first()) {
        (Some(output), _) => output,
        (None, Some(first)) => history.page(&first.id).context("say where to write the page with --output")?,
        (None, None) => PathBuf::new(),
    };
    write(&runs, &output)?;
    terminal::print(&format!("{}\n", output.display()))?;
    Ok(Exit::Good)
}

/// Writes the page of `runs`, first to last from left to right, to `path`.
///
/// # Errors
/// No run or more than [`MOST_RUNS`], or `path` cannot be written.
pub fn write(runs: &[Run], path: &Path) -> anyhow::Result<()> {
    let page = page(runs)?;
    fs::write(path, page).with_context(|| format!("cannot write the page {}", path.display()))
}

/// Writes the page of a league to `path`: the ranking, then the entries' bouts side by side, as many of the best as one
/// page can hold.
///
/// # Errors
/// `path` cannot be written.
pub fn write_league(standings: &[Standing], path: &Path) -> anyhow::Result<()> {
    let page = league::page(standings).into_string();
    fs::write(path, page).with_context(|| format!("cannot write the page {}", path.display()))
}

/// Writes the page of a torment to `path`.
///
/// # Errors
/// `path` cannot be written.
pub fn write_torment(report: &Report, torment: &Torment, path: &Path) -> anyhow::Result<()> {
    let page = torment::page(report, torment).into_string();
    fs::write(path, page).with_context(|| format!("cannot write the page {}", path.display()))
}

/// What a torment came to, as text.
pub fn torment_text(report: &Report) -> String {
    torment::text(report)
}

/// Writes the page of a search over limits to `path`.
///
/// # Errors
/// `path` cannot be written.
pub fn write_search(search: &Search, path: &Path) -> anyhow::Result<()> {
    let page = search::page(search).into_string();
    fs::write(path, page).with_context(|| format!("cannot write the page {}", path.display()))
}

/// The page of `runs` as HTML.
///
/// # Errors
/// No run or more than [`MOST_RUNS`].
pub fn page(runs: &[Run]) -> anyhow::Result<String> {
    ensure!(!runs.is_empty(), "no run to make a page of");
    on_one_page(runs.len())?;
    Ok(page::page(runs).into_string())
}

fn select(history: &History, names: &[String]) -> anyhow::Result<Vec<Run>> {
    let runs = history.select_all(names)?;
    on_one_page(runs.len())?;
    Ok(runs)
}

fn on_one_page(runs: usize) -> anyhow::Result<()> {
    ensure!(runs <= MOST_RUNS, "{runs} runs are too many for one page; it can hold {MOST_RUNS}");
    Ok(())
}
