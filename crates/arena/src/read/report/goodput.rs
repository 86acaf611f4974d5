//! Charts over the load that was offered, for runs that raised it step by step: how much of it was answered with success,
//! refused or failed, and how long success took.

use super::chart::{Across, Chart, Line, with_suffix};
use super::charts::{Runs, values};
use super::look::Look;
use super::scale::Scale;
use crate::record::metric::grouped;
use crate::record::run::{Goodput, Run, Step};

/// The charts; none where no run has steps that tell.
pub(super) fn charts(runs: &Runs) -> Vec<Chart> {
    let offered = Offered::of(runs.all);
    if offered.rates.len() < 2 {
        return Vec::new();
    }
    let mut charts = vec![goodput(runs, &offered)];
    match runs.single() {
        Some(run) => charts.push(offered.times(TIMES.to_owned(), by_kind(runs, run, &offered))),
        None => charts.extend(runs.kinds().into_iter().map(|kind| {
            let named = runs.named().map(|(look, name, run)| offered.line(look, name, "most", "ms", run, p99(kind)));
            offered.times(format!("{TIMES}: {kind}"), named.collect())
        })),
    }
    charts
}

const TIMES: &str = "99th percentile of the successful requests";

/// The axis of the rates that all runs of a page offered.
struct Offered {
    /// Users per second, in order.
    rates: Vec<f64>,
    scale: Scale,
}

impl Offered {
    fn of(runs: &[Run]) -> Self {
        let told = runs.iter().flat_map(|run| &run.steps).filter(|step| step.goodput.is_some());
        let mut rates: Vec<f64> = told.map(|step| step.users_per_second).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        Self { scale: Scale::linear(rates.iter().copied()), rates }
    }

    fn across(&self) -> Across {
        let position = |rate: f64| self.scale.position(rate).unwrap_or_default();
        Across {
            heading: "Users/s",
            points: self.rates.iter().map(|rate| format!("{} users/s", grouped(*rate))).collect(),
            positions: self.rates.iter().map(|rate| position(*rate)).collect(),
            ticks: self.scale.ticks().into_iter().map(|tick| (position(tick), grouped(tick))).collect(),
        }
    }

    /// A line with one figure of each step; its legend tells the greatest.
    fn line(
        &self,
        look: Look,
        name: &str,
        word: &str,
        unit: &str,
        run: &Run,
        figure: impl Fn(&Step, &Goodput) -> Option<f64>,
    ) -> Line {
        let at = |rate: &f64| {
            let step = run.steps.iter().find(|step| step.users_per_second == *rate && step.goodput.is_some())?;
            figure(step, step.goodput.as_ref()?)
        };
        let values: Vec<Option<f64>> = self.rates.iter().map(at).collect();
        let most = values.iter().flatten().copied().reduce(f64::max);
        let note = most.map_or_else(String::new, |most| format!("{word} {}", with_suffix(most, unit)));
        Line { name: name.to_owned(), look, values, note, area: false }
    }

    fn chart(&self, title: String, about: &str, unit: &'static str, y: Scale, lines: Vec<Line>) -> Chart {
        Chart {
            title,
            description: format!("{about}."),
            x: self.across(),
            y,
            unit,
            lines,
            limits: Vec::new(),
            marks: Vec::new(),
            joined: true,
        }
    }

    fn times(&self, title: String, lines: Vec<Line>) -> Chart {
        let about = "Over the users who arrived each second; failed and refused requests left out; logarithmic axis";
        let y = Scale::log(values(&lines));
        self.chart(title, about, "ms", y, lines)
    }
}

fn goodput(runs: &Runs, offered: &Offered) -> Chart {
    let successful = |_: &Step, goodput: &Goodput| Some(goodput.per_second);
    let lines: Vec<Line> = match runs.single() {
        Some(run) => {
            let refused = |_: &Step, goodput: &Goodput| Some(goodput.refused as f64 / goodput.seconds);
            let failed = |step: &Step, goodput: &Goodput| Some(step.broken_down() as f64 / goodput.seconds);
            vec![
                offered.line(Look::nth(0), "successful", "most", "/s", run, successful),
                offered.line(Look::nth(1), "refused", "most", "/s", run, refused),
                offered.line(Look::nth(2), "failed", "most", "/s", run, failed),
            ]
        }
        None => runs.named().map(|(look, name, run)| offered.line(look, name, "most", "/s", run, successful)).collect(),
    };
    let about = match runs.single() {
        Some(_) => {
            "Requests a second, over the users who arrived each second: answered with success while they arrived, refused \
             with 503 and Retry-After, or failed otherwise"
        }
        None => "Requests answered with success each second, over the users who arrived each second",
    };
    let y = Scale::linear(values(&lines));
    offered.chart("Goodput over offered load".to_owned(), about, "/s", y, lines)
}

fn by_kind(runs: &Runs, run: &Run, offered: &Offered) -> Vec<Line> {
    let line = |(look, kind): (Look, &str)| offered.line(look, kind, "most", "ms", run, p99(kind));
    runs.kinds_with_looks().map(line).collect()
}

fn p99(kind: &str) -> impl Fn(&Step, &Goodput) -> Option<f64> {
    move |_, goodput| goodput.response.get(kind).map(|times| times.p99)
}
