//! A run of the driver as the one document.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::monitor::{Interval, Monitor, Tally};
use super::schedule::Kind;
use crate::record::histogram;
use crate::record::run::{
    Driver, Generator, Goodput, Judged, Machine, Outcome, Percentiles, Requests, Run, SCHEMA, Series, Settings, Verdict,
};

/// A run document with all that the driver itself measured, and nothing else.
///
/// # Errors
///
/// A histogram cannot be written.
pub fn draft(monitor: &Monitor, length: Duration) -> anyhow::Result<Run> {
    Ok(Run {
        schema: SCHEMA,
        id: String::new(),
        driver: Driver::Bench,
        label: None,
        started: String::new(),
        seconds: length.as_secs_f64(),
        commit: None,
        settings: Settings::default(),
        budget: Vec::new(),
        versions: BTreeMap::new(),
        machine: Machine::default(),
        judged: Judged::new(Verdict::new(Outcome::Clean, Vec::new()), None),
        requests: requests(monitor, true)?,
        services: Vec::new(),
        durability: None,
        generator: Some(generator(monitor)),
        steps: Vec::new(),
        series: series(monitor),
    })
}

/// Outcome by kind of request; kinds that the run did not send are left out. `with_histograms` keeps every time.
///
/// # Errors
///
/// A histogram cannot be written.
pub fn requests(monitor: &Monitor, with_histograms: bool) -> anyhow::Result<Vec<Requests>> {
    let sent = Kind::ALL.into_iter().zip(&monitor.tallies).filter(|(_, tally)| tally.count > 0);
    sent.map(|(kind, tally)| request(kind, tally, with_histograms)).collect()
}

/// What was answered with success of a constant rate.
pub fn goodput(monitor: &Monitor) -> Goodput {
    let seconds = monitor.load.as_secs_f64();
    let tallies = &monitor.tallies;
    let successful: u64 = tallies.iter().map(|tally| tally.successful_while_loaded).sum();
    let response = |(kind, tally): (Kind, &Tally)| {
        let times = tally.successful_response();
        (!times.is_empty()).then(|| (kind.name().to_owned(), percentiles(&times)))
    };
    Goodput {
        seconds,
        per_second: successful as f64 / seconds,
        refused: tallies.iter().map(Tally::refused).sum(),
        response: Kind::ALL.into_iter().zip(tallies).filter_map(response).collect(),
    }
}

fn request(kind: Kind, tally: &Tally, with_histogram: bool) -> anyhow::Result<Requests> {
    let failures = tally.failures.iter().map(|(reason, failures)| (reason.to_string(), failures.count)).collect();
    Ok(Requests {
        kind: kind.name().to_owned(),
        count: tally.count,
        failures,
        statuses: tally.statuses.clone(),
        response: percentiles(&tally.response),
        service: Some(percentiles(&tally.service)),
        histogram: with_histogram.then(|| histogram::encode(&tally.response)).transpose()?,
    })
}

fn percentiles(microseconds: &Histogram<u64>) -> Percentiles {
    let at = |quantile| microseconds.value_at_quantile(quantile) as f64 / 1e3;
    Percentiles {
        mean: microseconds.mean() / 1e3,
        p50: at(0.5),
        p75: at(0.75),
        p95: at(0.95),
        p99: at(0.99),
        max: microseconds.max() as f64 / 1e3,
    }
}

/// What the driver says of itself.
fn generator(monitor: &Monitor) -> Generator {
    Generator {
        intended: monitor.sent + monitor.unsent.values().sum::<u64>(),
        sent: monitor.sent,
        repeated: monitor.repeated,
        send_lag_p99: monitor.lag.value_at_quantile(0.99) as f64 / 1e3,
        cpu_seconds: monitor.cpu().as_secs_f64(),
    }
}

/// The run second by second, without the services.
fn series(monitor: &Monitor) -> Series {
    let sent = Kind::ALL.into_iter().zip(&monitor.tallies).filter(|(_, tally)| tally.count > 0);
    Series {
        requests: sent.map(|(kind, tally)| (kind.name().to_owned(), tally.series.clone())).collect(),
        in_flight: monitor.in_flight_series.clone(),
        services: Default::default(),
    }
}

/// Opens the file for [`write_log`]. What it holds from before stays until then.
///
/// # Errors
///
/// The file cannot be written.
pub fn open_log(path: &Path) -> anyhow::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes response times by second and kind as HDR's interval log, in microseconds, tagged with the kind.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_log(file: File, started: SystemTime, intervals: &[Interval]) -> anyhow::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    let mut file = BufWriter::new(file);
    log(&mut file, started, intervals)?;
    Ok(file.flush()?)
}

fn log(out: &mut impl Write, started: SystemTime, intervals: &[Interval]) -> anyhow::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("Response times in microseconds, from the intended time, by second; tags are kinds of requests")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(1000.0)
        .begin_log_with(out, &mut serializer)?;
    for Interval { second, kind, encoded } in intervals {
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut encoded.as_slice())?;
        let tag = Tag::new(kind.name());
        log.write_histogram(&histogram, Duration::from_secs(*second), Duration::from_secs(1), tag)
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    Ok(())
}
