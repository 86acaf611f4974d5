//! What services cost in a run: the figures of the one table that terminal and page both show, each with columns of its own.

use crate::record::metric::{Unit, cpu_ms_per_thousand, grouped, throttled_percent, total_cost};
use crate::record::run::{Cost, Limit, Run};

/// A row of the table: what one service used, or all of them together. A figure that is not known is absent.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured, under the service's name.
    pub cost: Cost,
    /// CPUs that it may use; absent where it, or one of all, has no limit.
    pub cpu_limit: Option<f64>,
    /// Bytes of memory that it may use.
    pub memory_limit: Option<u64>,
    /// CPU time in milliseconds for every thousand requests of the run.
    pub cpu_ms_per_thousand: Option<f64>,
    /// CPU time as a percentage of what the limit allows in the time of the run.
    pub percent_of_limit: Option<f64>,
    /// Percentage of the periods in which it had to wait.
    pub throttled_percent: Option<f64>,
}

impl Row {
    fn new(run: &Run, cost: Cost, cpu_limit: Option<f64>, memory_limit: Option<u64>) -> Self {
        Self {
            cpu_limit,
            memory_limit,
            cpu_ms_per_thousand: cpu_ms_per_thousand(&cost, run),
            percent_of_limit: cpu_limit.map(|cpus| 100.0 * cost.cpu_seconds / (cpus * run.seconds).max(1e-9)),
            throttled_percent: throttled_percent(&cost),
            cost,
        }
    }
}

/// A row for each service.
pub fn of_services(run: &Run) -> Vec<Row> {
    let limit = |cost: &Cost| run.budget.iter().find(|limit| limit.service == cost.service);
    let row = |cost: &Cost| {
        let limit = limit(cost);
        Row::new(run, cost.clone(), limit.and_then(cpus), limit.and_then(|limit| limit.memory_bytes))
    };
    run.services.iter().map(row).collect()
}

/// The row of all services together; none where nothing was observed. Their peaks need not have come at the same time: the
/// sum is the most that it can have been.
pub fn of_all(run: &Run) -> Option<Row> {
    let memory_limit = run.budget.iter().map(|limit| limit.memory_bytes).sum();
    Some(Row::new(run, total_cost(&run.services)?, run.budget.iter().map(cpus).sum(), memory_limit))
}

fn cpus(limit: &Limit) -> Option<f64> {
    limit.cpus
}

/// Cells of a row in the terminal.
pub const COLUMNS: usize = 8;

/// What stands above the rows there.
pub const HEADINGS: [&str; COLUMNS] =
    ["service", "CPU s", "CPU ms/1,000", "of limit", "throttled", "waited s", "peak memory", "written"];

/// The rows as text for the terminal, that of all services last, where there are several.
pub fn text(run: &Run) -> Vec<[String; COLUMNS]> {
    let all = of_all(run).filter(|_| run.services.len() > 1);
    of_services(run).iter().chain(&all).map(cells).collect()
}

/// What else is to be known of the services' figures, one sentence each.
pub fn notes(run: &Run) -> Vec<String> {
    let anew = run.services.iter().filter(|cost| cost.restarts > 0).map(|cost| {
        let times = match cost.restarts {
            1 => "once".to_owned(),
            2 => "twice".to_owned(),
            times => format!("{} times", grouped(times as f64)),
        };
        format!("{} began anew {times} during the load; its figures are those of all its beginnings.", cost.service)
    });
    let killed = run.services.iter().filter(|cost| cost.memory_kills > 0).map(|cost| {
        let peak =
            cost.memory_peak_bytes.map_or_else(|| "an unknown peak".to_owned(), |peak| Unit::Bytes.show(peak as f64));
        let count = grouped(cost.memory_kills as f64);
        format!("{} had processes killed because its memory did not suffice: {count}, at {peak}.", cost.service)
    });
    let ended = run.services.iter().filter(|cost| cost.ended);
    anew.chain(killed).chain(ended.map(|cost| format!("{} had ended before the load did.", cost.service))).collect()
}

/// What stands behind a peak of memory that is not the kernel's own.
pub const SAMPLED: &str = " sampled";

fn cells(row: &Row) -> [String; COLUMNS] {
    let unknown = || "-".to_owned();
    let bytes = |bytes: Option<u64>| bytes.map_or_else(unknown, |bytes| Unit::Bytes.show(bytes as f64));
    let cost = &row.cost;
    let periods = cost.throttled_periods.zip(cost.periods);
    [
        cost.service.clone(),
        format!("{:.2}", cost.cpu_seconds),
        row.cpu_ms_per_thousand.map_or_else(unknown, |milliseconds| grouped(milliseconds.round())),
        row.percent_of_limit.map_or_else(unknown, |share| format!("{share:.0} %")),
        periods.map_or_else(unknown, |(throttled, all)| format!("{throttled}/{all}")),
        cost.throttled_seconds.map_or_else(unknown, |waited| format!("{waited:.2}")),
        format!("{}{}", bytes(cost.memory_peak_bytes), if cost.memory_peak_sampled { SAMPLED } else { "" }),
        bytes(cost.disk_write_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_that_was_only_sampled_says_so() {
        let peak = |memory_peak_sampled| {
            let cost = Cost { memory_peak_bytes: Some(173_000_000), memory_peak_sampled, ..Cost::default() };
            let row = Row {
                cost,
                cpu_limit: None,
                memory_limit: None,
                cpu_ms_per_thousand: None,
                percent_of_limit: None,
                throttled_percent: None,
            };
            cells(&row)[6].clone()
        };
        assert_eq!([peak(false), peak(true)], ["173 MB", "173 MB sampled"]);
    }
}
