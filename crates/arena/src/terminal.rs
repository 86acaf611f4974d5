//! Text for people on standard output.

use std::io::{ErrorKind, Write, stdout};
use std::ops::Range;

use anyhow::Context;
use comfy_table::{CellAlignment, Row, Table, presets};

/// Columns where standard output is not a terminal and so has no width of its own.
const DEFAULT_WIDTH: u16 = 100;

/// Prints `text`. A reader that has gone away, as `head` does, is no error.
///
/// # Errors
/// Standard output cannot be written for any other reason.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Prints `value` as indented JSON and a newline.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// An empty table with these headings, columns two spaces apart and without lines.
pub fn plain_table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A Markdown table whose columns also stand in line as text; those of the indices in `right` hold numbers.
pub fn markdown<Cells: Into<Row>>(
    headings: &[&str],
    rows: impl IntoIterator<Item = Cells>,
    right: Range<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(headings).add_rows(rows);
    align_right(&mut table, right.clone());
    let text = table.trim_fmt();
    let Some((header, rest)) = text.split_once('\n') else { return text };
    let (rule, rows) = rest.split_once('\n').unwrap_or((rest, ""));
    // The table knows nothing of the colon that aligns a column where Markdown is rendered.
    let rule = rule.split('|').enumerate().map(|(nth, dashes)| match dashes.strip_suffix('-') {
        Some(dashes) if nth > 0 && right.contains(&(nth - 1)) => format!("{dashes}:"),
        _ => dashes.to_owned(),
    });
    format!("{header}\n{}\n{rows}", rule.collect::<Vec<_>>().join("|")).trim_end().to_owned()
}

/// Aligns the columns of those indices to the right, as numbers want it.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Columns that a line may have.
pub fn width() -> u16 {
    terminal_size::terminal_size().map_or(DEFAULT_WIDTH, |(width, _)| width.0)
}

/// `text` on one line and without control characters, which could command the terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_markdown_table_aligns_numbers_in_text_and_where_it_is_rendered() {
        let text = markdown(&["requests", "count", ""], [["create", "54,635", "é"], ["a longer kind", "1", ""]], 1..2);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "| requests      |  count |   |",
                "|---------------|-------:|---|",
                "| create        | 54,635 | é |",
                "| a longer kind |      1 |   |",
            ]
        );
    }
}
