//! `arena compare` and `arena history` as a user meets them: the program, its output and its exit status.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use arena::record::history::History;
use arena::record::run::{Driver, Judged, Outcome, Run, Verdict};
use serde_json::Value;
use tempfile::TempDir;

mod common;

#[test]
fn paired_sets_say_what_changed_beyond_noise() {
    let runs = Runs::new();
    for (nth, wobble) in [0.97, 1.0, 1.04].into_iter().enumerate() {
        runs.keep(&format!("base-{nth}"), "before", 2 * nth, wobble);
        runs.keep(&format!("new-{nth}"), "after", 2 * nth + 1, wobble * 1.5);
    }

    let output = runs.arena(&["compare", "before", "after", "--json"]);
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!(comparison["method"], "paired");
    assert_eq!(comparison["base"], serde_json::json!(["base-0", "base-1", "base-2"]));
    let p50 = difference(&comparison, "create.p50");
    assert!((p50["percent"].as_f64().unwrap() - 50.0).abs() < 1.0, "{p50}");
    assert_eq!(p50["judgement"], "worse");
    assert_eq!(difference(&comparison, "people.lost")["judgement"], "same");
    let output = runs.arena(&["compare", "before", "after", "--json", "--metric", "create.p50"]);
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(comparison["differences"].as_array().unwrap().len(), 1);
}

#[test]
fn two_single_runs_are_compared_and_said_to_have_no_known_noise() {
    let runs = Runs::new();
    runs.keep("one", "a", 0, 1.0);
    runs.keep("two", "b", 1, 1.5);

    let text = runs.text(&["compare", "one", "two"]);

    assert!(text.contains("no noise is known"), "{text}");
    assert!(text.contains("create.p99"), "{text}");
    let markdown = runs.text(&["compare", "one", "two", "--markdown"]);
    assert!(markdown.contains("| create.p99"), "{markdown}");
}

#[test]
fn a_missed_threshold_ends_with_99_and_a_kept_one_with_0() {
    let runs = Runs::new();
    runs.keep("one", "a", 0, 1.0);
    runs.keep("two", "b", 1, 1.5);
    let status = |threshold: &str| runs.arena(&["compare", "one", "two", "--fail-on", threshold]).status.code();

    assert_eq!(status("create.p50:+10%"), Some(99));
    assert_eq!(status("create.p50:+60%"), Some(0));
    assert_eq!(status("create.p50:+0.1ms"), Some(99));
    assert_eq!(status("people.lost:+0"), Some(0));
    assert_eq!(status("create.p50:sideways"), Some(2));
    assert_eq!(status("create.p98:+1%"), Some(2));
    assert_eq!(runs.arena(&["compare", "one", "nowhere"]).status.code(), Some(2));
    assert_eq!(status("teleport.p99:+1%"), Some(1), "a threshold that cannot be checked must not pass");
}

#[test]
fn a_threshold_on_an_invalid_run_ends_with_98() {
    let runs = Runs::new();
    runs.keep("good", "a", 0, 1.0);
    let invalid = Run { id: "invalid".into(), ..common::run("", 10, 1.5) };
    let judged = Judged::new(Verdict::new(Outcome::Invalid, vec!["late".into()]), None);
    runs.history.save(&Run { judged, ..invalid }).unwrap();

    for sides in [["good", "invalid"], ["invalid", "good"]] {
        for (threshold, status) in [(None, 0), (Some("create.p50:+900%"), 98), (Some("create.p50:+0%"), 98)] {
            let arguments: Vec<&str> =
                ["compare"].into_iter().chain(sides).chain(threshold.iter().flat_map(|it| ["--fail-on", it])).collect();
            assert_eq!(runs.arena(&arguments).status.code(), Some(status), "{arguments:?}");
        }
    }
}

#[test]
fn a_difference_as_small_as_the_figures_resolution_is_within_noise() {
    let runs = Runs::new();
    for (nth, (id, label, p99)) in [
        ("a", "five", 5.0),
        ("b", "six", 6.0),
        ("c", "five", 5.0),
        ("d", "six", 6.0),
        ("e", "eight", 8.0),
        ("f", "eight", 8.0),
    ]
    .into_iter()
    .enumerate()
    {
        let mut run = runs.keep(id, label, nth, 1.0);
        run.driver = Driver::Gatling;
        run.requests[0].response.p99 = p99;
        runs.history.save(&run).unwrap();
    }

    let judged = |new: &str| {
        let output = runs.arena(&["compare", "five", new, "--json"]);
        let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
        difference(&comparison, "create.p99").clone()
    };
    let six = judged("six");
    assert_eq!(six["judgement"], "within-noise", "{six}");
    assert_eq!((six["interval"]["low"].as_f64(), six["interval"]["high"].as_f64()), (Some(0.0), Some(2.0)));
    assert_eq!(judged("eight")["judgement"], "worse");
}

#[test]
fn runs_are_in_the_order_of_time_and_not_of_text() {
    let runs = Runs::new();
    for (id, label, started) in [
        ("third", "b", "2026-11-21T01:00:05.75Z"),
        ("first", "a", "2026-11-21T01:00:05Z"),
        ("second", "a", "2026-11-21T01:00:05.5Z"),
        ("before", "b", "2026-11-21T02:00:04+01:00"),
    ] {
        let run = Run { label: Some(label.into()), started: started.into(), ..common::run(id, 10, 1.0) };
        runs.history.save(&run).unwrap();
    }

    let output = runs.arena(&["compare", "a", "b", "--json"]);
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(comparison["base"], serde_json::json!(["first", "second"]));
    assert_eq!(comparison["new"], serde_json::json!(["before", "third"]));
    let list = runs.text(&["history"]);
    let ids: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, ["before", "first", "second", "third"]);
}

#[test]
fn runs_that_cannot_be_compared_are_warned_about() {
    let runs = Runs::new();
    let base = runs.keep("one", "a", 0, 1.0);
    let mut new = Run { id: "two".into(), ..base.clone() };
    new.settings.rate_factor = 8.0;
    new.settings.engine = "docker".into();
    new.machine.cores = 64;
    new.budget[0].cpus = Some(4.0);
    new.judged = Judged::new(Verdict::new(Outcome::Suspect, Vec::new()), new.people());
    new.settings.more.insert("commits".into(), "grouped".into());
    runs.history.save(&new).unwrap();

    let text = runs.text(&["compare", "one", "two"]);

    for condition in
        ["rate factor: 1 against 8", "engine: native against docker", "machine", "budget", "two is suspect"]
    {
        assert!(
            text.lines().any(|line| line.starts_with("warning: ") && line.contains(condition)),
            "{condition}: {text}"
        );
    }
    assert!(text.contains("differs in commits: unset against grouped"), "{text}");
    assert!(!runs.text(&["compare", "one", "one"]).contains("not the same"));
    assert!(runs.text(&["compare", "one", "one"]).contains("one is on both sides"));
}

#[test]
fn history_lists_runs_oldest_first_and_plots_a_figure() {
    let runs = Runs::new();
    runs.keep("later", "b", 1, 2.0);
    runs.keep("earlier", "a\u{1b}[31m\n", 0, 1.0);

    let list = runs.text(&["history"]);
    let lines: Vec<&str> = list.lines().collect();

    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[1].starts_with("earlier") && lines[2].starts_with("later"), "{list}");
    assert!(lines[2].contains("46576/46576") && lines[2].contains("34fb057") && lines[2].contains("clean"), "{list}");
    assert!(!list.contains('\u{1b}'), "{list:?}");

    let plot = runs.text(&["history", "--plot", "create.p99"]);
    let bars: Vec<usize> = plot.lines().map(|line| line.matches('█').count()).filter(|bar| *bar > 0).collect();
    assert!(bars.len() == 2 && bars[0] < bars[1], "{plot}");

    assert!(runs.text(&["history", "--label", "c"]).contains("no run kept carries the label \"c\""));
    let unknown = runs.arena(&["history", "--plot", "create.p98"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("people.lost"));
}

#[test]
fn the_printed_schema_is_the_one_in_the_repository() {
    let printed = Runs::new().text(&["history", "--schema"]);
    assert_eq!(printed, include_str!("../../run.schema.json"));
}

struct Runs {
    directory: TempDir,
    history: History,
}

impl Runs {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let history = History::at(directory.path());
        Self { directory, history }
    }

    fn keep(&self, id: &str, label: &str, minute: usize, slowness: f64) -> Run {
        let started = format!("2026-11-21T01:{minute:02}:00Z");
        let run = Run { label: Some(label.to_owned()), started, ..common::run(id, 10, slowness) };
        self.history.save(&run).unwrap();
        run
    }

    fn arena(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_arena")).args(args).env("ARENA_RUNS", self.directory.path()).output().unwrap()
    }

    fn text(&self, args: &[&str]) -> String {
        let output = self.arena(args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn difference<'a>(comparison: &'a Value, metric: &str) -> &'a Value {
    let differences = comparison["differences"].as_array().unwrap();
    differences.iter().find(|difference| difference["metric"] == metric).unwrap()
}
