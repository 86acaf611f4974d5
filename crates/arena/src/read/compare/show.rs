//! A comparison for people.

use std::ops::Range;

use super::{Comparison, Difference, Judgement, Method};
use crate::terminal::{self, align_right, one_line};

/// For a terminal.
pub(super) fn text(comparison: &Comparison, shown: &[&Difference]) -> String {
    let mut table = terminal::plain_table(&HEADINGS);
    align_right(&mut table, NUMBERS);
    table.add_rows(rows(shown, word));
    let parts = [
        lines("warning: ", &comparison.notes.warnings),
        format!("base  {}\nnew   {}\n", comparison.base.join(", "), comparison.new.join(", ")),
        lines("differs in ", &comparison.notes.differs),
        format!("{}\n", table.trim_fmt()),
        format!("{}\n", noise(comparison)),
        thresholds(comparison, ""),
    ];
    join(&parts)
}

/// For a pull request.
pub(super) fn markdown(comparison: &Comparison, shown: &[&Difference]) -> String {
    let rows = rows(shown, |difference| match difference.judgement {
        Judgement::Better | Judgement::Worse => format!("**{}**", word(difference)),
        _ => word(difference),
    });
    let table = terminal::markdown(&HEADINGS, rows, NUMBERS);
    let parts = [
        lines("> **Warning:** ", &comparison.notes.warnings),
        format!("Base: {}. New: {}.\n", code(&comparison.base), code(&comparison.new)),
        lines("- differs in ", &comparison.notes.differs),
        format!("{table}\n"),
        format!("{}\n", noise(comparison)),
        thresholds(comparison, "- "),
    ];
    join(&parts)
}

const HEADINGS: [&str; 6] = ["figure", "base", "new", "change", "95 % interval", ""];

/// Those columns that hold numbers.
const NUMBERS: Range<usize> = 1..5;

fn rows(shown: &[&Difference], judgement: impl Fn(&Difference) -> String) -> Vec<[String; HEADINGS.len()]> {
    let row = |difference: &&Difference| {
        let unit = difference.of_unit;
        [
            one_line(&difference.metric),
            unit.show(difference.base),
            unit.show(difference.new),
            change(difference),
            interval(difference),
            judgement(difference),
        ]
    };
    shown.iter().map(row).collect()
}

/// The change as a percentage where there is one, else in the figure's unit.
fn change(difference: &Difference) -> String {
    match difference.percent {
        Some(percent) => signed(percent, |size| format!("{size:.1} %")),
        None => signed(difference.change, |size| difference.of_unit.show(size)),
    }
}

fn interval(difference: &Difference) -> String {
    let Some(interval) = difference.interval else { return "unknown".to_owned() };
    let show = |end: f64| match difference.percent {
        Some(_) => signed(100.0 * end / difference.base, |size| format!("{size:.1} %")),
        None => signed(end, |size| difference.of_unit.show(size)),
    };
    format!("{} to {}", show(interval.low), show(interval.high))
}

fn word(difference: &Difference) -> String {
    match difference.judgement {
        Judgement::Better => "better",
        Judgement::Worse => "worse",
        Judgement::Different => "different",
        Judgement::WithinNoise => "within noise",
        Judgement::Same => "same",
        Judgement::NoiseUnknown => "noise unknown",
    }
    .to_owned()
}

fn noise(comparison: &Comparison) -> String {
    let (base, new) = (comparison.base.len(), comparison.new.len());
    match comparison.method {
        Some(Method::Paired) => format!(
            "{base} pairs of runs, in the order they ran. Intervals: Student's t on the paired differences (Jain 1991, 13.4.1), \
             and the resolution of each figure; one in twenty excludes 0 by chance."
        ),
        Some(Method::Unpaired) => format!(
            "{base} runs against {new}, unpaired. Intervals: Welch's t on the difference of the means (Jain 1991, 13.4.2), \
             and the resolution of each figure; one in twenty excludes 0 by chance."
        ),
        None => "A side has only one run: no noise is known, and no change above is shown to be real. Compare sets of \
                 runs, taken in turns, to know."
            .to_owned(),
    }
}

fn thresholds(comparison: &Comparison, bullet: &str) -> String {
    let line = |checked: &super::Checked| {
        let found = checked.change.map_or("from nothing".to_owned(), |change| format!("{change:+.2}"));
        format!("{bullet}{} {} (found {found})\n", if checked.missed { "MISSED" } else { "kept" }, checked.threshold)
    };
    comparison.thresholds.iter().map(line).collect()
}

fn signed(value: f64, show: impl Fn(f64) -> String) -> String {
    let size = show(value.abs());
    let zero = size.chars().all(|c| !('1'..='9').contains(&c));
    match value {
        _ if zero => size,
        value if value < 0.0 => format!("-{size}"),
        _ => format!("+{size}"),
    }
}

fn code(ids: &[String]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

fn lines(prefix: &str, notes: &[String]) -> String {
    notes.iter().map(|note| format!("{prefix}{}\n", one_line(note))).collect()
}

fn join(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
}
