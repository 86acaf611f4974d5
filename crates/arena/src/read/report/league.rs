//! The page of a league: who stands where, then the entries beside each other.

use maud::{Markup, html};

use super::MOST_RUNS;
use super::charts::Runs;
use super::page::{body, frame, made_by};
use crate::read::standings::{HEADINGS, Standing};
use crate::record::run::Run;

/// The page of entries, best first.
pub(super) fn page(standings: &[Standing]) -> Markup {
    let runs: Vec<Run> = standings.iter().filter_map(|standing| standing.run.clone()).take(MOST_RUNS).collect();
    let fought = standings.iter().filter(|standing| standing.run.is_some()).count();
    let names: Vec<&str> = standings.iter().map(|standing| standing.name.as_str()).collect();
    let masthead = html! { p.brand { "Peleja" } p.about { "League of " (names.len()) } };
    let main = html! {
        section.top aria-label="Ranking" { (ranking(standings)) (faults(standings)) }
        @if fought > MOST_RUNS { p.note { "Below are the best " (MOST_RUNS) " of " (fought) "." } }
        @if !runs.is_empty() { (body(&Runs::new(&runs))) }
    };
    let origin = html! { (made_by("league")) "." };
    frame(&format!("League: {} · Peleja", names.join(", ")), runs.len() > 1, masthead, main, origin)
}

fn ranking(standings: &[Standing]) -> Markup {
    html! {
        h1 { "Ranking" }
        p.note { "Most people stored, then fewest failed requests, then the lowest 99th percentile." }
        div.scroll tabindex="0" role="region" aria-label="Ranking" {
            table.figures {
                thead { tr { @for (nth, heading) in HEADINGS.iter().enumerate() { th.text[is_text(nth)] scope="col" { (heading) } } } }
                tbody { @for (standing, place) in standings.iter().zip(1..) { tr {
                    @for (nth, cell) in standing.row(place).iter().enumerate() { td.text[is_text(nth)] { (cell) } }
                } } }
            }
        }
    }
}

/// Whether a column of the ranking holds words.
fn is_text(column: usize) -> bool {
    matches!(HEADINGS[column], "entry" | "verdict")
}

fn faults(standings: &[Standing]) -> Markup {
    html! {
        @for standing in standings {
            @let faults = standing.faults();
            @if !faults.is_empty() {
                h2 { (standing.name) }
                ul { @for fault in &faults { li.said { (fault) } } }
            }
        }
    }
}
