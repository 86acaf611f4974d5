//! `arena trial`: two ways to run the stack, measured in turns, compared, and shown side by side.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use clap::builder::RangedU64ValueParser;

use super::again::Again;
use crate::exit::{self, Exit};
use crate::read::report::MOST_RUNS;
use crate::record::history;

/// Arguments of `arena trial`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
What stands behind -- goes to `cargo arena bench`: which load, at which rate, for how long.

  cargo arena trial experiments/one-by-one.yml -- --rate-factor 4 --duration-factor 0.2
  cargo arena trial experiments/tcp.yml --rounds 4 -- --rate 700 --seconds 20")]
pub struct Args {
    /// The Compose file that, laid over docker-compose.yml, makes the stack on trial
    overlay: PathBuf,
    /// Another such file for the stack to compare with, which is the plain one otherwise
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// How often each of the two is measured
    #[arg(long, default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST_RUNS as u64 / 2))]
    rounds: usize,
    /// Where the stacks keep their files
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/peleja-trial")]
    data: PathBuf,
    /// Port of the API; that of the database is the next
    #[arg(long, default_value_t = 19998, value_parser = clap::value_parser!(u16).range(1..65535))]
    port: u16,
    /// Arguments of `cargo arena bench`
    #[arg(last = true)]
    load: Vec<OsString>,
}

/// Measures both in turns, each round in the other order than the one before, and prints the comparison. `check` says
/// what is wrong with another command line of this program, which must not show only after the first stack came up.
///
/// # Errors
///
/// If a stack does not come up, or a run failed or says nothing, or the user ends it.
pub fn run(args: &Args, check: impl Fn(Vec<OsString>) -> anyhow::Result<()>) -> anyhow::Result<Exit> {
    let Some([base, new]) = exit::accept(sides(args, check)) else { return Ok(Exit::Usage) };
    let again = Again::on_signals()?;
    for round in 0..args.rounds {
        let order = if round % 2 == 0 { [&base, &new] } else { [&new, &base] };
        for side in order {
            eprintln!("arena: round {} of {}: {}", round + 1, args.rounds, side.label);
            side.measure(args, &again).with_context(|| side.label.clone())?;
        }
    }
    again.arena(["compare", &base.label, &new.label].map(OsString::from))?;
    again.arena(["report", &base.label, &new.label].map(OsString::from))?;
    Ok(Exit::Good)
}

/// What to compare with, and what is on trial.
fn sides(args: &Args, check: impl Fn(Vec<OsString>) -> anyhow::Result<()>) -> anyhow::Result<[Side<'_>; 2]> {
    let id = history::new_id("trial");
    // Enough to tell trials apart, and short enough for the head of a column.
    let id = id.rsplit('-').next().unwrap_or_default();
    let base = Side { overlay: args.against.as_deref(), label: label(args.against.as_deref(), id)? };
    let new = Side { overlay: Some(&args.overlay), label: label(Some(&args.overlay), id)? };
    ensure!(base.label != new.label, "both stacks are the same");
    check(["cargo arena".into()].into_iter().chain(base.bench(args)).collect())?;
    Ok([base, new])
}

/// One of the two stacks.
struct Side<'a> {
    overlay: Option<&'a Path>,
    label: String,
}

impl Side<'_> {
    fn measure(&self, args: &Args, again: &Again) -> anyhow::Result<()> {
        let overlay = self.overlay.iter().flat_map(|path| ["--overlay".into(), path.as_os_str().to_owned()]);
        let measured = again.arena(with_stack("up", args).chain(overlay)).and_then(|()| again.arena(self.bench(args)));
        // Also when the user wants an end: what was started goes.
        Again::never().arena(with_stack("down", args))?;
        measured
    }

    fn bench(&self, args: &Args) -> impl Iterator<Item = OsString> {
        let label = ["--empty".into(), "--label".into(), OsString::from(&self.label)];
        with_stack("bench", args).chain(label).chain(args.load.iter().cloned())
    }
}

fn with_stack(command: &str, args: &Args) -> impl Iterator<Item = OsString> + use<> {
    let stack = [
        command.into(),
        "--data".into(),
        args.data.clone().into_os_string(),
        "--port".into(),
        args.port.to_string().into(),
        "--database-port".into(),
        (args.port + 1).to_string().into(),
    ];
    stack.into_iter()
}

/// A label that no other trial has.
fn label(overlay: Option<&Path>, id: &str) -> anyhow::Result<String> {
    let Some(overlay) = overlay else { return Ok(format!("plain-{id}")) };
    ensure!(overlay.is_file(), "{} is no file", overlay.display());
    let name = overlay.file_stem().and_then(|name| name.to_str()).context("an overlay needs a name in UTF-8")?;
    Ok(format!("{name}-{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_called_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let overlay = folder.path().join("tcp.yml");
        assert!(label(Some(&overlay), "8b4f").unwrap_err().to_string().contains("is no file"));
        std::fs::write(&overlay, "services: {}").unwrap();
        assert_eq!(label(Some(&overlay), "8b4f").unwrap(), "tcp-8b4f");
        assert_eq!(label(None, "8b4f").unwrap(), "plain-8b4f");
    }
}
