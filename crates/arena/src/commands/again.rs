//! Other commands of this program, each in a process of its own: a run must not feel what ran before it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::exit;
use crate::record::run::Run;

/// Time between two looks at whether a process has ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Runs commands until the user wants an end.
pub struct Again(Arc<AtomicBool>);

impl Again {
    /// Ends what runs at Ctrl-C, SIGTERM and SIGHUP.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn on_signals() -> anyhow::Result<Self> {
        Ok(Self(exit::interruption()?))
    }

    /// Also when the user wants an end: for what takes down what was started.
    pub fn never() -> Self {
        Self(Arc::default())
    }

    /// Runs another command of this program. What the command says of its progress goes on to standard error, and only a
    /// comparison or a page is worth standard output.
    ///
    /// # Errors
    ///
    /// If it fails, or the user wants an end.
    pub fn arena(&self, arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let mut command = command(&arguments)?;
        if !matches!(arguments.first().and_then(|name| name.to_str()), Some("compare" | "report")) {
            command.stdout(Stdio::from(std::io::stderr()));
        }
        let status = self.wait(command.spawn().context("starting this program again")?)?;
        let name = arguments.first().cloned().unwrap_or_default();
        ensure!(status.success(), "`cargo arena {}` failed ({status})", name.display());
        Ok(())
    }

    /// Runs a command that prints a run as JSON (`bench`, `fight`) and gives the run. What it says of its progress goes to the
    /// file `log`.
    ///
    /// # Errors
    ///
    /// If there was no run to judge, with what the command said last; or the user wants an end.
    pub fn run(&self, arguments: &[OsString], log: &Path) -> anyhow::Result<Run> {
        let said = File::create(log).with_context(|| log.display().to_string())?;
        let mut command = command(arguments)?;
        let mut child = command.stdout(Stdio::piped()).stderr(said).spawn().context("starting this program again")?;
        let mut out = child.stdout.take().context("its output")?;
        // A document is longer than a pipe holds.
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text)
        });
        self.wait(child)?;
        let text = reader.join().map_err(|_| anyhow::anyhow!("reading what it printed"))??;
        if text.is_empty() {
            let said = fs::read_to_string(log).unwrap_or_default();
            bail!("{}", last_words(&said).unwrap_or("it said nothing"));
        }
        serde_json::from_str(&text).context("what it printed is no run")
    }

    /// Waits for the end of the process, which is asked to end as soon as the user wants one.
    fn wait(&self, mut child: Child) -> anyhow::Result<ExitStatus> {
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut asked = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if self.0.load(Ordering::Relaxed) && !asked {
                asked = true;
                // It may have ended just now, or know already: a terminal tells both.
                let _ = kill(pid, Signal::SIGTERM);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        };
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted");
        Ok(status)
    }
}

/// What this program said last, which may be several lines.
fn last_words(said: &str) -> Option<&str> {
    const NAME: &str = "arena: ";
    let at = said.rfind(&format!("\n{NAME}")).map(|at| at + 1).or_else(|| said.starts_with(NAME).then_some(0))?;
    Some(said[at + NAME.len()..].trim_end())
}

fn command(arguments: &[OsString]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command.args(arguments);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn what_was_said_last_is_told_whole() {
        let said = "arena: building\narena: it does not start:\n  db | killed\n";
        assert_eq!(last_words(said), Some("it does not start:\n  db | killed"));
        assert_eq!(last_words("arena: gone"), Some("gone"));
        assert_eq!(last_words("warning: 3 arena: x\n"), None);
    }
}
