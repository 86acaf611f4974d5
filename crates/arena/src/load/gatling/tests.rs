use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::child::Process;
use super::prepare::{complaints, simulation_class};
use super::progress::Progress;
use super::read_results;
use crate::record::run::{Percentiles, RequestSeries, Requests};

/// Written by Gatling 3.9.5 under the event's request names, against a server that fails now and then.
const LOG: &str = include_str!("testdata/simulation.log");

fn results_with(log: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("simulation.log"), log).unwrap();
    directory
}

fn requests<'a>(all: &'a [Requests], kind: &str) -> &'a Requests {
    all.iter().find(|requests| requests.kind == kind).unwrap()
}

fn error_of(log: &[u8]) -> String {
    format!("{:#}", read_results(results_with(log).path()).unwrap_err())
}

#[test]
fn a_run_is_told_by_its_first_and_last_stamp() {
    let outcome = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    assert_eq!((outcome.simulation.as_str(), outcome.version.as_str()), ("Tiny", "3.9.5"));
    assert_eq!(outcome.started.as_millisecond(), 1795234737295);
    assert_eq!(outcome.seconds, 2.31);
    assert_eq!(
        outcome.errors,
        BTreeMap::from([("unset: Failed to build request: No attribute named 'nothing' is defined".to_owned(), 2)])
    );
}

#[test]
fn requests_of_the_event_get_our_kinds_in_a_fixed_order() {
    let outcome = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let counts: Vec<_> = outcome.requests.iter().map(|r| (r.kind.as_str(), r.count, r.failed())).collect();
    assert_eq!(
        counts,
        [
            ("create", 16, 3),
            ("fetch", 13, 1),
            ("search", 8, 2),
            ("invalid-search", 8, 1),
            ("in group", 2, 2),
            ("não mapeado", 2, 2),
        ]
    );
}

#[test]
fn response_times_are_exact_milliseconds() {
    let outcome = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let search = requests(&outcome.requests, "search");
    assert_eq!(search.response, Percentiles { mean: 186.0, p50: 4.0, p75: 69.0, p95: 701.0, p99: 701.0, max: 701.0 });
    let create = requests(&outcome.requests, "create");
    assert_eq!(create.response, Percentiles { mean: 22.25, p50: 3.0, p75: 6.0, p95: 176.0, p99: 176.0, max: 176.0 });
}

#[test]
fn failures_are_counted_by_a_short_reason() {
    let outcome = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let failures = |kind| {
        let failures = &requests(&outcome.requests, kind).failures;
        failures.iter().map(|(reason, count)| (reason.as_str(), *count)).collect::<Vec<_>>()
    };
    assert_eq!(failures("create"), [("header(Location).find.exists, found nothing", 1), ("status 502", 2)]);
    assert_eq!(failures("search"), [("timed out", 2)]);
    assert_eq!(failures("in group"), [("status 400", 1), ("status 502", 1)]);
    assert_eq!(failures("não mapeado"), [("connection refused", 2)]);
}

#[test]
fn seconds_count_answers_and_requests_under_way() {
    let outcome = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    assert_eq!(outcome.series.in_flight, [0, 3, 0]);
    assert_eq!(
        outcome.series.requests["create"],
        RequestSeries {
            completed: vec![9, 7, 0],
            failed: vec![2, 1, 0],
            p50: vec![4.0, 3.0, 0.0],
            p99: vec![176.0, 6.0, 0.0],
        }
    );
}

#[test]
fn the_histogram_holds_every_request_in_microseconds() {
    let outcome = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let text = requests(&outcome.requests, "search").histogram.clone().unwrap();
    let bytes = BASE64_STANDARD.decode(text).unwrap();
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
    assert_eq!(histogram.len(), 8);
    assert!(histogram.equivalent(histogram.max(), 701_000));
    assert!(histogram.equivalent(histogram.value_at_quantile(0.5), 4_000));
}

#[test]
fn a_cut_off_last_line_is_left_out() {
    let cut = LOG.rfind("REQUEST").unwrap() + "REQUEST\t\tbusca inválida\t17952".len();
    let outcome = read_results(results_with(&LOG.as_bytes()[..cut]).path()).unwrap();
    assert_eq!(requests(&outcome.requests, "invalid-search").count, 7);
}

#[test]
fn a_broken_line_is_named() {
    let broken = LOG.replacen("\tOK\t", "\tPERHAPS\t", 1);
    let number = 1 + broken.lines().position(|line| line.contains("PERHAPS")).unwrap();
    let error = error_of(broken.as_bytes());
    assert!(error.contains(&format!("line {number}: ")) && error.contains("PERHAPS"), "{error}");
}

#[test]
fn logs_that_cannot_be_judged_say_why() {
    assert!(error_of(b"\0\x01binary\nmore\n").contains("binary"));
    assert!(error_of(b"RUN\tA\ta\t1795234736574\t \t3.9.5\n").contains("holds no request"));
    let far = LOG.replacen("\t1795234737295\t", "\t1\t", 1);
    assert!(error_of(far.as_bytes()).contains("more than a week apart"));
    let backwards = LOG.replacen("\t1795234737295\t", "\t1795234799999\t", 1);
    assert!(error_of(backwards.as_bytes()).contains("ended before it started"));
}

#[test]
fn results_are_found_one_level_down_unless_there_are_two() {
    let parent = tempfile::tempdir().unwrap();
    let none = format!("{:#}", read_results(parent.path()).unwrap_err());
    assert!(none.contains("no simulation.log in"), "{none}");

    add_results(parent.path(), "first");
    assert_eq!(read_results(parent.path()).unwrap().directory, parent.path().join("first"));

    add_results(parent.path(), "second");
    let two = format!("{:#}", read_results(parent.path()).unwrap_err());
    assert!(two.contains("several"), "{two}");
}

fn add_results(parent: &Path, name: &str) {
    fs::create_dir(parent.join(name)).unwrap();
    fs::write(parent.join(name).join("simulation.log"), LOG).unwrap();
}

#[test]
fn progress_follows_a_log_that_grows_in_the_middle_of_lines() {
    let parent = tempfile::tempdir().unwrap();
    let mut progress = Progress::new(parent.path(), None);
    progress.read();
    assert_eq!(progress.line(0), "gatling starts");

    fs::create_dir(parent.path().join("tiny")).unwrap();
    let mut log = fs::File::create(parent.path().join("tiny/simulation.log")).unwrap();
    for piece in LOG.as_bytes().chunks(100) {
        log.write_all(piece).unwrap();
        progress.read();
    }
    assert_eq!(
        progress.line(1795234739430),
        "  2 s  0 users active  create 16  fetch 13  in group 2  invalid-search 8  não mapeado 2  search 8  failed 11"
    );
}

#[test]
fn the_class_of_a_simulation_is_found_with_its_package() {
    let named = |source| simulation_class(source).unwrap();
    assert_eq!(named("class A\n  extends Simulation {\n}"), "A");
    assert_eq!(
        named("package a.b\nimport x.Simulation\n/** one */ final class A extends Simulation{ val x = 1 }"),
        "a.b.A"
    );
    assert_eq!(named("// class Old extends Simulation\nclass New extends io.gatling.core.Predef.Simulation"), "New");
    assert_eq!(named("class Helper(a: Int)\nclass A extends Simulation"), "A");
    assert_eq!(named("class A(x: Int = 1) extends Simulation with Other"), "A");
    assert_eq!(named("/* a class that extends Simulation */ class A extends Simulation"), "A");
    assert!(simulation_class("abstract class A extends Simulation").is_err());
    assert!(simulation_class("class A extends B").is_err());
    assert!(simulation_class("class A extends Simulation\nclass B extends Simulation").is_err());
}

#[test]
fn a_failed_build_shows_the_compilers_words_or_the_end() {
    assert_eq!(
        complaints("[INFO] a\n[ERROR] A.scala:8: error: type mismatch\n\tat B\n"),
        "[ERROR] A.scala:8: error: type mismatch"
    );
    assert_eq!(complaints("gatling/run.sh: 44: mvn: not found\n"), "gatling/run.sh: 44: mvn: not found");
}

#[test]
fn a_process_and_its_children_end_when_it_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!("sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; wait", pids.display());
    let process = Process::spawn(Command::new("sh").args(["-c", &script])).unwrap();
    let text = loop {
        match fs::read_to_string(&pids) {
            Ok(text) => break text,
            Err(_) => std::thread::yield_now(),
        }
    };
    drop(process);
    for pid in text.split_whitespace() {
        while is_running(pid) {
            std::thread::yield_now();
        }
    }
}

fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn an_interrupted_wait_is_an_error() {
    let process = Process::spawn(Command::new("sleep").arg("600")).unwrap();
    let error = process.wait(&AtomicBool::new(true), || ()).unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
}

#[test]
fn a_process_that_ends_gives_its_status() {
    let process = Process::spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
    assert_eq!(process.wait(&AtomicBool::new(false), || ()).unwrap().code(), Some(7));
}
