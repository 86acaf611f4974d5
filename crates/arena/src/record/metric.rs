//! The figures of a run by name, such as `create.p99` or `db.cpu_ms_per_thousand`: the one vocabulary that thresholds,
//! comparisons and plots share.

use std::fmt;

use anyhow::{Context, bail};

use crate::record::run::{Cost, Driver, Requests, Run};

/// Seconds in which the kernel counts the CPU time of processes.
const TICK: f64 = 0.01;

/// Bytes in which it counts their memory and writes.
const PAGE: f64 = 4096.0;

/// A figure that every run has or lacks.
#[derive(Clone, Debug)]
pub struct Metric {
    subject: Subject,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A time in milliseconds; also CPU time, where the name says of how many requests.
    Milliseconds,
    /// A time in seconds.
    Seconds,
    /// A time in microseconds.
    Microseconds,
    /// A number of things.
    Count,
    /// Things a second.
    PerSecond,
    /// A size in bytes.
    Bytes,
    /// A share of 100.
    Percent,
}

/// Which way a figure should move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// As with times and costs.
    Lower,
    /// As with people stored.
    Higher,
    /// A figure that is no merit in itself, such as requests sent.
    Neither,
}

impl Metric {
    /// The metric of that name. Kinds of requests and services are any word, as each run has its own.
    ///
    /// # Errors
    /// No figure of that name; the message lists those there are.
    pub fn parse(name: &str) -> anyhow::Result<Self> {
        let subject =
            Subject::parse(name).with_context(|| format!("unknown metric {name:?}; known are {}", known()))?;
        Ok(Self { subject })
    }

    /// As [`Metric::parse`], and at least one of `runs` has the figure.
    ///
    /// # Errors
    /// No figure of that name in any run; the message lists those that they have.
    pub fn parse_for(name: &str, runs: &[Run]) -> anyhow::Result<Self> {
        let metric = Self::parse(name)?;
        if runs.iter().any(|run| metric.value(run).is_some()) {
            return Ok(metric);
        }
        let names: Vec<String> = Self::all(runs).iter().map(Self::to_string).collect();
        bail!("no run here has {name:?}; they have {}", names.join(", "))
    }

    /// Every metric that at least one of `runs` has: of the whole run, then by kind of request, then by service.
    pub fn all(runs: &[Run]) -> Vec<Self> {
        let kinds = distinct(runs.iter().flat_map(|run| &run.requests).map(|requests| &requests.kind));
        let services = distinct(runs.iter().flat_map(|run| &run.services).map(|cost| &cost.service));
        let of_run = OF_RUN.iter().map(Subject::Run);
        let of_kinds =
            kinds.iter().flat_map(|kind| OF_KIND.iter().map(|figure| Subject::Kind(kind.to_string(), figure)));
        let of_services = services
            .iter()
            .map(|service| service.as_str())
            .chain([TOTAL])
            .flat_map(|service| OF_SERVICE.iter().map(|figure| Subject::Service(service.to_owned(), figure)));
        of_run
            .chain(of_kinds)
            .chain(of_services)
            .map(|subject| Self { subject })
            .filter(|metric| runs.iter().any(|run| metric.value(run).is_some()))
            .collect()
    }

    /// The figure of `run`, in [`Metric::unit`]; none where the run does not know it.
    pub fn value(&self, run: &Run) -> Option<f64> {
        match &self.subject {
            Subject::Run(figure) => (figure.read)(run),
            Subject::Kind(kind, figure) => {
                let requests = run.requests.iter().find(|requests| requests.kind == *kind)?;
                (figure.read)(requests, run)
            }
            Subject::Service(service, figure) => (figure.read)(&cost_of(run, service)?, run),
        }
    }

    /// The kind of request that the figure is of, if it is of one.
    pub fn kind(&self) -> Option<&str> {
        match &self.subject {
            Subject::Kind(kind, _) => Some(kind),
            Subject::Run(_) | Subject::Service(..) => None,
        }
    }

    /// How finely the figure of `run` is known: true values that differ by less may have been written as the same, and
    /// others as if they differed by so much.
    pub fn resolution(&self, run: &Run) -> f64 {
        let one_of = |whole: f64, unit: f64| ratio(unit, whole).unwrap_or(0.0);
        let requests = run.request_count() as f64;
        match (&self.subject, self.unit()) {
            (_, Unit::Count) => 1.0,
            (_, Unit::Bytes) => PAGE,
            (_, Unit::Seconds) => TICK,
            (_, Unit::PerSecond) => one_of(run.seconds, 1.0),
            (Subject::Service(..), Unit::Milliseconds) => one_of(requests, 1e6 * TICK),
            (Subject::Service(service, _), Unit::Percent) => {
                let periods = cost_of(run, service).and_then(|cost| cost.periods);
                one_of(periods.unwrap_or(0) as f64, 100.0)
            }
            (_, Unit::Percent) => one_of(requests, 100.0),
            (Subject::Kind(_, figure), Unit::Milliseconds) if figure.name.ends_with("mean") => 0.0,
            (_, Unit::Milliseconds) => match run.driver {
                // Gatling keeps whole milliseconds; the driver three digits of a number of microseconds.
                Driver::Gatling => 1.0,
                Driver::Bench => (self.value(run).unwrap_or(0.0) * 1e-3).max(1e-3),
            },
            (_, Unit::Microseconds) => 0.0,
        }
    }

    /// What the figure counts.
    pub fn unit(&self) -> Unit {
        match &self.subject {
            Subject::Run(figure) => figure.unit,
            Subject::Kind(_, figure) => figure.unit,
            Subject::Service(_, figure) => figure.unit,
        }
    }

    /// Which way the figure should move.
    pub fn better(&self) -> Better {
        match &self.subject {
            Subject::Run(figure) => figure.better,
            Subject::Kind(_, figure) => figure.better,
            Subject::Service(_, figure) => figure.better,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Run(figure) => out.write_str(figure.name),
            Subject::Kind(kind, figure) => write!(out, "{kind}.{}", figure.name),
            Subject::Service(service, figure) => write!(out, "{service}.{}", figure.name),
        }
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Unit {
    /// The sign that follows a number of this unit: `ms`, `%`, or none for a count.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Microseconds => "µs",
            Self::Count => "",
            Self::PerSecond => "/s",
            Self::Bytes => "B",
            Self::Percent => "%",
        }
    }

    /// `value` as a person reads it: `4.83 ms`, `46,576`, `1.24 GB`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Count => grouped(value),
            Self::Bytes => show_bytes(value),
            Self::PerSecond => format!("{}/s", measured(value)),
            _ => format!("{} {}", measured(value), self.sign()),
        }
    }
}

/// A number as [`measured`], without zeros at the end of its fraction: for counts and for marks on an axis.
pub fn grouped(value: f64) -> String {
    let text = measured(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A measured value with three significant digits, whole from a hundred on, thousands grouped by commas.
pub fn measured(value: f64) -> String {
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.000_5 => 3,
        _ => 6,
    };
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    format!("{sign}{}{fraction}", with_commas(whole))
}

fn with_commas(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn show_bytes(bytes: f64) -> String {
    let (scale, sign) = match bytes.abs() {
        size if size >= 1e9 => (1e9, "GB"),
        size if size >= 1e6 => (1e6, "MB"),
        size if size >= 1e3 => (1e3, "kB"),
        _ => (1.0, "B"),
    };
    format!("{} {sign}", grouped(bytes / scale))
}

/// The word that stands for all services together.
const TOTAL: &str = "total";

#[derive(Clone, Debug)]
enum Subject {
    Run(&'static Figure<OfRun>),
    Kind(String, &'static Figure<OfKind>),
    Service(String, &'static Figure<OfService>),
}

impl Subject {
    fn parse(name: &str) -> Option<Self> {
        if let Some(figure) = OF_RUN.iter().find(|figure| figure.name == name) {
            return Some(Self::Run(figure));
        }
        let short = name.replacen(".response.", ".", 1);
        let of_kind = || split(&short, OF_KIND).map(|(kind, figure)| Self::Kind(kind, figure));
        let of_service = || split(name, OF_SERVICE).map(|(service, figure)| Self::Service(service, figure));
        of_kind().or_else(of_service)
    }
}

/// Splits `create.service.p99` into the longest figure name at its end and what stands before that.
fn split<F>(name: &str, figures: &'static [Figure<F>]) -> Option<(String, &'static Figure<F>)> {
    figures
        .iter()
        .filter_map(|figure| Some((name.strip_suffix(figure.name)?.strip_suffix('.')?, figure)))
        .filter(|(subject, _)| !subject.is_empty())
        .max_by_key(|(_, figure)| figure.name.len())
        .map(|(subject, figure)| (subject.to_owned(), figure))
}

/// One named figure and how it is read.
#[derive(Debug)]
struct Figure<F> {
    name: &'static str,
    unit: Unit,
    better: Better,
    read: F,
}

type OfRun = fn(&Run) -> Option<f64>;
type OfKind = fn(&Requests, &Run) -> Option<f64>;
type OfService = fn(&Cost, &Run) -> Option<f64>;

const fn figure<F: Copy>(name: &'static str, unit: Unit, better: Better, read: F) -> Figure<F> {
    Figure { name, unit, better, read }
}

static OF_RUN: &[Figure<OfRun>] = &[
    figure("people.stored", Unit::Count, Better::Higher, |run| Some(run.people()?.stored as f64)),
    figure("people.ceiling", Unit::Count, Better::Neither, |run| Some(run.people()?.ceiling as f64)),
    figure("people.lost", Unit::Count, Better::Lower, |run| Some(run.people()?.lost() as f64)),
    figure("people.extra", Unit::Count, Better::Lower, |run| Some(run.people()?.extra() as f64)),
    figure("requests", Unit::Count, Better::Neither, |run| Some(run.request_count() as f64)),
    figure("failed", Unit::Count, Better::Lower, |run| Some(run.failed() as f64)),
    figure("failed_percent", Unit::Percent, Better::Lower, |run| {
        ratio(100.0 * run.failed() as f64, run.request_count() as f64)
    }),
    figure("rate", Unit::PerSecond, Better::Higher, |run| ratio(run.request_count() as f64, run.seconds)),
    figure("wal_syncs", Unit::Count, Better::Lower, |run| Some(run.durability.as_ref()?.wal_syncs? as f64)),
    figure("generator.send_lag_p99", Unit::Milliseconds, Better::Lower, |run| {
        Some(run.generator.as_ref()?.send_lag_p99)
    }),
    figure("generator.cpu_us_per_request", Unit::Microseconds, Better::Lower, |run| {
        let generator = run.generator.as_ref()?;
        ratio(1e6 * generator.cpu_seconds, generator.sent as f64)
    }),
];

static OF_KIND: &[Figure<OfKind>] = &[
    figure("count", Unit::Count, Better::Neither, |kind, _| Some(kind.count as f64)),
    figure("failed", Unit::Count, Better::Lower, |kind, _| Some(kind.failed() as f64)),
    figure("rate", Unit::PerSecond, Better::Higher, |kind, run| ratio(kind.count as f64, run.seconds)),
    figure("mean", Unit::Milliseconds, Better::Lower, |kind, _| kind.response_time(|times| times.mean)),
    figure("p50", Unit::Milliseconds, Better::Lower, |kind, _| kind.response_time(|times| times.p50)),
    figure("p75", Unit::Milliseconds, Better::Lower, |kind, _| kind.response_time(|times| times.p75)),
    figure("p95", Unit::Milliseconds, Better::Lower, |kind, _| kind.response_time(|times| times.p95)),
    figure("p99", Unit::Milliseconds, Better::Lower, |kind, _| kind.response_time(|times| times.p99)),
    figure("max", Unit::Milliseconds, Better::Lower, |kind, _| kind.response_time(|times| times.max)),
    figure("service.mean", Unit::Milliseconds, Better::Lower, |kind, _| Some(kind.service?.mean)),
    figure("service.p50", Unit::Milliseconds, Better::Lower, |kind, _| Some(kind.service?.p50)),
    figure("service.p75", Unit::Milliseconds, Better::Lower, |kind, _| Some(kind.service?.p75)),
    figure("service.p95", Unit::Milliseconds, Better::Lower, |kind, _| Some(kind.service?.p95)),
    figure("service.p99", Unit::Milliseconds, Better::Lower, |kind, _| Some(kind.service?.p99)),
    figure("service.max", Unit::Milliseconds, Better::Lower, |kind, _| Some(kind.service?.max)),
];

static OF_SERVICE: &[Figure<OfService>] = &[
    figure("cpu_ms_per_thousand", Unit::Milliseconds, Better::Lower, cpu_ms_per_thousand),
    figure("cpu_seconds", Unit::Seconds, Better::Lower, |cost, _| Some(cost.cpu_seconds)),
    figure("throttled_percent", Unit::Percent, Better::Lower, |cost, _| throttled_percent(cost)),
    figure("throttled_seconds", Unit::Seconds, Better::Lower, |cost, _| cost.throttled_seconds),
    figure("memory_peak_bytes", Unit::Bytes, Better::Lower, |cost, _| Some(cost.memory_peak_bytes? as f64)),
    figure("disk_write_bytes", Unit::Bytes, Better::Lower, |cost, _| Some(cost.disk_write_bytes? as f64)),
];

/// CPU time in milliseconds for every thousand requests of the run; none where it had none.
pub fn cpu_ms_per_thousand(cost: &Cost, run: &Run) -> Option<f64> {
    ratio(1e6 * cost.cpu_seconds, run.request_count() as f64)
}

/// Percentage of the periods in which a quota was used up.
pub fn throttled_percent(cost: &Cost) -> Option<f64> {
    ratio(100.0 * cost.throttled_periods? as f64, cost.periods? as f64)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn cost_of(run: &Run, service: &str) -> Option<Cost> {
    if service == TOTAL {
        return total_cost(&run.services);
    }
    run.services.iter().find(|cost| cost.service == service).cloned()
}

/// The sum over all services; a part that one of them lacks is absent.
pub(crate) fn total_cost(services: &[Cost]) -> Option<Cost> {
    let (first, rest) = services.split_first()?;
    let start = Cost { service: TOTAL.to_owned(), ..first.clone() };
    Some(rest.iter().fold(start, |sum, cost| Cost {
        service: sum.service,
        cpu_seconds: sum.cpu_seconds + cost.cpu_seconds,
        periods: add(sum.periods, cost.periods),
        throttled_periods: add(sum.throttled_periods, cost.throttled_periods),
        throttled_seconds: add(sum.throttled_seconds, cost.throttled_seconds),
        memory_peak_bytes: add(sum.memory_peak_bytes, cost.memory_peak_bytes),
        memory_peak_sampled: sum.memory_peak_sampled || cost.memory_peak_sampled,
        disk_write_bytes: add(sum.disk_write_bytes, cost.disk_write_bytes),
        restarts: sum.restarts + cost.restarts,
        ended: sum.ended || cost.ended,
        memory_kills: sum.memory_kills + cost.memory_kills,
    }))
}

fn add<N: std::ops::Add<Output = N>>(a: Option<N>, b: Option<N>) -> Option<N> {
    Some(a? + b?)
}

/// The names a metric can have, with the kinds and services of the event standing for any.
fn known() -> String {
    let of_run = OF_RUN.iter().map(|figure| figure.name).collect::<Vec<_>>().join(", ");
    let of_kind = OF_KIND.iter().map(|figure| figure.name).collect::<Vec<_>>().join("|");
    let of_service = OF_SERVICE.iter().map(|figure| figure.name).collect::<Vec<_>>().join("|");
    format!(
        "{of_run}, KIND.({of_kind}) with a KIND such as create, fetch, search or invalid-search, \
         SERVICE.({of_service}) with a SERVICE such as nginx, api1, api2, db or total"
    )
}

/// Each of the names once, in the order in which they first come.
pub(crate) fn distinct<Name: PartialEq>(names: impl Iterator<Item = Name>) -> Vec<Name> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["failed", "people.lost", "create.p99", "a.dotted.kind.service.p50", "total.cpu_ms_per_thousand"] {
            assert_eq!(Metric::parse(name).unwrap().to_string(), name);
        }
        assert_eq!(Metric::parse("fetch.response.p50").unwrap(), Metric::parse("fetch.p50").unwrap());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        for name in ["", "p99", ".p99", "create", "create.p98", "db.cpu"] {
            let refusal = Metric::parse(name).unwrap_err().to_string();
            assert!(refusal.contains("people.lost") && refusal.contains("cpu_ms_per_thousand"), "{refusal}");
        }
    }

    #[test]
    fn numbers_read_well() {
        let shown = [0.0, 0.000_04, 0.0123, 4.8349, 12.0, 99.97, 46_576.0, -1_234_567.0].map(grouped);
        assert_eq!(shown, ["0", "0.00004", "0.012", "4.83", "12", "100", "46,576", "-1,234,567"]);
        assert_eq!([0.0, 0.4, 4.8, 12.0, 612.0].map(measured), ["0", "0.400", "4.80", "12.0", "612"]);
        assert_eq!(Unit::Bytes.show(1_240_000_000.0), "1.24 GB");
        assert_eq!(Unit::Percent.show(12.34), "12.3 %");
    }
}
