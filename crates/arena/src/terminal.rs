//! Text for people on standard output.

use std::io::{ErrorKind, Write, stdout};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};

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

/// An empty Markdown table with these headings.
pub fn markdown_table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(headings);
    table
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
