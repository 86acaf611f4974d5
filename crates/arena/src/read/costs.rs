//! What services cost, as rows of a table for people.

use crate::record::metric::{Unit, grouped, total_cost};
use crate::record::run::{Cost, Limit, Run};

/// Cells of a row.
pub const COLUMNS: usize = 8;

/// What stands above the rows.
pub const HEADINGS: [&str; COLUMNS] =
    ["service", "CPU s", "CPU ms/1,000", "of limit", "throttled", "waited s", "peak memory", "written"];

/// A row for each service, and one for all of them where there are several.
pub fn rows(run: &Run) -> Vec<[String; COLUMNS]> {
    let limit = |cost: &Cost| run.budget.iter().find(|limit| limit.service == cost.service);
    let mut rows: Vec<_> = run.services.iter().map(|cost| row(run, cost, limit(cost).and_then(cpus))).collect();
    if let Some(total) = total_cost(&run.services).filter(|_| run.services.len() > 1) {
        // The peaks need not have come at the same time: their sum is the most that it can have been.
        rows.push(row(run, &total, run.budget.iter().map(cpus).sum()));
    }
    rows
}

fn cpus(limit: &Limit) -> Option<f64> {
    limit.cpus
}

fn row(run: &Run, cost: &Cost, limit: Option<f64>) -> [String; COLUMNS] {
    let unknown = || "-".to_owned();
    let bytes = |bytes: Option<u64>| bytes.map_or_else(unknown, |bytes| Unit::Bytes.show(bytes as f64));
    let share = limit.map(|cpus| 100.0 * cost.cpu_seconds / (cpus * run.seconds).max(1e-9));
    let throttled = match (cost.throttled_periods, cost.periods) {
        (Some(throttled), Some(periods)) => format!("{throttled}/{periods}"),
        _ => unknown(),
    };
    [
        cost.service.clone(),
        format!("{:.2}", cost.cpu_seconds),
        grouped((1e6 * cost.cpu_seconds / run.request_count().max(1) as f64).round()),
        share.map_or_else(unknown, |share| format!("{share:.0} %")),
        throttled,
        cost.throttled_seconds.map_or_else(unknown, |waited| format!("{waited:.2}")),
        bytes(cost.memory_peak_bytes),
        bytes(cost.disk_write_bytes),
    ]
}
