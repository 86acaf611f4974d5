//! A line chart: title, description, legend, plot, and the same figures as a table.
//!
//! The drawing stretches to the width there is, while text and line widths keep their size: lines are SVG without a
//! fixed aspect, and labels are HTML over it. The script reads the values it shows from the table.

use std::fmt::Write;

use maud::{Markup, html};

use super::look::Look;
use super::scale::Scale;
use crate::record::metric::{grouped, measured};

/// Units of the drawing in each direction.
const SIZE: f64 = 1000.0;

/// A value as the page writes it: `3.07 ms`, `597/s`, `12`.
pub(super) fn with_suffix(value: f64, unit: &str) -> String {
    format!("{}{}", shown(value), suffix(unit))
}

/// Lines over one axis.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) x: Across,
    pub(super) y: Scale,
    /// The sign that follows a value.
    pub(super) unit: &'static str,
    pub(super) lines: Vec<Line>,
    pub(super) limits: Vec<Limit>,
    pub(super) marks: Vec<Marks>,
    /// Whether a line goes on over points without a value.
    pub(super) joined: bool,
}

/// The horizontal axis.
#[derive(Clone)]
pub(super) struct Across {
    /// What it counts, as heading of the table.
    pub(super) heading: &'static str,
    /// Name of each point.
    pub(super) points: Vec<String>,
    /// Where each point stands, 0 to 1.
    pub(super) positions: Vec<f64>,
    /// Where lines stand, 0 to 1, and what they say.
    pub(super) ticks: Vec<(f64, String)>,
}

/// One line, with a value for each point.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) values: Vec<Option<f64>>,
    /// What the legend says of it.
    pub(super) note: String,
    /// Whether the area below is tinted.
    pub(super) area: bool,
}

/// A level that the lines should stay below.
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) value: f64,
}

/// Points where something happened, as a row of ticks on the floor of the chart.
pub(super) struct Marks {
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) values: Vec<u64>,
    pub(super) note: String,
}

impl Chart {
    /// The whole figure; `id` is unique in the page.
    pub(super) fn render(&self, id: &str) -> Markup {
        let positions: Vec<String> = self.x.positions.iter().map(|at| format!("{:.4}", at)).collect();
        html! {
            figure.chart id=(id) data-x=(positions.join(" ")) data-unit=(suffix(self.unit)) {
                figcaption {
                    h3 id={ (id) "-title" } { (self.title) }
                    p id={ (id) "-about" } { (self.description) }
                }
                (self.legend())
                div.stage {
                    div.plot role="img" aria-labelledby={ (id) "-title" } aria-describedby={ (id) "-about" } {
                        (self.drawing())
                        (self.labels())
                        span.rule hidden {}
                    }
                }
                details {
                    summary { "Data of " (lowercase_first(&self.title)) }
                    div.scroll tabindex="0" role="region" aria-labelledby={ (id) "-title" } { (self.table()) }
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for line in &self.lines {
                    li.{ (line.look) } { (key("line")) span.name { (line.name) } " " span.value data-note=(line.note) { (line.note) } }
                }
                @for marks in &self.marks {
                    li.{ (marks.look) } { (key("mark")) span.name { (marks.name) } " " span.value data-note=(marks.note) { (marks.note) } }
                }
                @for limit in &self.limits {
                    li.{ (limit.look) } { (key("limit")) span.name { (limit.name) } " " span.level { (with_unit(limit.value, self.unit)) } }
                }
            }
        }
    }

    fn drawing(&self) -> Markup {
        html! {
            svg viewBox={ "0 0 " (SIZE) " " (SIZE) } preserveAspectRatio="none" aria-hidden="true" {
                path.grid d=(self.grid()) {}
                @for (row, marks) in self.marks.iter().enumerate() {
                    path.{ "mark " (marks.look) } d=(self.ticks_of(marks, row)) {}
                }
                @for limit in &self.limits {
                    @if let Some(at) = self.y.position(limit.value) {
                        path.{ "limit " (limit.look) } d={ "M0 " (height(at)) "H" (SIZE) } {}
                    }
                }
                @for line in &self.lines {
                    @if line.area { path.{ "area " (line.look) } d=(self.area(line)) {} }
                    path.{ "line " (line.look) } d=(self.path(line)) {}
                    path.{ "dot " (line.look) } d=(self.dots(line)) {}
                }
            }
        }
    }

    fn labels(&self) -> Markup {
        html! {
            @for tick in self.y.ticks() {
                @if let Some(at) = self.y.position(tick) {
                    span.y style={ "bottom:" (percent(at)) } { (with_unit(tick, self.unit)) }
                }
            }
            @for (nth, (at, text)) in self.x.ticks.iter().enumerate() {
                span.x.minor[nth % 2 == 1] style={ "left:" (percent(*at)) } { (text) }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            table {
                thead { tr {
                    th scope="col" { (self.x.heading) }
                    @for line in &self.lines { th scope="col" { (heading(&line.name, self.unit)) } }
                    @for marks in &self.marks { th scope="col" { (marks.name) } }
                } }
                tbody {
                    @for (nth, point) in self.x.points.iter().enumerate() {
                        tr {
                            th scope="row" { (point) }
                            @for line in &self.lines { td { (cell(line.values.get(nth).copied().flatten())) } }
                            @for marks in &self.marks { td { (marks.values.get(nth).copied().unwrap_or_default()) } }
                        }
                    }
                }
            }
        }
    }

    fn grid(&self) -> String {
        let mut path = format!("M0 {SIZE}H{SIZE}");
        for at in self.y.ticks().into_iter().filter_map(|tick| self.y.position(tick)) {
            let _ = write!(path, "M0 {}H{SIZE}", height(at));
        }
        for (at, _) in &self.x.ticks {
            let _ = write!(path, "M{} 0V{SIZE}", across(*at));
        }
        path
    }

    fn path(&self, line: &Line) -> String {
        self.stretches(line).iter().map(|stretch| join(stretch)).collect()
    }

    /// Points that stand alone, as lines of no length: their round ends make them dots.
    fn dots(&self, line: &Line) -> String {
        let alone = |stretch: &Vec<(f64, f64)>| match stretch[..] {
            [(at, up)] => format!("M{} {}h0", across(at), height(up)),
            _ => String::new(),
        };
        self.stretches(line).iter().map(alone).collect()
    }

    fn area(&self, line: &Line) -> String {
        let closed = |stretch: &Vec<(f64, f64)>| match (stretch.first(), stretch.last()) {
            (Some(first), Some(_)) => format!("{}V{SIZE}H{}Z", join(stretch), across(first.0)),
            _ => String::new(),
        };
        self.stretches(line).iter().map(closed).collect()
    }

    /// The parts of a line between points without a value.
    fn stretches(&self, line: &Line) -> Vec<Vec<(f64, f64)>> {
        let mut stretches = vec![Vec::new()];
        for (at, value) in self.x.positions.iter().zip(&line.values) {
            match value.and_then(|value| self.y.position(value)) {
                Some(up) => stretches.last_mut().into_iter().for_each(|stretch| stretch.push((*at, up))),
                None if self.joined => {}
                None => stretches.push(Vec::new()),
            }
        }
        stretches.retain(|stretch| !stretch.is_empty());
        stretches
    }

    fn ticks_of(&self, marks: &Marks, row: usize) -> String {
        const HEIGHT: f64 = 45.0;
        let floor = SIZE - row as f64 * (HEIGHT + 15.0);
        let marked = self.x.positions.iter().zip(&marks.values).filter(|(_, count)| **count > 0);
        marked.map(|(at, _)| format!("M{} {floor}v-{HEIGHT}", across(*at))).collect()
    }
}

fn key(of: &str) -> Markup {
    html! {
        svg.key viewBox="0 0 24 10" aria-hidden="true" {
            @if of == "mark" { path.mark d="M4 9v-8M9 9v-8M14 9v-8M19 9v-8" {} } @else { path.{ (of) } d="M1 5H23" {} }
        }
    }
}

fn join(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (nth, (at, up)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if nth == 0 { 'M' } else { 'L' }, across(*at), height(*up));
    }
    path
}

fn across(at: f64) -> f64 {
    (at * SIZE * 10.0).round() / 10.0
}

fn height(up: f64) -> f64 {
    ((1.0 - up) * SIZE * 10.0).round() / 10.0
}

fn percent(at: f64) -> String {
    format!("{:.2}%", at * 100.0)
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), shown)
}

fn heading(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

/// A whole number as such, anything else as measured.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 { grouped(value) } else { measured(value) }
}

fn with_unit(value: f64, unit: &str) -> String {
    let suffix = if value == 0.0 { String::new() } else { suffix(unit) };
    format!("{}{suffix}", grouped(value))
}

/// A unit as it follows a number, without a line break between them.
fn suffix(unit: &str) -> String {
    if unit.is_empty() || unit.starts_with('/') { unit.to_owned() } else { format!("\u{a0}{unit}") }
}

fn lowercase_first(title: &str) -> String {
    let mut letters = title.chars();
    let first = letters.next().map(char::to_lowercase);
    first.into_iter().flatten().chain(letters).collect()
}
