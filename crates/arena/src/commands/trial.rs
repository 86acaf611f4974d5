//! `arena trial`: two ways to run the stack, measured in turns, compared, and shown side by side.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use clap::builder::RangedU64ValueParser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::{consts, flag};

use crate::exit::{self, Exit};
use crate::read::report::MOST_RUNS;
use crate::record::history;

/// Time between two looks at whether a process has ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

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
    let stop = Stop::on_signals()?;
    for round in 0..args.rounds {
        let order = if round % 2 == 0 { [&base, &new] } else { [&new, &base] };
        for side in order {
            eprintln!("arena: round {} of {}: {}", round + 1, args.rounds, side.label);
            side.measure(args, &stop).with_context(|| side.label.clone())?;
        }
    }
    stop.arena(["compare", &base.label, &new.label].map(OsString::from))?;
    stop.arena(["report", &base.label, &new.label].map(OsString::from))?;
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
    fn measure(&self, args: &Args, stop: &Stop) -> anyhow::Result<()> {
        let overlay = self.overlay.iter().flat_map(|path| ["--overlay".into(), path.as_os_str().to_owned()]);
        let measured = stop.arena(with_stack("up", args).chain(overlay)).and_then(|()| stop.arena(self.bench(args)));
        // Also when the user wants an end: what was started goes.
        Stop::never().arena(with_stack("down", args))?;
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

/// The user's wish to end, by Ctrl-C or SIGTERM.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> anyhow::Result<Self> {
        let stop = Self::never();
        for signal in [consts::SIGINT, consts::SIGTERM, consts::SIGHUP] {
            flag::register(signal, Arc::clone(&stop.0)).context("handling signals")?;
        }
        Ok(stop)
    }

    fn never() -> Self {
        Self(Arc::default())
    }

    /// Runs another command of this program, in a process of its own: a run must not feel what ran before it. What the
    /// command says of its progress goes on to standard error, and only a comparison or a page is worth standard output.
    fn arena(&self, arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
        command.args(&arguments);
        if !matches!(arguments.first().and_then(|name| name.to_str()), Some("compare" | "report")) {
            command.stdout(Stdio::from(std::io::stderr()));
        }
        let status = self.wait(command.spawn().context("starting this program again")?)?;
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted");
        let name = arguments.first().cloned().unwrap_or_default();
        ensure!(status.success(), "`cargo arena {}` failed ({status})", name.display());
        Ok(())
    }

    /// Waits for the end of the process, which is asked to end as soon as the user wants one.
    fn wait(&self, mut child: Child) -> anyhow::Result<ExitStatus> {
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut asked = false;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if self.0.load(Ordering::Relaxed) && !asked {
                asked = true;
                // It may have ended just now, or know already: a terminal tells both.
                let _ = kill(pid, Signal::SIGTERM);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
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
