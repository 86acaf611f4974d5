//! One figure over the runs, as bars in the terminal.

use serde::Serialize;

use super::list::short_commit;
use crate::record::metric::{Better, Metric};
use crate::record::run::Run;
use crate::terminal;

/// The version of the plot's shape for programs.
const SCHEMA: u32 = 1;

/// The narrowest column of bars that still tells two runs apart.
const NARROWEST: usize = 10;

/// Prints `metric` of each run in the order given.
pub(super) fn print(metric: &Metric, runs: &[Run], json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::print_json(&Plot::of(metric, runs));
    }
    if runs.is_empty() {
        return terminal::print("no runs to draw\n");
    }
    terminal::print(&draw(metric, runs, terminal::width().into()))
}

#[derive(Serialize)]
struct Plot<'run> {
    schema: u32,
    metric: String,
    unit: &'static str,
    points: Vec<Point<'run>>,
}

#[derive(Serialize)]
struct Point<'run> {
    id: &'run str,
    commit: Option<&'run str>,
    value: Option<f64>,
}

impl<'run> Plot<'run> {
    fn of(metric: &Metric, runs: &'run [Run]) -> Self {
        let point = |run: &'run Run| Point { id: &run.id, commit: run.commit.as_deref(), value: metric.value(run) };
        let points = runs.iter().map(point).collect();
        Self { schema: SCHEMA, metric: metric.to_string(), unit: metric.unit().sign(), points }
    }
}

/// Bars start at zero, so that their lengths compare as the figures do.
fn draw(metric: &Metric, runs: &[Run], width: usize) -> String {
    let most = runs.iter().filter_map(|run| metric.value(run)).fold(0.0, f64::max);
    let label = |run: &Run| terminal::one_line(run.label.as_deref().unwrap_or_default());
    let mut table = terminal::plain_table(&["id", "commit", "label", &metric.to_string(), ""]);
    terminal::align_right(&mut table, [3]);
    let text: usize = [
        widest(runs, |run| run.id.clone()),
        widest(runs, |run| short_commit(run.commit.as_deref())),
        widest(runs, label),
        widest(runs, |run| show(metric, run)).max(metric.to_string().len()),
    ]
    .iter()
    .map(|column| column + 2)
    .sum();
    let room = width.saturating_sub(text).max(NARROWEST);
    for run in runs {
        let share = metric.value(run).map_or(0.0, |value| if most > 0.0 { value / most } else { 0.0 });
        let commit = short_commit(run.commit.as_deref());
        table.add_row([run.id.clone(), commit, label(run), show(metric, run), bar(share, room)]);
    }
    let direction = match metric.better() {
        Better::Lower => "less is better, ",
        Better::Higher => "more is better, ",
        Better::Neither => "",
    };
    format!("{metric}, {direction}newest last\n\n{}\n", table.trim_fmt())
}

fn widest(runs: &[Run], text: impl Fn(&Run) -> String) -> usize {
    runs.iter().map(|run| text(run).chars().count()).max().unwrap_or_default().max(6)
}

fn show(metric: &Metric, run: &Run) -> String {
    metric.value(run).map_or_else(|| "-".to_owned(), |value| metric.unit().show(value))
}

/// A bar of `share` of `room` columns, drawn to an eighth of a column.
fn bar(share: f64, room: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * room as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0.0, 10), "");
        assert_eq!(bar(0.5, 10), "█████");
        assert_eq!(bar(0.5125, 10), "█████▏");
        assert_eq!(bar(1.0, 3), "███");
        assert_eq!(bar(7.0, 3), "███");
    }
}
