//! What a `simulation.log` says of a run.
//!
//! Gatling keeps whole milliseconds: a response time of 0 means less than one. The histograms are in microseconds as
//! everywhere in the run document, and no finer than that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use jiff::Timestamp;

use super::line::{Missing, Record, for_each_record};
use crate::record::histogram;
use crate::record::run::{Percentiles, RequestSeries, Requests, Series};

const LOG: &str = "simulation.log";

/// A guard against a log with a broken time stamp: every second of a run takes memory.
const LONGEST_RUN_MS: u64 = 7 * 24 * 3600 * 1000;

/// What Gatling says of a run.
#[derive(Debug)]
pub struct Results {
    /// The results directory, with `simulation.log` and, where it was made, Gatling's own report `index.html`.
    pub directory: PathBuf,
    /// Class of the simulation.
    pub simulation: String,
    /// Gatling's version.
    pub version: String,
    /// When the first request was sent or the first user came, whichever was first.
    pub started: Timestamp,
    /// Seconds from then until the last answer.
    pub seconds: f64,
    /// Outcome by kind of request, in the order create, fetch, search, invalid-search, then any others by name.
    pub requests: Vec<Requests>,
    /// When each request was sent, by kind and in the order in which they ended; milliseconds since 1970.
    pub starts: BTreeMap<String, Vec<u64>>,
    /// The run second by second; without services, which Gatling does not know.
    pub series: Series,
    /// What went wrong outside of requests, by message: users that could not do what they were to do, and what of the log
    /// could not be read.
    pub errors: BTreeMap<String, u64>,
}

/// Reads the results of a Gatling run, ours or another's: `directory` holds `simulation.log`, or one directory that does.
///
/// # Errors
///
/// No such file, more than one, a log that no text format of Gatling (3.4 to 3.11) fits, or one without requests. A log of
/// which only a part can be read is no error: the results say what is missing.
pub fn read_results(directory: &Path) -> anyhow::Result<Results> {
    let log = log_in(directory)?;
    let in_log = || format!("cannot read {}", log.display());
    let header = Header::read(&log).with_context(in_log)?;
    let mut tally = Tally::new(header.start);
    for_each_record(&mut open(&log)?, LONGEST_RUN_MS, |record| tally.add(record)).with_context(in_log)?;
    Ok(Results {
        directory: log.parent().unwrap_or(directory).to_owned(),
        simulation: header.simulation,
        version: header.version,
        started: Timestamp::from_millisecond(i64::try_from(header.start)?).with_context(in_log)?,
        seconds: (header.end - header.start) as f64 / 1000.0,
        series: tally.series(),
        starts: tally.starts(),
        errors: std::mem::take(&mut tally.errors).into_iter().chain(header.missing.errors()).collect(),
        requests: tally.requests()?,
    })
}

/// The log in a results directory, or in the one results directory that it holds.
pub fn log_in(directory: &Path) -> anyhow::Result<PathBuf> {
    let log = directory.join(LOG);
    if log.is_file() {
        return Ok(log);
    }
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut logs = entries.filter_map(|entry| Some(entry.ok()?.path().join(LOG))).filter(|log| log.is_file());
    let Some(log) = logs.next() else {
        bail!("no {LOG} in {} or in a directory in it", directory.display());
    };
    ensure!(logs.next().is_none(), "{} holds several Gatling results: name one of them", directory.display());
    Ok(log)
}

/// The kind of a request by the name that our simulation or the event's gives it; any other name is a kind of its own.
pub fn kind(name: &str) -> &str {
    match name {
        "criação" => "create",
        "consulta" => "fetch",
        "busca válida" => "search",
        "invalid search" | "busca inválida" => "invalid-search",
        other => other,
    }
}

fn open(log: &Path) -> anyhow::Result<BufReader<File>> {
    Ok(BufReader::new(File::open(log).with_context(|| format!("cannot open {}", log.display()))?))
}

/// What must be known before requests can be put into seconds: lines stand in the order in which requests ended.
struct Header {
    simulation: String,
    version: String,
    start: u64,
    end: u64,
    missing: Missing,
}

impl Header {
    fn read(log: &Path) -> anyhow::Result<Self> {
        let mut run = None;
        let (mut start, mut end) = (u64::MAX, 0);
        let mut any = false;
        let missing = for_each_record(&mut open(log)?, LONGEST_RUN_MS, |record| match *record {
            Record::Run { simulation, version, .. } => run = Some((simulation.to_owned(), version.to_owned())),
            Record::UserStart { at } => start = start.min(at),
            Record::Request { start: sent, end: answered, .. } => {
                start = start.min(sent);
                end = end.max(answered);
                any = true;
            }
            Record::UserEnd | Record::Error { .. } | Record::Other => {}
        })?;
        let Some((simulation, version)) = run else {
            bail!("it has no RUN line: only the text logs of Gatling 3.4 to 3.11 can be read, later ones are binary");
        };
        if !any {
            let missing: String = missing.errors().map(|(error, _)| format!("; {error}")).collect();
            bail!("it holds no request{missing}");
        }
        Ok(Self { simulation, version, start, end, missing })
    }
}

/// Counts what the log says, second by second from `start`.
struct Tally {
    start: u64,
    kinds: BTreeMap<String, Kind>,
    /// Requests sent less requests answered in each second.
    in_flight: Vec<i64>,
    errors: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Kind {
    failures: BTreeMap<String, u64>,
    starts: Vec<u64>,
    seconds: Vec<Second>,
}

#[derive(Clone, Default)]
struct Second {
    failed: u64,
    /// Response times in milliseconds, failed requests included.
    times: Vec<u64>,
}

impl Tally {
    fn new(start: u64) -> Self {
        Self { start, kinds: BTreeMap::new(), in_flight: Vec::new(), errors: BTreeMap::new() }
    }

    fn add(&mut self, record: &Record) {
        match *record {
            Record::Request { name, start, end, failure } => self.add_request(name, start, end, failure),
            Record::Error { message } => *self.errors.entry(message.to_owned()).or_default() += 1,
            _ => {}
        }
    }

    fn add_request(&mut self, name: &str, start: u64, end: u64, failure: Option<&str>) {
        *at(&mut self.in_flight, second(start - self.start)) += 1;
        *at(&mut self.in_flight, second(end - self.start)) -= 1;
        let kind = self.kinds.entry(kind(name).to_owned()).or_default();
        kind.starts.push(start);
        let second = at(&mut kind.seconds, second(end - self.start));
        second.times.push(end - start);
        if let Some(message) = failure {
            second.failed += 1;
            *kind.failures.entry(reason(message)).or_default() += 1;
        }
    }

    fn series(&mut self) -> Series {
        let seconds = self.in_flight.len();
        let mut flying = 0;
        Series {
            requests: self.kinds.iter_mut().map(|(name, kind)| (name.clone(), kind.series(seconds))).collect(),
            in_flight: self
                .in_flight
                .iter()
                .map(|change| {
                    flying += change;
                    u64::try_from(flying).unwrap_or_default()
                })
                .collect(),
            ..Series::default()
        }
    }

    fn starts(&mut self) -> BTreeMap<String, Vec<u64>> {
        self.kinds.iter_mut().map(|(name, kind)| (name.clone(), std::mem::take(&mut kind.starts))).collect()
    }

    fn requests(self) -> anyhow::Result<Vec<Requests>> {
        let mut requests: Vec<Requests> =
            self.kinds.into_iter().map(|(name, kind)| kind.requests(name)).collect::<anyhow::Result<_>>()?;
        requests.sort_by_key(|requests| {
            ["create", "fetch", "search", "invalid-search"]
                .iter()
                .position(|kind| *kind == requests.kind)
                .unwrap_or(usize::MAX)
        });
        Ok(requests)
    }
}

impl Kind {
    fn series(&mut self, seconds: usize) -> RequestSeries {
        self.seconds.resize(seconds, Second::default());
        self.seconds.iter_mut().for_each(|second| second.times.sort_unstable());
        let percentiles = |quantile| self.seconds.iter().map(|second| percentile(&second.times, quantile)).collect();
        RequestSeries {
            completed: self.seconds.iter().map(|second| second.times.len() as u64).collect(),
            failed: self.seconds.iter().map(|second| second.failed).collect(),
            p50: percentiles(0.5),
            p99: percentiles(0.99),
        }
    }

    fn requests(self, kind: String) -> anyhow::Result<Requests> {
        let mut times: Vec<u64> = self.seconds.into_iter().flat_map(|second| second.times).collect();
        times.sort_unstable();
        Ok(Requests {
            kind,
            count: times.len() as u64,
            failures: self.failures,
            statuses: BTreeMap::new(),
            response: percentiles(&times),
            service: None,
            histogram: Some(encode(&times)?),
        })
    }
}

/// Gatling's message, shortened to what a person needs to tell failures apart.
fn reason(message: &str) -> String {
    const KNOWN: [(&str, &str); 7] = [
        ("Connection refused", "connection refused"),
        ("Connection reset", "connection reset"),
        ("Premature close", "connection closed"),
        ("Request timeout", "timed out"),
        ("connection timed out", "connect timed out"),
        ("Too many open files", "too many open files"),
        ("Cannot assign requested address", "no local port left"),
    ];
    if let Some((_, found)) = message.strip_prefix("status.find").and_then(|check| check.rsplit_once("found ")) {
        return format!("status {found}");
    }
    if let Some((_, short)) = KNOWN.iter().find(|(part, _)| message.contains(part)) {
        return (*short).to_owned();
    }
    message.chars().take(80).collect()
}

fn percentiles(sorted: &[u64]) -> Percentiles {
    Percentiles {
        mean: sorted.iter().sum::<u64>() as f64 / sorted.len().max(1) as f64,
        p50: percentile(sorted, 0.5),
        p75: percentile(sorted, 0.75),
        p95: percentile(sorted, 0.95),
        p99: percentile(sorted, 0.99),
        max: percentile(sorted, 1.0),
    }
}

/// The nearest-rank percentile: the smallest value that at least this share of all values does not exceed; 0 of none.
fn percentile(sorted: &[u64], quantile: f64) -> f64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default() as f64
}

fn encode(millis: &[u64]) -> anyhow::Result<String> {
    let mut times = Histogram::<u64>::new(3)?;
    for time in millis {
        times.record(time * 1000)?;
    }
    histogram::encode(&times)
}

fn second(millis: u64) -> usize {
    (millis / 1000) as usize
}

fn at<T: Clone + Default>(values: &mut Vec<T>, index: usize) -> &mut T {
    if index >= values.len() {
        values.resize(index + 1, T::default());
    }
    &mut values[index]
}
