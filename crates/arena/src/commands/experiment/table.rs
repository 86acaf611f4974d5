//! One table of an experiment: as text, as JSON, and as a picture.

use maud::html;
use serde::Serialize;

use crate::terminal::{align_right, plain_table};

/// What an experiment came to.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    /// Version of this format.
    pub schema: u32,
    /// The experiment.
    pub name: &'static str,
    /// What was asked.
    pub title: String,
    /// What every row has in common.
    pub setting: String,
    /// Heads of the figures.
    pub columns: Vec<Column>,
    /// One run each.
    pub rows: Vec<Row>,
    /// What can be learnt from it.
    pub lesson: String,
    /// What must not have happened; empty after a good run.
    pub complaints: Vec<String>,
}

/// Head of a column.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Column {
    pub title: &'static str,
    pub unit: &'static str,
}

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub label: String,
    /// Which side of the question it is on, 0 or 1.
    pub side: usize,
    /// As many as there are columns; absent where a figure makes no sense.
    pub figures: Vec<Option<f64>>,
}

const LABEL_WIDTH: f64 = 250.0;
const COLUMN_WIDTH: f64 = 128.0;
const ROW_HEIGHT: f64 = 30.0;
const TOP: f64 = 96.0;

impl Table {
    /// Whether nothing happened that must not.
    pub fn is_clean(&self) -> bool {
        self.complaints.is_empty()
    }

    /// For people.
    pub fn text(&self) -> String {
        let heads = self.columns.iter().map(|column| format!("{}\n{}", column.title, column.unit));
        let heads: Vec<String> = std::iter::once(String::new()).chain(heads).collect();
        let mut text = plain_table(&heads.iter().map(String::as_str).collect::<Vec<_>>());
        align_right(&mut text, 1..heads.len());
        for row in &self.rows {
            let figures = row.figures.iter().map(|figure| figure.map_or("–".into(), write));
            text.add_row(std::iter::once(row.label.clone()).chain(figures));
        }
        let complaints = self.complaints.iter().map(|complaint| format!("\nNOT AS IT SHOULD BE: {complaint}"));
        format!("{}\n{}\n\n{text}\n\n{}{}\n", self.title, self.setting, self.lesson, complaints.collect::<String>())
    }

    /// The same table with a bar in each cell, as SVG.
    pub fn picture(&self) -> String {
        let width = LABEL_WIDTH + COLUMN_WIDTH * self.columns.len() as f64 + 24.0;
        let height = TOP + ROW_HEIGHT * self.rows.len() as f64 + 48.0;
        let highest: Vec<f64> = (0..self.columns.len())
            .map(|column| self.rows.iter().filter_map(|row| row.figures[column]).fold(0.0, f64::max))
            .collect();
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="img" aria-label=(self.title)
                font-family="system-ui, sans-serif" font-size="13" {
                rect width="100%" height="100%" fill="#fbfaf7" {}
                text x="16" y="30" font-size="18" font-weight="600" fill="#1c1e21" { (self.title) }
                text x="16" y="50" fill="#5c6268" { (self.setting) }
                @for (index, column) in self.columns.iter().enumerate() {
                    @let x = LABEL_WIDTH + COLUMN_WIDTH * index as f64;
                    text x=(x) y=(TOP - 14.0) fill="#5c6268" { (column.title) @if !column.unit.is_empty() { ", " (column.unit) } }
                }
                @for (place, row) in self.rows.iter().enumerate() {
                    @let y = TOP + ROW_HEIGHT * place as f64;
                    line x1="16" x2=(width - 16.0) y1=(y - 5.0) y2=(y - 5.0) stroke="#e2dfd8" {}
                    text x="16" y=(y + 14.0) fill="#1c1e21" { (row.label) }
                    @for (index, figure) in row.figures.iter().enumerate() {
                        @let x = LABEL_WIDTH + COLUMN_WIDTH * index as f64;
                        @if let Some(figure) = figure {
                            rect x=(x) y=(y + 1.0) height="18" width=(bar(*figure, highest[index])) rx="2"
                                fill=(if row.side == 0 { "#a9c7f0" } else { "#f3c79c" }) {}
                            text x=(x + 4.0) y=(y + 15.0) fill="#1c1e21" { (write(*figure)) }
                        } @else {
                            text x=(x + 4.0) y=(y + 15.0) fill="#5c6268" { "–" }
                        }
                    }
                }
                text x="16" y=(height - 18.0) fill="#5c6268" { (self.lesson) }
            }
        }
        .into_string()
    }
}

/// At least a hair, so that a small figure is seen to be one.
fn bar(figure: f64, highest: f64) -> String {
    let share = if highest > 0.0 { figure / highest } else { 0.0 };
    format!("{:.1}", (share * (COLUMN_WIDTH - 14.0)).max(1.0))
}

/// Three significant digits, and whole numbers in full.
fn write(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 || figure.fract() == 0.0 => grouped(figure),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |title| Column { title, unit: "ms" };
        let row = |label: &str, side, figure| Row { label: label.into(), side, figures: vec![figure, Some(12_345.0)] };
        Table {
            schema: 1,
            name: "test",
            title: "A <question>".into(),
            setting: "half a CPU".into(),
            columns: vec![column("first"), column("second")],
            rows: vec![row("this", 0, Some(0.5)), row("that", 1, None)],
            lesson: "None.".into(),
            complaints: vec![],
        }
    }

    #[test]
    fn says_all_in_text_and_picture() {
        let (text, picture) = (table().text(), table().picture());
        for part in ["this", "that", "0.50", "12,345", "–", "None."] {
            assert!(text.contains(part), "{part}\n{text}");
            assert!(picture.contains(part), "{part}\n{picture}");
        }
        assert!(picture.contains("A &lt;question&gt;") && !picture.contains("NaN"));
    }

    #[test]
    fn a_complaint_is_seen() {
        let mut table = table();
        table.complaints.push("a row was lost".into());
        assert!(!table.is_clean() && table.text().contains("a row was lost"));
    }
}
