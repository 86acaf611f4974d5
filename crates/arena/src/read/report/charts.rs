//! Which charts a page has: for one run, lines are kinds of requests or services; for several, lines are the runs and
//! each kind or service has a chart of its own.

use super::chart::{Across, Chart, Limit, Line, Marks, with_suffix};
use super::distribution;
use super::look::Look;
use super::scale::{self, Scale};
use crate::record::metric::distinct;
use crate::record::run::{Percentiles, RequestSeries, Requests, Run, ServiceSeries};

/// Points that a chart over time has at most; longer runs are drawn in steps of several seconds.
const MOST_POINTS: usize = 600;

/// How much higher than a limit the axis goes, so that the limit is seen as a line of its own.
const HEADROOM: f64 = 1.05;

/// The runs of a page under the names they have there.
pub(super) struct Runs<'a> {
    pub(super) all: &'a [Run],
    pub(super) names: Vec<String>,
    looks: Vec<Look>,
}

impl<'a> Runs<'a> {
    /// The runs of a page, in order.
    pub(super) fn new(all: &'a [Run]) -> Self {
        Self { all, names: names(all), looks: Look::of_runs(all) }
    }

    pub(super) fn single(&self) -> Option<&Run> {
        match self.all {
            [run] => Some(run),
            _ => None,
        }
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (Look, &str, &Run)> {
        let named = self.names.iter().zip(self.all).zip(&self.looks);
        named.map(|((name, run), look)| (*look, name.as_str(), run))
    }

    /// The kinds of any run, each with its look.
    pub(super) fn kinds_with_looks(&self) -> impl Iterator<Item = (Look, &str)> {
        let kinds = self.kinds();
        kinds.clone().into_iter().map(move |kind| (Look::of_kind(kind, &kinds), kind))
    }

    /// The services of any run, each with its look.
    fn services_with_looks(&self) -> impl Iterator<Item = (Look, &str)> {
        let services = self.services();
        services.clone().into_iter().map(move |service| (Look::of_service(service, &services), service))
    }

    /// Kinds of requests of any run, in the order in which they come.
    pub(super) fn kinds(&self) -> Vec<&str> {
        distinct(self.all.iter().flat_map(|run| run.requests.iter().map(|requests| requests.kind.as_str())))
    }

    /// Services of any run, in the order in which they come.
    pub(super) fn services(&self) -> Vec<&str> {
        distinct(self.all.iter().flat_map(|run| {
            let costs = run.services.iter().map(|cost| cost.service.as_str());
            costs.chain(run.series.services.keys().map(String::as_str))
        }))
    }
}

/// Throughput, failures and work under way, second by second.
pub(super) fn load(runs: &Runs) -> Vec<Chart> {
    let time = Time::of(runs.all);
    let mut charts = vec![rate(
        runs,
        &time,
        "Requests a second",
        "Answered or failed in each whole second",
        whole_seconds,
        |series| &series.completed,
    )];
    if runs.all.iter().any(|run| run.failed() > 0) {
        let about = "Of those above, and of a last second that is not whole";
        charts.push(rate(runs, &time, "Failed requests a second", about, |_| usize::MAX, |series| &series.failed));
    }
    charts.push(in_flight(runs, &time));
    charts.retain(Chart::says_anything);
    charts
}

/// Median and tail of the response time, second by second.
pub(super) fn response_times(runs: &Runs) -> Vec<Chart> {
    let time = Time::of(runs.all);
    let median: Statistic =
        ("Median response time", "Half of each second's requests took longer", |series| &series.p50);
    let tail: Statistic =
        ("99th percentile of the response time", "One in a hundred of each second's requests took longer", |series| {
            &series.p99
        });
    let mut charts: Vec<Chart> = if runs.single().is_some() {
        [median, tail].into_iter().map(|statistic| times_by_kind(runs, &time, statistic)).collect()
    } else {
        let of_kind = |kind| [median, tail].map(|statistic| times_by_run(runs, &time, statistic, kind));
        runs.kinds().into_iter().flat_map(of_kind).collect()
    };
    charts.retain(Chart::says_anything);
    share_scale(&mut charts);
    charts
}

/// Response times by percentile.
pub(super) fn distributions(runs: &Runs) -> Vec<Chart> {
    let about = "How long that share of the requests took at most; each step to the right leaves a tenth of them";
    let mut charts: Vec<Chart> = match runs.single() {
        Some(run) => {
            let kinds = runs.kinds();
            let named = run.requests.iter().map(|kind| (Look::of_kind(&kind.kind, &kinds), kind.kind.clone(), kind));
            vec![distribution("Response time by percentile".to_owned(), about, named.collect())]
        }
        None => runs.kinds().into_iter().map(|kind| distribution_by_run(runs, kind, about)).collect(),
    };
    charts.retain(Chart::says_anything);
    share_scale(&mut charts);
    charts
}

/// CPU of each service against its limit.
pub(super) fn cpu(runs: &Runs) -> Vec<Chart> {
    let time = Time::of(runs.all);
    let mut charts: Vec<Chart> = runs.services_with_looks().map(|service| cpu_of(runs, &time, service)).collect();
    charts.retain(Chart::says_anything);
    charts
}

/// Memory of each service.
pub(super) fn memory(runs: &Runs) -> Vec<Chart> {
    let time = Time::of(runs.all);
    // Nothing that runs holds nothing: the service was no longer observed.
    let megabytes = |series: &ServiceSeries| {
        series.memory_bytes.iter().map(|bytes| (*bytes > 0).then_some(*bytes as f64 / 1e6)).collect()
    };
    let by_service = |run: &Run| {
        runs.services_with_looks()
            .filter_map(|(look, service)| {
                Some((look, service.to_owned(), megabytes(run.series.services.get(service)?)))
            })
            .collect()
    };
    let mut charts: Vec<Chart> = match runs.single() {
        Some(run) => vec![time.memory("Memory by service".to_owned(), by_service(run))],
        None => runs
            .services()
            .into_iter()
            .map(|service| {
                let lines = runs.named().filter_map(|(look, name, run)| {
                    Some((look, name.to_owned(), megabytes(run.series.services.get(service)?)))
                });
                time.memory(format!("Memory of {service}"), lines.collect())
            })
            .collect(),
    };
    charts.retain(Chart::says_anything);
    charts
}

type Statistic = (&'static str, &'static str, fn(&RequestSeries) -> &Vec<f64>);

/// Look, name and values of a line.
type Named = (Look, String, Vec<Option<f64>>);

/// The axis of seconds that all runs of a page share.
struct Time {
    axis: Across,
    /// Seconds that one point stands for.
    step: usize,
}

impl Time {
    fn of(runs: &[Run]) -> Self {
        let seconds = runs.iter().map(length).max().unwrap_or_default();
        let step = seconds.div_ceil(MOST_POINTS).max(1);
        let points = seconds.div_ceil(step);
        let last = points.saturating_sub(1).max(1) as f64;
        let end = last * step as f64;
        let ticks = scale::seconds(end).into_iter().map(|second| (second / end, format!("{second} s"))).collect();
        let axis = Across {
            heading: "Second",
            points: (0..points).map(|point| format!("{} s", point * step)).collect(),
            positions: (0..points).map(|point| point as f64 / last).collect(),
            ticks,
        };
        Self { axis, step }
    }

    fn chart(&self, title: String, about: &str, unit: &'static str, y: Scale, lines: Vec<Line>) -> Chart {
        let steps = if self.step > 1 { format!("; one point for each {} seconds", self.step) } else { String::new() };
        Chart {
            title,
            description: format!("{about}{steps}."),
            x: self.axis.clone(),
            y,
            unit,
            lines,
            limits: Vec::new(),
            marks: Vec::new(),
            joined: false,
        }
    }

    fn memory(&self, title: String, named: Vec<Named>) -> Chart {
        let lines: Vec<Line> = named.into_iter().map(|named| self.line(named, Reduce::Most, "peak", "MB")).collect();
        let y = Scale::linear(values(&lines));
        self.chart(title, "Held at the end of each second", "MB", y, lines)
    }

    /// A line of one point a step; its legend tells the highest.
    fn line(&self, (look, name, seconds): Named, reduce: Reduce, word: &str, unit: &str) -> Line {
        let values: Vec<Option<f64>> = seconds.chunks(self.step).map(|chunk| reduce.apply(chunk)).collect();
        let most = values.iter().flatten().copied().reduce(f64::max);
        let note = most.map_or_else(String::new, |most| format!("{word} {}", with_suffix(most, unit)));
        Line { name, look, values, note, area: false }
    }
}

/// What one point says of several seconds.
#[derive(Clone, Copy)]
enum Reduce {
    Mean,
    Most,
}

impl Reduce {
    fn apply(self, seconds: &[Option<f64>]) -> Option<f64> {
        let known: Vec<f64> = seconds.iter().flatten().copied().collect();
        match self {
            Self::Mean => (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
            Self::Most => known.into_iter().reduce(f64::max),
        }
    }
}

impl Chart {
    fn says_anything(&self) -> bool {
        self.lines.iter().any(|line| line.values.iter().any(Option::is_some))
    }
}

fn rate(
    runs: &Runs,
    time: &Time,
    title: &str,
    about: &str,
    seconds: fn(&Run) -> usize,
    read: fn(&RequestSeries) -> &Vec<u64>,
) -> Chart {
    let numbers = |counts: &Vec<u64>| counts.iter().map(|count| Some(*count as f64)).collect::<Vec<_>>();
    let named: Vec<Named> = match runs.single() {
        Some(run) => runs
            .kinds_with_looks()
            .filter_map(|(look, kind)| Some((look, kind.to_owned(), numbers(read(run.series.requests.get(kind)?)))))
            .map(|(look, kind, counts)| (look, kind, first(seconds(run), counts)))
            .collect(),
        None => runs
            .named()
            .map(|(look, name, run)| {
                let counts = sum(run.series.requests.values().map(read));
                (look, name.to_owned(), first(seconds(run), counts))
            })
            .collect(),
    };
    let lines: Vec<Line> = named.into_iter().map(|named| time.line(named, Reduce::Mean, "peak", "/s")).collect();
    let y = Scale::linear(values(&lines));
    time.chart(title.to_owned(), about, "/s", y, lines)
}

fn in_flight(runs: &Runs, time: &Time) -> Chart {
    let named = runs.named().map(|(look, name, run)| {
        let (look, name) = if runs.single().is_some() { (Look::NEUTRAL, "in flight") } else { (look, name) };
        (look, name.to_owned(), run.series.in_flight.iter().map(|count| Some(*count as f64)).collect())
    });
    let lines: Vec<Line> = named.map(|named| time.line(named, Reduce::Most, "peak", "")).collect();
    let y = Scale::linear(values(&lines));
    time.chart("Requests in flight".to_owned(), "Sent and not yet answered at the end of each second", "", y, lines)
}

fn times_by_kind(runs: &Runs, time: &Time, statistic: Statistic) -> Chart {
    let (title, about, read) = statistic;
    let series = runs.single().map(|run| &run.series.requests);
    let named = runs
        .kinds_with_looks()
        .filter_map(|(look, kind)| Some((look, kind.to_owned(), answered(series?.get(kind)?, read))));
    times(time, title.to_owned(), about, named.collect())
}

fn times_by_run(runs: &Runs, time: &Time, (title, about, read): Statistic, kind: &str) -> Chart {
    let named = runs
        .named()
        .filter_map(|(look, name, run)| Some((look, name.to_owned(), answered(run.series.requests.get(kind)?, read))));
    times(time, format!("{title}: {kind}"), about, named.collect())
}

fn times(time: &Time, title: String, about: &str, named: Vec<Named>) -> Chart {
    let lines: Vec<Line> = named.into_iter().map(|named| time.line(named, Reduce::Most, "worst", "ms")).collect();
    let y = Scale::log(values(&lines));
    time.chart(title, &format!("{about}; logarithmic axis"), "ms", y, lines)
}

/// Times of the seconds in which anything was answered: the others have no time at all.
fn answered(series: &RequestSeries, read: fn(&RequestSeries) -> &Vec<f64>) -> Vec<Option<f64>> {
    let pairs = read(series).iter().zip(&series.completed);
    pairs.map(|(time, completed)| (*completed > 0).then_some(*time)).collect()
}

fn distribution_by_run(runs: &Runs, kind: &str, about: &str) -> Chart {
    let named = runs.named().filter_map(|(look, name, run)| {
        let requests = run.requests.iter().find(|requests| requests.kind == kind)?;
        Some((look, name.to_owned(), requests))
    });
    distribution(format!("Response time by percentile: {kind}"), about, named.collect())
}

fn distribution(title: String, about: &str, named: Vec<(Look, String, &Requests)>) -> Chart {
    let most = named.iter().map(|(_, _, requests)| requests.count).max().unwrap_or_default();
    let percentiles = distribution::percentiles(most);
    let line = |(look, name, requests): (Look, String, &Requests)| {
        let max = requests.response_time(|times: &Percentiles| times.max);
        let note = max.map_or_else(String::new, |max| format!("max {}", with_suffix(max, "ms")));
        Line { name, look, values: distribution::times(requests, &percentiles), note, area: false }
    };
    let lines: Vec<Line> = named.into_iter().map(line).collect();
    Chart {
        title,
        description: format!("{about}."),
        x: distribution::across(&percentiles),
        y: Scale::log(values(&lines)),
        unit: "ms",
        lines,
        limits: Vec::new(),
        marks: Vec::new(),
        joined: true,
    }
}

fn cpu_of(runs: &Runs, time: &Time, (own, service): (Look, &str)) -> Chart {
    let single = runs.single().is_some();
    let mut lines = Vec::new();
    let mut limits: Vec<Limit> = Vec::new();
    let mut marks = Vec::new();
    for (look, name, run) in runs.named() {
        let Some(series) = run.series.services.get(service) else { continue };
        let cpus = first(whole_seconds(run), series.cpus.iter().map(|cpus| Some(*cpus)).collect());
        let (look, line_name) = if single { (own, "CPUs used") } else { (look, name) };
        let line = time.line((look, line_name.to_owned(), cpus), Reduce::Mean, "peak", "");
        lines.push(Line { area: single, ..line });
        let limit = run.budget.iter().find(|limit| limit.service == service).and_then(|limit| limit.cpus);
        if let Some(value) = limit.filter(|value| limits.iter().all(|known| known.value != *value)) {
            limits.push(Limit {
                name: if single { "limit".to_owned() } else { format!("limit, {name}") },
                look,
                value,
            });
        }
        let values: Vec<u64> = series.throttled_periods.chunks(time.step).map(|chunk| chunk.iter().sum()).collect();
        let seconds = series.throttled_periods.iter().filter(|periods| **periods > 0).count();
        if seconds > 0 {
            let name = if single { "throttled periods".to_owned() } else { format!("throttled periods, {name}") };
            marks.push(Marks { name, look, values, note: format!("in {seconds} s") });
        }
    }
    if let [limit] = limits.as_mut_slice() {
        limit.name = "limit".to_owned();
    }
    let above_limits = limits.iter().map(|limit| limit.value * HEADROOM);
    let y = Scale::linear(values(&lines).chain(above_limits));
    let chart = time.chart(service.to_owned(), "CPUs used, mean of each second", "", y, lines);
    Chart { limits, marks, ..chart }
}

/// Charts that stand side by side and count the same compare by eye only on the same axis.
fn share_scale(charts: &mut [Chart]) {
    let all = Scale::log(charts.iter().flat_map(|chart| values(&chart.lines)).collect::<Vec<_>>().into_iter());
    for chart in charts {
        chart.y = all;
    }
}

/// How many entries of the run's series stand for whole seconds: all but the last, of which the run mostly saw only a
/// small part, so that what is counted by the second would seem to break down at the end.
fn whole_seconds(run: &Run) -> usize {
    match (length(run), run.seconds as usize) {
        (entries, whole) if whole > 0 && entries == whole + 1 => whole,
        (entries, _) => entries,
    }
}

/// The first so many values, and none behind them.
fn first(count: usize, mut values: Vec<Option<f64>>) -> Vec<Option<f64>> {
    values.iter_mut().skip(count).for_each(|value| *value = None);
    values
}

/// What lines go through.
pub(super) fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| line.values.iter().flatten().copied())
}

fn sum<'a>(series: impl Iterator<Item = &'a Vec<u64>>) -> Vec<Option<f64>> {
    let mut total: Vec<Option<f64>> = Vec::new();
    for counts in series {
        total.resize(total.len().max(counts.len()), None);
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum = Some(sum.unwrap_or_default() + *count as f64);
        }
    }
    total
}

fn length(run: &Run) -> usize {
    let requests = run.series.requests.values().map(|series| series.completed.len());
    let services = run.series.services.values().map(|series| series.cpus.len());
    requests.chain(services).chain([run.series.in_flight.len()]).max().unwrap_or_default()
}

/// A label where no other run of the page has the same, else the label with a number; the id where there is no label.
fn names(runs: &[Run]) -> Vec<String> {
    let alike = |runs: &[Run], run: &Run| runs.iter().filter(|other| other.label == run.label).count();
    let name = |(nth, run): (usize, &Run)| match &run.label {
        None => run.id.clone(),
        Some(label) if alike(runs, run) == 1 => label.clone(),
        Some(label) => format!("{label} #{}", alike(&runs[..nth], run) + 1),
    };
    runs.iter().enumerate().map(name).collect()
}
