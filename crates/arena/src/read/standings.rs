//! Who stands where in a league, by the event's rule: most people stored, then fewest failed requests, then the lowest 99th
//! percentile of all response times.

use std::cmp::Ordering;

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

/// The columns of the ranking; those from the third to the seventh hold numbers.
pub const HEADINGS: [&str; 9] =
    ["", "entry", "people", "failed", "p99 ms", "CPU s", "CPU ms/1,000", "bouts", "verdict"];

impl Standing {
    /// An entry with the runs of its bouts, and the reasons of those that never were.
    pub fn new(name: String, mut runs: Vec<Run>, reasons: Vec<String>) -> Self {
        let bouts = runs.len() + reasons.len();
        runs.sort_by(better);
        // Of an even number the worse of the two in the middle; bouts that never were are the worst.
        let run = if runs.is_empty() { None } else { (bouts / 2 < runs.len()).then(|| runs.swap_remove(bouts / 2)) };
        Self { name, run, bouts, reasons }
    }

    /// Its row, at a place.
    pub fn row(&self, place: usize) -> Row {
        let Some(run) = &self.run else {
            let none = String::new;
            let bouts = self.bouts.to_string();
            return [
                place.to_string(),
                self.name.clone(),
                none(),
                none(),
                none(),
                none(),
                none(),
                bouts,
                "no bout".into(),
            ];
        };
        let cost = total_cost(&run.services);
        [
            place.to_string(),
            self.name.clone(),
            run.people().map_or("not counted".into(), |people| grouped(people.stored as f64)),
            grouped(run.failed() as f64),
            format!("{:.0}", p99(run)),
            cost.as_ref().map_or(String::new(), |cost| format!("{:.1}", cost.cpu_seconds)),
            cost.and_then(|cost| cpu_ms_per_thousand(&cost, run)).map_or(String::new(), |cpu| format!("{cpu:.0}")),
            self.bouts.to_string(),
            run.verdict().outcome.to_string(),
        ]
    }

    /// What is wrong with it, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let of_run = self.run.iter().flat_map(|run| run.verdict().reasons.clone());
        of_run.chain(self.reasons.iter().cloned()).collect()
    }
}

/// Puts the entries in order, best first.
pub fn rank(standings: &mut [Standing]) {
    standings.sort_by(|a, b| match (&a.run, &b.run) {
        (Some(a), Some(b)) => better(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
}

/// The ranking as text: one table, and below it what is wrong with whom.
pub fn table(standings: &[Standing]) -> String {
    let rows = standings.iter().zip(1..).map(|(standing, place)| standing.row(place));
    let mut text = terminal::markdown(&HEADINGS, rows, 2..8);
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
