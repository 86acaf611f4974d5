//! The page of a league: who stands where, then the entries beside each other.

use maud::{Markup, html};

use super::MOST_RUNS;
use super::charts::Runs;
use super::page::{body, frame, made_by};
use crate::read::standings::{HEADINGS, Standing, footnotes};
use crate::record::run::{Outcome, Run};

/// The page of entries, best first.
pub(super) fn page(standings: &[Standing]) -> Markup {
    let runs: Vec<Run> = standings.iter().filter_map(|standing| standing.run.clone()).take(MOST_RUNS).collect();
    let fought = standings.iter().filter(|standing| standing.run.is_some()).count();
    let names: Vec<&str> = standings.iter().map(|standing| standing.name.as_str()).collect();
    let masthead = html! { p.brand { "Peleja" } p.about { "League of " (names.len()) } };
    let main = html! {
        section.top aria-label="Ranking" { (ranking(standings)) }
        (faults(standings))
        @if fought > MOST_RUNS { p.note { "Below are the best " (MOST_RUNS) " of " (fought) "." } }
        @if !runs.is_empty() { (body(&Runs::new(&runs))) }
    };
    let origin = html! { (made_by("league")) "." };
    frame(&format!("League: {} · Peleja", names.join(", ")), runs.len() > 1, masthead, main, origin)
}

fn ranking(standings: &[Standing]) -> Markup {
    let footnotes = footnotes(standings);
    html! {
        h1 { "Ranking" }
        p.note { "Most people stored, then fewest failed requests, then the lowest 99th percentile." }
        div.scroll tabindex="0" role="region" aria-label="Ranking" {
            table.figures.ranking {
                thead { tr { @for heading in HEADINGS { th.text[is_text(heading)] scope="col" { (heading) } } } }
                tbody { @for (standing, place) in standings.iter().zip(1..) { tr {
                    @for (heading, cell) in HEADINGS.iter().zip(standing.row(place, &footnotes)) {
                        @if *heading == "verdict" { td.{ "text outcome " (tone(standing)) } { (cell) } }
                        @else { td.text[is_text(heading)] { (cell) } }
                    }
                } } }
            }
        }
        @for footnote in &footnotes { p.note { (footnote) } }
    }
}

/// Whether a column of the ranking holds words.
fn is_text(heading: &str) -> bool {
    matches!(heading, "entry" | "verdict")
}

fn tone(standing: &Standing) -> String {
    standing.run.as_ref().map_or(Outcome::Failed, |run| run.verdict().outcome).to_string()
}

fn faults(standings: &[Standing]) -> Markup {
    let faults = standings.iter().map(|standing| (&standing.name, standing.faults()));
    let faults: Vec<_> = faults.filter(|(_, faults)| !faults.is_empty()).collect();
    html! {
        @if !faults.is_empty() {
            section.faults aria-labelledby="faults" {
                h2 #faults { "What is to be said of them" }
                @for (name, faults) in faults {
                    h3 { (name) }
                    ul { @for fault in &faults { li { (sentence(fault)) } } }
                }
            }
        }
    }
}

/// A sentence, and below it the lines that a service wrote, if any.
fn sentence(fault: &str) -> Markup {
    let (sentence, lines) = fault.split_once('\n').unwrap_or((fault, ""));
    html! { (sentence) @if !lines.is_empty() { pre tabindex="0" { (lines) } } }
}
