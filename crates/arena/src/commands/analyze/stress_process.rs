//! One stress process, from its start to its end.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Zoned;
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use tokio::process::{Child, Command};

use crate::commands::stress::{HEADER, Row, Source};

/// A stress process that runs. It is killed when this is dropped.
pub struct StressProcess {
    child: Child,
    pid: u32,
    seconds: u32,
    started: Zoned,
    started_at: Instant,
}

/// A stress process that ended.
#[derive(Debug)]
pub struct Ended {
    /// Of the process.
    pub pid: u32,
    /// The rows it printed.
    pub rows: Vec<Row>,
    /// Whether it ended by itself and printed a row for every second.
    pub is_complete: bool,
    /// What went wrong, to be read after the pid.
    pub fault: Option<String>,
    /// Local time of its start.
    pub started: Zoned,
    /// Local time of its end.
    pub finished: Zoned,
    /// Its end, comparable with that of others.
    pub finished_at: Instant,
    /// How long it ran.
    pub took: Duration,
}

impl StressProcess {
    /// Starts `arena stress SECONDS`.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(seconds: u32, source: &Source, seed: u64) -> Result<Self> {
        let arena = std::env::current_exe().context("cannot find the program to run stress processes with")?;
        let started = Zoned::now();
        let started_at = Instant::now();
        let child = Command::new(arena)
            .args(arguments(seconds, source, seed))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a stress process")?;
        let pid = child.id().context("a stress process ended before it began")?;
        Ok(Self { child, pid, seconds, started, started_at })
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// Its output cannot be read.
    pub async fn wait(self) -> Result<Ended> {
        let Self { child, pid, seconds, started, started_at } = self;
        let output = child.wait_with_output().await.with_context(|| format!("cannot wait for stress process {pid}"))?;
        let took = started_at.elapsed();

        let rows = rows(&output.stdout);
        let has_every_row = rows.len() == seconds as usize;
        let fault = match fault(output.status, &output.stderr) {
            None if !has_every_row => Some(format!("printed {} of {seconds} rows", rows.len())),
            fault => fault,
        };
        Ok(Ended {
            pid,
            rows,
            is_complete: has_every_row && output.status.code().is_some(),
            fault,
            started,
            finished: Zoned::now(),
            finished_at: started_at + took,
            took,
        })
    }
}

fn arguments(seconds: u32, source: &Source, seed: u64) -> Vec<OsString> {
    let mut arguments = vec!["stress".to_owned(), seconds.to_string()];
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    if source.simulate {
        option("--seed", seed.to_string());
        arguments.push("--simulate".to_owned());
        return arguments.into_iter().map(OsString::from).collect();
    }
    option("--target", source.target.to_string());
    option("--connections", source.connections.to_string());
    match &source.path {
        Some(path) => option("--path", path.clone()),
        None => option("--vocabulary", source.vocabulary.name().to_owned()),
    }
    arguments.into_iter().map(OsString::from).collect()
}

/// The rows of a CSV, up to the first line that is none.
fn rows(csv: &[u8]) -> Vec<Row> {
    let text = String::from_utf8_lossy(csv);
    let mut lines = text.split("\r\n");
    if lines.next() != Some(HEADER) {
        return Vec::new();
    }
    lines.map_while(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let (throughput, latency) = line.split_once(',')?;
    Some(Row { throughput: throughput.parse().ok()?, latency: hundredths(latency)? })
}

/// Reads a whole number, or one with two decimals.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "00"));
    let decimals: u64 = decimals.parse().ok().filter(|_| decimals.len() == 2)?;
    Some(whole.parse::<u64>().ok()? * 100 + decimals)
}

fn fault(status: ExitStatus, stderr: &[u8]) -> Option<String> {
    if let Some(number) = status.signal() {
        let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
        return Some(format!("was killed by signal {number} ({name})"));
    }
    if status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(stderr);
    let said = said.trim().trim_start_matches("arena: ");
    Some(if said.is_empty() { format!("failed with {status}") } else { format!("failed: {said}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows_up_to_where_they_break_off() {
        let csv = b"Throughput (ops/s),Latency (ms)\r\n1,2\r\n30,40.05\r\n50,7.1\r\n60,8";
        assert_eq!(rows(csv), [Row { throughput: 1, latency: 200 }, Row { throughput: 30, latency: 4005 }]);
        assert_eq!(rows(b"1,2\r\n"), []);
        assert_eq!(rows(b""), []);
    }
}
