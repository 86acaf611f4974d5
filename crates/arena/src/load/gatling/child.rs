//! A child process that never outlives the arena.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Time between two looks at the child.
const LOOK: Duration = Duration::from_millis(100);

/// A running child, in a process group of its own. The group is killed when this is dropped; the child itself also
/// when the thread that started it ends in whatever way.
pub(super) struct Process(Child);

impl Process {
    #[expect(unsafe_code, reason = "what runs between fork and exec is for us to vouch for")]
    pub(super) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        // SAFETY: between fork and exec, `prctl` is a plain system call that touches no memory of ours.
        unsafe {
            command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self(child))
    }

    /// Waits until the child ends, and asks `goes_on` ten times a second. None where that said no; the child is killed then.
    ///
    /// # Errors
    ///
    /// `interrupted` became true; the child is killed then.
    pub(super) fn wait(
        mut self,
        interrupted: &AtomicBool,
        mut goes_on: impl FnMut() -> bool,
    ) -> anyhow::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.0.try_wait().context("cannot wait for a child process")? {
                return Ok(Some(status));
            }
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            if !goes_on() {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

/// The end of a program's output, without empty lines and the frames of Java's stack traces.
pub(super) fn last_words(output: &str) -> String {
    let is_frame = |line: &str| line.starts_with("\tat ") || line.starts_with("    at ") || line.starts_with("\t... ");
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty() && !is_frame(line)).collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_process_and_its_children_end_when_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!("sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display());
        let process = Process::spawn(Command::new("sh").args(["-c", &script])).unwrap();
        let text = loop {
            match fs::read_to_string(&pids) {
                Ok(text) => break text,
                Err(_) => std::thread::yield_now(),
            }
        };
        drop(process);
        for pid in text.split_whitespace() {
            while is_running(pid) {
                std::thread::yield_now();
            }
        }
    }

    fn is_running(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn an_interrupted_wait_is_an_error() {
        let process = Process::spawn(Command::new("sleep").arg("600")).unwrap();
        let error = process.wait(&AtomicBool::new(true), || true).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }

    #[test]
    fn a_process_that_ends_gives_its_status() {
        let process = Process::spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(process.wait(&AtomicBool::new(false), || true).unwrap().unwrap().code(), Some(7));
    }

    #[test]
    fn a_process_that_is_not_to_go_on_is_given_up() {
        let process = Process::spawn(Command::new("sleep").arg("600")).unwrap();
        assert_eq!(process.wait(&AtomicBool::new(false), || false).unwrap(), None);
    }
}
