//! Who stands where in a league, by the event's rule: most people stored, then fewest failed requests, then the lowest 99th
//! percentile of all response times.

use std::cmp::Ordering;
use std::fmt;

use hdrhistogram::Histogram;

use crate::record::histogram;
use crate::record::metric::{cpu_ms_per_thousand, grouped, total_cost};
use crate::record::run::Run;
use crate::terminal;

/// An entry of a league and its bouts.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The entry's name.
    pub name: String,
    /// Its middle bout: as many of its bouts were better as were worse. None where that was no bout at all.
    pub run: Option<Run>,
    /// Bouts of it in all.
    pub bouts: usize,
    /// Why there was no bout, for each time that there was none.
    pub reasons: Vec<String>,
}

/// What a row of the ranking says, in the order of [`HEADINGS`].
pub type Row = [String; HEADINGS.len()];

/// The columns of the ranking; those from the fourth hold numbers.
pub const HEADINGS: [&str; 9] =
    ["", "entry", "verdict", "people", "failed", "p99 ms", "CPU s", "CPU ms/1,000", "bouts"];

/// Marks of footnotes.
const MARKS: [char; 9] = ['¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

impl Standing {
    /// An entry with the runs of its bouts, and the reasons of those that never were.
    pub fn new(name: String, mut runs: Vec<Run>, reasons: Vec<String>) -> Self {
        let bouts = runs.len() + reasons.len();
        runs.sort_by(better);
        // Of an even number the worse of the two in the middle; bouts that never were are the worst.
        let run = if runs.is_empty() { None } else { (bouts / 2 < runs.len()).then(|| runs.swap_remove(bouts / 2)) };
        Self { name, run, bouts, reasons }
    }

    /// Its row, at a place; the verdict bears the marks of those footnotes that are about it.
    pub fn row(&self, place: usize, footnotes: &[Footnote]) -> Row {
        let (place, name, bouts) = (place.to_string(), self.name.clone(), self.bouts.to_string());
        let none = String::new;
        let Some(run) = &self.run else {
            return [place, name, "no bout".into(), none(), none(), none(), none(), none(), bouts];
        };
        let unchecked = &run.verdict().unchecked;
        let about = footnotes.iter().filter(|footnote| unchecked.contains(&footnote.unchecked));
        let verdict =
            about.fold(run.verdict().outcome.to_string(), |text, footnote| format!("{text} {}", footnote.mark));
        let cost = total_cost(&run.services);
        [
            place,
            name,
            verdict,
            run.people().map_or("not counted".into(), |people| grouped(people.stored as f64)),
            grouped(run.failed() as f64),
            grouped(p99(run).round()),
            cost.as_ref().map_or_else(none, |cost| format!("{:.1}", cost.cpu_seconds)),
            cost.and_then(|cost| cpu_ms_per_thousand(&cost, run)).map_or_else(none, |cpu| grouped(cpu.round())),
            bouts,
        ]
    }

    /// What is wrong with it, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let of_run = self.run.iter().flat_map(|run| run.verdict().reasons.clone());
        of_run.chain(self.reasons.iter().cloned()).collect()
    }
}

/// What could not be checked of some entries.
#[derive(Clone, Debug)]
pub struct Footnote {
    /// What the rows that it is about bear.
    pub mark: char,
    unchecked: String,
}

impl fmt::Display for Footnote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} Not checked: {}.", self.mark, self.unchecked)
    }
}

/// What could not be checked, each thing once.
pub fn footnotes(standings: &[Standing]) -> Vec<Footnote> {
    let mut all: Vec<&String> = Vec::new();
    for unchecked in standings.iter().flat_map(|standing| &standing.run).flat_map(|run| &run.verdict().unchecked) {
        if !all.contains(&unchecked) {
            all.push(unchecked);
        }
    }
    MARKS.into_iter().zip(all).map(|(mark, unchecked)| Footnote { mark, unchecked: unchecked.clone() }).collect()
}

/// Puts the entries in order, best first.
pub fn rank(standings: &mut [Standing]) {
    standings.sort_by(|a, b| match (&a.run, &b.run) {
        (Some(a), Some(b)) => better(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
}

/// The ranking as text: one table, below it what could not be checked, and what is wrong with whom.
pub fn table(standings: &[Standing]) -> String {
    let footnotes = footnotes(standings);
    let rows = standings.iter().zip(1..).map(|(standing, place)| standing.row(place, &footnotes));
    let mut text = terminal::markdown(&HEADINGS, rows, 3..9);
    if !footnotes.is_empty() {
        let lines: Vec<String> = footnotes.iter().map(Footnote::to_string).collect();
        text.push_str(&format!("\n\n{}", lines.join("  \n")));
    }
    for standing in standings {
        let faults = standing.faults();
        if !faults.is_empty() {
            text.push_str(&format!("\n\n{}:", standing.name));
            faults.iter().for_each(|fault| text.push_str(&format!("\n- {fault}")));
        }
    }
    text
}

fn better(a: &Run, b: &Run) -> Ordering {
    let stored = |run: &Run| run.people().map_or(0, |people| people.stored);
    stored(b).cmp(&stored(a)).then(a.failed().cmp(&b.failed())).then(p99(a).total_cmp(&p99(b)))
}

/// The 99th percentile of the response times of all requests, in milliseconds; the worst kind's where a kind has no
/// histogram.
fn p99(run: &Run) -> f64 {
    let merged = || -> Option<f64> {
        let mut all = Histogram::<u64>::new(3).ok()?;
        for kind in &run.requests {
            all.add(histogram::decode(kind.histogram.as_ref()?).ok()?).ok()?;
        }
        Some(all.value_at_quantile(0.99) as f64 / 1000.0)
    };
    merged().unwrap_or_else(|| run.requests.iter().map(|kind| kind.response.p99).fold(0.0, f64::max))
}
