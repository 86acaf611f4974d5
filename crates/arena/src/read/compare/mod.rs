//! `arena compare`: what changed between two runs, or two sets of runs, and how much of that is noise.

mod change_threshold;
mod comparable;
mod difference;
mod show;

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use serde::Serialize;

use crate::exit::{self, Exit};
use crate::record::history::History;
use crate::record::metric::Metric;
use crate::record::run::{Outcome, Run};
use crate::terminal;

pub use change_threshold::{Checked, Threshold};
pub use comparable::{Notes, notes};
pub use difference::{Difference, Interval, Judgement, Method, difference};

/// The version of a comparison's shape for programs.
const SCHEMA: u32 = 1;

/// Arguments of `arena compare`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A run is an id, the beginning of one, a label, latest, latest~1, or the path of a document. A label stands for all
runs that carry it. Sets of the same size are compared in pairs, in the order in which they ran: run them in turns.

  cargo arena compare latest~1 latest
  cargo arena compare tcp unix --fail-on 'create.p99:+10%' --fail-on failed:+0
  cargo arena compare 20261121T0345,20261121T0401 20261121T0353,20261121T0409 --markdown")]
pub struct Args {
    /// The runs to compare against, separated by commas
    base: String,
    /// The runs to judge, separated by commas
    new: String,
    /// Exit with 99 when a figure grew by more than this (+10%, +2ms, +0) or fell by more than this (-5%), and with 98
    /// when a run is invalid
    #[arg(long, value_name = "METRIC:CHANGE")]
    fail_on: Vec<String>,
    /// Show this figure instead of the usual ones; may be repeated
    #[arg(long, value_name = "METRIC")]
    metric: Vec<String>,
    /// Show every figure that both sides have
    #[arg(long, conflicts_with = "metric")]
    all: bool,
    /// Do not pair the runs, even where both sides have as many
    #[arg(long)]
    unpaired: bool,
    /// For programs: JSON on standard output
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// A table to paste into a pull request
    #[arg(long)]
    markdown: bool,
}

/// What came of comparing two sets of runs.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The version of this shape.
    pub schema: u32,
    /// Ids of the runs compared against.
    pub base: Vec<String>,
    /// Ids of the runs judged.
    pub new: Vec<String>,
    /// What speaks against comparing them, and what else they differ in.
    pub notes: Notes,
    /// How the noise was found; none where a side has a single run, and so no noise is known.
    pub method: Option<Method>,
    /// One entry for each figure that both sides have.
    pub differences: Vec<Difference>,
    /// One entry for each threshold that was set.
    pub thresholds: Vec<Checked>,
}

impl Comparison {
    /// Compares `new` with `base` in every figure that all of them have.
    ///
    /// # Errors
    /// A side is empty, or a threshold is on a figure that not all runs have.
    pub fn of(base: &[Run], new: &[Run], method: Option<Method>, thresholds: &[Threshold]) -> anyhow::Result<Self> {
        ensure!(!base.is_empty() && !new.is_empty(), "nothing to compare");
        let compared = |metric: &Metric| {
            let values = |runs: &[Run]| runs.iter().map(|run| metric.value(run)).collect::<Option<Vec<f64>>>();
            let resolution = base.iter().chain(new).map(|run| metric.resolution(run)).fold(0.0, f64::max);
            Some(difference(metric, &values(base)?, &values(new)?, method, resolution))
        };
        let check = |threshold: &Threshold| {
            let difference = compared(&threshold.metric).with_context(|| {
                format!("the threshold on {} cannot be checked: not all runs have that figure", threshold.metric)
            })?;
            Ok(threshold.check(&difference))
        };
        Ok(Self {
            schema: SCHEMA,
            base: base.iter().map(|run| run.id.clone()).collect(),
            new: new.iter().map(|run| run.id.clone()).collect(),
            notes: notes(base, new),
            method,
            differences: Metric::all(base).iter().filter_map(compared).collect(),
            thresholds: thresholds.iter().map(check).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Whether any threshold was missed.
    pub fn missed(&self) -> bool {
        self.thresholds.iter().any(|threshold| threshold.missed)
    }
}

/// Compares, prints, and judges by the thresholds.
///
/// # Errors
/// Runs cannot be read, or a threshold cannot be checked on them.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let Some((thresholds, wanted)) = exit::accept(figures(&args)) else { return Ok(Exit::Usage) };
    let history = History::of_checkout()?;
    let Some(base) = exit::accept(select(&history, &args.base)) else { return Ok(Exit::Usage) };
    let Some(new) = exit::accept(select(&history, &args.new)) else { return Ok(Exit::Usage) };
    let method = Method::for_sizes(base.len(), new.len(), !args.unpaired);
    let mut comparison = Comparison::of(&base, &new, method, &thresholds)?;
    let shown = shown(&comparison, &wanted, args.all)?;
    if args.json {
        // A program picks its figures itself, unless it was told which.
        if !wanted.is_empty() {
            comparison.differences = shown.into_iter().cloned().collect();
        }
        terminal::print_json(&comparison)?;
    } else {
        terminal::print(&if args.markdown {
            show::markdown(&comparison, &shown)
        } else {
            show::text(&comparison, &shown)
        })?;
    }
    let says_nothing = base.iter().chain(&new).any(|run| run.verdict().outcome == Outcome::Invalid);
    Ok(match comparison.missed() {
        _ if says_nothing && !thresholds.is_empty() => Exit::Invalid,
        true => Exit::ThresholdMissed,
        false => Exit::Good,
    })
}

fn figures(args: &Args) -> anyhow::Result<(Vec<Threshold>, Vec<Metric>)> {
    let thresholds = args.fail_on.iter().map(|text| text.parse()).collect::<anyhow::Result<_>>()?;
    let wanted = args.metric.iter().map(|name| Metric::parse(name)).collect::<anyhow::Result<_>>()?;
    Ok((thresholds, wanted))
}

/// The runs that a list of names stands for, in the order in which they ran.
fn select(history: &History, names: &str) -> anyhow::Result<Vec<Run>> {
    let mut runs = history.select_all(&[names])?;
    runs.sort_by(|a, b| a.age().cmp(&b.age()));
    Ok(runs)
}

/// The figures that a person wants to see first, by the end of their names.
const USUAL: [&str; 9] = [
    "people.lost",
    "people.extra",
    "failed",
    ".p50",
    ".p95",
    ".p99",
    "cpu_ms_per_thousand",
    "throttled_percent",
    "send_lag_p99",
];

fn shown<'a>(comparison: &'a Comparison, wanted: &[Metric], all: bool) -> anyhow::Result<Vec<&'a Difference>> {
    let differences = comparison.differences.iter();
    if all {
        return Ok(differences.collect());
    }
    if wanted.is_empty() {
        let usual = |name: &str| USUAL.iter().any(|end| name.ends_with(end)) && !name.contains(".service.");
        return Ok(differences.filter(|difference| usual(&difference.metric)).collect());
    }
    let find = |metric: &Metric| {
        let name = metric.to_string();
        let found = comparison.differences.iter().find(|difference| difference.metric == name);
        found.with_context(|| format!("not all runs have the figure {name}"))
    };
    wanted.iter().map(find).collect()
}
