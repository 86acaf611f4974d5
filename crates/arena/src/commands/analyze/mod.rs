//! `arena analyze`: several stress processes side by side, and what they measured together.

mod statistics;
mod stress_process;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Result;
use jiff::Zoned;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::commands::stress::{self, Row, Source};
use crate::exit::Exit;
use crate::load::payloads::random::Random;
use crate::terminal;
use statistics::{mean, percentile_95, rounded};
use stress_process::{Ended, StressProcess};

/// More would spend the machine on processes rather than on load.
const MOST_PROCESSES: u32 = 1_000;

/// Run stress processes side by side and print average, extremes and 95th percentile of what they measured.
///
/// N processes run `cargo arena stress` at the same time, for 2, 3, up to N + 1 seconds, in random order. A process that
/// is killed or ends early is reported by its pid on standard error and left out of the figures; the exit status is then
/// 1, as it is when requests failed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many processes to run
    #[arg(value_name = "N", value_parser = processes, allow_negative_numbers = true)]
    processes: u32,
    #[command(flatten)]
    source: Source,
    /// What the order of the durations and, with --simulate, the numbers are made from
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// The target cannot be reached, a process cannot be started, or standard output cannot be written.
pub fn run(args: Args) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(analyze(&args))
}

async fn analyze(args: &Args) -> Result<Exit> {
    if !args.source.simulate {
        stress::check(&args.source.target).await?;
    }
    // Before the first process: one that was started must not outlive a signal.
    let mut stop = Stop::new()?;
    let mut random = args.seed.map_or_else(Random::unseeded, Random::new);
    let mut running = JoinSet::new();
    for seconds in durations(args.processes, &mut random) {
        let process = StressProcess::start(seconds, &args.source, random.next_u64())?;
        running.spawn(process.wait());
    }
    let Some(mut ended) = wait_for_all(&mut running, args.processes, &mut stop).await? else {
        running.shutdown().await;
        eprintln!("arena: interrupted; the stress processes were ended");
        return Ok(Exit::Failed);
    };
    ended.sort_by_key(|process| process.finished_at);
    for process in &ended {
        if let Some(fault) = &process.fault {
            eprintln!("arena: stress process {} {fault}", process.pid);
        }
    }

    let is_clean = ended.iter().all(|process| process.fault.is_none());
    ended.retain(|process| process.is_complete);
    if !ended.is_empty() {
        terminal::print(&report(&ended, args.source.simulate))?;
    }
    Ok(if is_clean { Exit::Good } else { Exit::Failed })
}

/// A random permutation of 2 to `processes` + 1 seconds.
fn durations(processes: u32, random: &mut Random) -> Vec<u32> {
    let mut seconds: Vec<u32> = (2..=processes + 1).collect();
    random.shuffle(&mut seconds);
    seconds
}

/// All processes as they ended, or nothing when the user wants an end before that.
async fn wait_for_all(
    running: &mut JoinSet<Result<Ended>>,
    processes: u32,
    stop: &mut Stop,
) -> Result<Option<Vec<Ended>>> {
    let mut progress = Progress::new(processes);
    let mut ended = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = stop.asked() => return Ok(None),
            next = running.join_next() => match next {
                Some(process) => ended.push(process??),
                None => return Ok(Some(ended)),
            },
            () = progress.tick() => progress.show(ended.len()),
        }
    }
}

/// The user's wish to end, by Ctrl-C or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A line on a terminal that says how far things are; gone when this is dropped.
struct Progress {
    is_shown: bool,
    processes: u32,
    start: Instant,
    ticks: tokio::time::Interval,
}

impl Progress {
    fn new(processes: u32) -> Self {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { is_shown: io::stderr().is_terminal(), processes, start: Instant::now(), ticks }
    }

    async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    fn show(&self, ended: usize) {
        if self.is_shown {
            let (seconds, last) = (self.start.elapsed().as_secs(), self.processes + 1);
            eprint!("\r{ended} of {} stress processes have ended, {seconds} of {last} s", self.processes);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// Times are whole where they were made up, and have two decimals where they were measured.
fn report(processes: &[Ended], simulated: bool) -> String {
    let rows = || processes.iter().flat_map(|process| &process.rows);
    let throughput: Vec<u64> = rows().map(|row: &Row| row.throughput).collect();
    let latency: Vec<u64> = rows().map(|row: &Row| if simulated { row.latency / 100 } else { row.latency }).collect();
    let max = |values: &[u64]| values.iter().max().copied().unwrap_or_default();
    let min = |values: &[u64]| values.iter().min().copied().unwrap_or_default();
    let time = |whole: String, hundredths: f64| if simulated { whole } else { format!("{:.2}", hundredths / 100.0) };
    let exact = |value: u64| time(value.to_string(), value as f64);
    let latency_mean = latency.iter().sum::<u64>() as f64 / latency.len().max(1) as f64;
    let latency_95 = percentile_95(&latency);

    let mut lines = vec![
        format!("Average Throughput = {} ops/s", mean(&throughput)),
        format!("Average Latency = {}ms", time(mean(&latency), latency_mean)),
        format!("Max throughput = {} ops/s", max(&throughput)),
        format!("Max latency = {}ms", exact(max(&latency))),
        format!("Min throughput = {} ops/s", min(&throughput)),
        format!("Min latency = {}ms", exact(min(&latency))),
        format!("Throughput 95th percentile = {:?} ops/s", percentile_95(&throughput)),
        format!("Latency 95th percentile = {}ms", time(format!("{latency_95:?}"), latency_95)),
        format!("{} processes run in total", processes.len()),
    ];
    lines.extend(processes.iter().map(process_line));
    lines.join("\n") + "\n\n"
}

fn process_line(process: &Ended) -> String {
    format!(
        "pid: {} started at {} and finished at {} taking  {} seconds to complete",
        process.pid,
        c_date(&process.started),
        c_date(&process.finished),
        rounded(process.took.as_secs_f64())
    )
}

/// The date as the C locale writes it: `Sat Nov 21 00:06:16 2026`, with a space before a day of one digit.
fn c_date(time: &Zoned) -> String {
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

fn processes(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if (1..=MOST_PROCESSES).contains(&count) => Ok(count),
        _ => Err(format!("must be a whole number from 1 to {MOST_PROCESSES}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ended(pid: u32, rows: &[(u64, u64)], started: &str, finished: &str, took: f64) -> Ended {
        let time = |text: &str| -> Zoned { format!("{text}[UTC]").parse().unwrap() };
        Ended {
            pid,
            rows: rows.iter().map(|&(throughput, latency)| Row { throughput, latency: latency * 100 }).collect(),
            is_complete: true,
            fault: None,
            started: time(started),
            finished: time(finished),
            finished_at: std::time::Instant::now(),
            took: Duration::from_secs_f64(took),
        }
    }

    #[test]
    fn report_is_right_to_the_byte() {
        let processes = [
            ended(7223, &[(18_747, 3_521), (85_522, 19_485)], "2026-11-21T00:06:16", "2026-11-21T00:06:18", 2.104),
            ended(7225, &[(34_937, 9_834), (1, 2), (3, 4)], "2026-11-01T23:59:58", "2026-11-02T00:00:01", 3.0),
        ];
        let expected = "\
Average Throughput = 27842 ops/s
Average Latency = 6569.2ms
Max throughput = 85522 ops/s
Max latency = 19485ms
Min throughput = 1 ops/s
Min latency = 2ms
Throughput 95th percentile = 120931.5 ops/s
Latency 95th percentile = 26240.7ms
2 processes run in total
pid: 7223 started at Sat Nov 21 00:06:16 2026 and finished at Sat Nov 21 00:06:18 2026 taking  2.1 seconds to complete
pid: 7225 started at Sun Nov  1 23:59:58 2026 and finished at Mon Nov  2 00:00:01 2026 taking  3.0 seconds to complete

";
        assert_eq!(report(&processes, true), expected);
    }

    #[test]
    fn measured_times_have_two_decimals() {
        let mut process = ended(7, &[(13, 302), (12, 302)], "2026-11-21T00:06:16", "2026-11-21T00:06:18", 2.1);
        process.rows[1].latency += 42;
        let report = report(&[process], false);
        let times: Vec<&str> = report.lines().filter(|line| line.contains("atency")).collect();
        let expected = [
            "Average Latency = 302.21ms",
            "Max latency = 302.42ms",
            "Min latency = 302.00ms",
            "Latency 95th percentile = 302.78ms",
        ];
        assert_eq!(times, expected);
    }

    #[test]
    fn durations_are_a_permutation() {
        let mut random = Random::new(1);
        for processes in 1..=20 {
            let mut seconds = durations(processes, &mut random);
            seconds.sort_unstable();
            assert!(seconds.into_iter().eq(2..=processes + 1));
        }
    }

    #[test]
    fn every_order_of_durations_comes_up() {
        let orders: BTreeSet<Vec<u32>> = (0..200).map(|seed| durations(3, &mut Random::new(seed))).collect();
        assert_eq!(orders.len(), 6);
    }
}
