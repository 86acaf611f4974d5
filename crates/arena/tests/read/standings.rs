//! The ranking of a league and its page.

#![allow(clippy::unwrap_used)]

use arena::read::report;
use arena::read::standings::{Standing, rank, table};
use arena::record::run::{Judged, Outcome, People, Run, Verdict};

mod common;

fn fought(name: &str, stored: u64, slowness: f64) -> Run {
    let people = People { stored, ceiling: 46_576, acknowledged: None };
    let judged = Judged::new(Verdict::new(Outcome::Clean, Vec::new()), Some(people));
    Run { label: Some(name.to_owned()), judged, ..common::run(name, 30, slowness) }
}

fn failed(mut run: Run, count: u64) -> Run {
    run.requests[0].failures.insert("status 500".into(), count);
    run
}

fn standing(name: &str, runs: Vec<Run>, reasons: &[&str]) -> Standing {
    Standing::new(name.into(), runs, reasons.iter().map(|reason| (*reason).to_owned()).collect())
}

#[test]
fn people_count_first_then_failures_then_the_tail_and_who_never_fought_comes_last() {
    let mut standings = [
        standing("broken", vec![], &["it does not start:\n  api | <b>no</b>"]),
        standing("slow", vec![fought("slow", 46_576, 3.0)], &[]),
        standing("forgetful", vec![fought("forgetful", 46_000, 1.0)], &[]),
        standing("failing", vec![failed(fought("failing", 46_576, 1.0), 3)], &[]),
        standing("quick", vec![fought("quick", 46_576, 1.0)], &[]),
    ];
    rank(&mut standings);
    let order: Vec<&str> = standings.iter().map(|standing| standing.name.as_str()).collect();
    assert_eq!(order, ["quick", "slow", "failing", "forgetful", "broken"]);

    let text = table(&standings);
    assert!(
        text.contains("| 5 | broken") && text.contains("no bout") && text.contains("forgetful:\n- 576 people are lost"),
        "{text}"
    );

    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("league.html");
    report::write_league(&standings, &page).unwrap();
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.find("Ranking") < page.find("Response times") && page.contains("&lt;b&gt;no"));
}

#[test]
fn what_could_not_be_checked_is_told_once_and_marked_in_each_row_that_it_is_about() {
    let unchecked = |name: &str, unchecked: &[&str]| {
        let mut run = fought(name, 46_576, 1.0);
        let unchecked = unchecked.iter().map(|one| (*one).to_owned()).collect();
        let verdict = Verdict { unchecked, ..run.verdict().clone() };
        run.judged = Judged::new(verdict, run.people());
        standing(name, vec![run], &[])
    };
    let standings = [unchecked("both", &["disk", "searches"]), unchecked("one", &["searches"]), unchecked("none", &[])];
    let text = table(&standings);
    for line in ["| both  | clean ¹ ² |", "| one   | clean ²   |", "| none  | clean     |"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("¹ Not checked: disk.  \n² Not checked: searches."), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("league.html");
    report::write_league(&standings, &page).unwrap();
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("clean ¹ ²") && page.matches("Not checked: searches").count() == 1);
}

#[test]
fn the_middle_bout_counts_and_a_bout_that_never_was_is_the_worst() {
    let people = |standing: &Standing| standing.run.as_ref().and_then(|run| run.people()).map(|people| people.stored);
    let bouts = |stored: &[u64]| stored.iter().map(|stored| fought("a", *stored, 1.0)).collect();
    assert_eq!(people(&standing("a", bouts(&[3, 1, 2]), &[])), Some(2));
    assert_eq!(people(&standing("a", bouts(&[1, 2]), &[])), Some(1));
    assert_eq!(people(&standing("a", bouts(&[1, 2]), &["it ended"])), Some(1));
    assert_eq!(people(&standing("a", bouts(&[2]), &["it ended"])), None);
}

#[test]
fn a_league_in_which_nobody_fought_has_a_page_and_so_has_one_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("league.html");
    report::write_league(&[standing("broken", vec![], &["no"])], &page).unwrap();
    let many: Vec<Standing> = (0..12)
        .map(|nth| standing(&format!("entry{nth}"), vec![fought(&format!("entry{nth}"), 1, 1.0)], &[]))
        .collect();
    report::write_league(&many, &page).unwrap();
    let text = std::fs::read_to_string(page).unwrap();
    assert!(text.contains("Below are the best 8 of 12") && text.contains("entry11"));
}
