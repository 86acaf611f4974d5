//! `arena stress`: load for some seconds, one line of CSV a second.

mod connect;
mod connections;
mod script;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use connect::check;

use crate::exit::Exit;
use crate::load::base_url::BaseUrl;
use crate::load::payloads::random::Random;
use crate::load::vocabulary::Vocabulary;
use connections::{Failures, Load};

/// The first line of the CSV.
pub const HEADER: &str = "Throughput (ops/s),Latency (ms)";

const MAX_THROUGHPUT: u64 = 99_999;
const MAX_LATENCY_MS: u64 = 19_999;

/// The first row comes after this time at the earliest, when requests are measured: long enough to say something, short
/// enough to be at once.
const FIRST_SLICE: Duration = Duration::from_millis(100);

/// It waits as long as this for every connection to have its first answer. A row that came before any answer would say
/// of the target that it does nothing, and would weigh as much as a row over a whole second.
const LONGEST_FIRST_SLICE: Duration = Duration::from_secs(1);

/// Load a target for some seconds and print throughput and latency of each as CSV.
///
/// The CSV has CRLF line ends. The first row comes at once, one more every second, SECONDS rows in all.
///
/// A row holds the completed requests per second and their mean latency in milliseconds, with two decimals, since the row
/// before it; the first comes as soon as every connection has had an answer, after 0.1 seconds at the earliest and after
/// one at the latest. Requests that fail do not count. Where none completed, the latency is how long those under way have
/// waited. Each connection sends its next request when the last is answered.
/// The exit status is 1 when requests failed, or none was answered.
///
/// Without --path the load is a mix on the people API: create a person, fetch it, and a search after every fifth.
/// The people are real rows, and they stay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to run
    #[arg(value_parser = seconds, allow_negative_numbers = true)]
    seconds: u32,
    #[command(flatten)]
    source: Source,
    /// What the random numbers are made from
    #[arg(long, requires = "simulate")]
    seed: Option<u64>,
}

/// Where the numbers come from.
#[derive(Clone, Debug, clap::Args)]
pub struct Source {
    /// Send nothing: print random numbers, throughput 0 to 99999 and latency 0 to 19999
    #[arg(long, conflicts_with_all = ["target", "path", "vocabulary", "connections"])]
    pub simulate: bool,
    /// Base URL of what to load
    #[arg(long, value_name = "URL", default_value = "http://localhost:9999")]
    pub target: BaseUrl,
    /// Only GET this path, at any target, instead of the mix on the people API
    #[arg(long, value_parser = path)]
    pub path: Option<String>,
    /// The words in which the people API is spoken to
    #[arg(long, value_enum, default_value_t, conflicts_with = "path")]
    pub vocabulary: Vocabulary,
    /// Connections that are kept open and used at the same time, by each process
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub connections: u16,
}

/// What a row says of the time since the row before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Completed requests per second.
    pub throughput: u64,
    /// Their mean latency in hundredths of a millisecond.
    pub latency: u64,
}

/// Runs the command.
///
/// # Errors
/// The target cannot be reached, or standard output cannot be written.
pub fn run(args: Args) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match tokio::task::LocalSet::new().block_on(&runtime, stress(&args)) {
        Err(error) if is_broken_pipe(&error) => Ok(Exit::Good),
        outcome => outcome,
    }
}

async fn stress(args: &Args) -> Result<Exit> {
    if args.source.simulate {
        let mut random = args.seed.map_or_else(Random::unseeded, Random::new);
        print_rows(args.seconds, std::future::ready(()), || simulated(&mut random)).await?;
        return Ok(Exit::Good);
    }
    let mut load = Load::start(&args.source).await?;
    let (start, heard) = (Instant::now(), load.heard());
    let first = async {
        sleep_until(start + FIRST_SLICE).await;
        // Without an answer from every connection the row says what it can.
        let _ = timeout_at(start + LONGEST_FIRST_SLICE, heard.notified()).await;
    };
    print_rows(args.seconds, first, || measured(load.row())).await?;
    Ok(exit(load.failures()))
}

/// Prints a row once `first` has come and one every second from then on, and returns `seconds` after it was called.
async fn print_rows(seconds: u32, first: impl Future<Output = ()>, mut row: impl FnMut() -> String) -> io::Result<()> {
    let start = Instant::now();
    print_line(HEADER)?;
    first.await;
    let first = Instant::now();
    for second in 0..seconds {
        sleep_until(first + Duration::from_secs(second.into())).await;
        print_line(&row())?;
    }
    sleep_until(start + Duration::from_secs(seconds.into())).await;
    Ok(())
}

/// Prints at once, also into a pipe: whoever reads wants each row when it is made.
fn print_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{line}\r\n")?;
    stdout.flush()
}

/// Whether whoever read the rows has left, which is no fault.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A row of random whole numbers.
fn simulated(random: &mut Random) -> String {
    let throughput = random.between(0, MAX_THROUGHPUT);
    format!("{throughput},{}", random.between(0, MAX_LATENCY_MS))
}

fn measured(Row { throughput, latency }: Row) -> String {
    format!("{throughput},{}.{:02}", latency / 100, latency % 100)
}

fn exit(Failures { sent, failed, first }: Failures) -> Exit {
    match first {
        Some(first) => eprintln!("arena: {failed} of {sent} requests failed; the first: {first}"),
        None if sent == 0 => eprintln!("arena: the target answered no request"),
        None => return Exit::Good,
    }
    Exit::Failed
}

fn seconds(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(seconds) if seconds >= 1 => Ok(seconds),
        _ => Err(format!("must be a whole number from 1 to {}", u32::MAX)),
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.parse::<hyper::http::uri::PathAndQuery>() {
        Ok(_) if text.starts_with('/') => Ok(text.to_owned()),
        Ok(_) => Err("must begin with a slash".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
