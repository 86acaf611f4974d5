//! `arena trial`: two ways to run the stack, measured in turns, compared, and shown side by side.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use clap::builder::RangedU64ValueParser;

use crate::exit::Exit;
use crate::history;
use crate::report::MOST_RUNS;

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
    /// Port of the API
    #[arg(long, default_value_t = 19998)]
    port: u16,
    /// Arguments of `cargo arena bench`
    #[arg(last = true)]
    load: Vec<OsString>,
}

/// Measures both in turns, each round in the other order than the one before, and prints the comparison.
///
/// # Errors
///
/// If a stack does not come up, or a run failed or says nothing.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let id = history::new_id("trial");
    // Enough to tell trials apart, and short enough for the head of a column.
    let id = id.rsplit('-').next().unwrap_or_default();
    let base = Side { overlay: args.against.as_deref(), label: label(args.against.as_deref(), id)? };
    let new = Side { overlay: Some(&args.overlay), label: label(Some(&args.overlay), id)? };
    ensure!(base.label != new.label, "both stacks are the same");
    for round in 0..args.rounds {
        let order = if round % 2 == 0 { [&base, &new] } else { [&new, &base] };
        for side in order {
            eprintln!("arena: round {} of {}: {}", round + 1, args.rounds, side.label);
            side.measure(args).with_context(|| side.label.clone())?;
        }
    }
    arena(["compare", &base.label, &new.label].map(OsString::from))?;
    arena(["report", &base.label, &new.label].map(OsString::from))?;
    Ok(Exit::Good)
}

/// One of the two stacks.
struct Side<'a> {
    overlay: Option<&'a Path>,
    label: String,
}

impl Side<'_> {
    fn measure(&self, args: &Args) -> anyhow::Result<()> {
        let stack = [
            "--data".into(),
            args.data.clone().into_os_string(),
            "--port".into(),
            args.port.to_string().into(),
            "--database-port".into(),
            (args.port + 1).to_string().into(),
        ];
        let overlay = self.overlay.iter().flat_map(|path| ["--overlay".into(), path.as_os_str().to_owned()]);
        let with_stack = |command: &str| [OsString::from(command)].into_iter().chain(stack.clone());
        let measured = arena(with_stack("up").chain(overlay)).and_then(|()| {
            let label = ["--empty".into(), "--label".into(), OsString::from(&self.label)];
            arena(with_stack("bench").chain(label).chain(args.load.iter().cloned()))
        });
        arena(with_stack("down"))?;
        measured
    }
}

/// A label that no other trial has.
fn label(overlay: Option<&Path>, id: &str) -> anyhow::Result<String> {
    let Some(overlay) = overlay else { return Ok(format!("plain-{id}")) };
    ensure!(overlay.is_file(), "{} is no file", overlay.display());
    let name = overlay.file_stem().and_then(|name| name.to_str()).context("an overlay needs a name in UTF-8")?;
    Ok(format!("{name}-{id}"))
}

/// Runs another command of this program, in a process of its own: a run must not feel what ran before it. What the command
/// says of its progress goes on to standard error, and only a comparison or a page is worth standard output.
fn arena(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command.args(&arguments);
    if !matches!(arguments.first().and_then(|name| name.to_str()), Some("compare" | "report")) {
        command.stdout(Stdio::from(std::io::stderr()));
    }
    let status = command.status().context("starting this program again")?;
    let name = arguments.first().cloned().unwrap_or_default();
    ensure!(status.success(), "`cargo arena {}` failed ({status})", name.display());
    Ok(())
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
