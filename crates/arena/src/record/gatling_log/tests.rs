use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::SAMPLE as LOG;
use super::results::read_results;
use crate::record::run::{Percentiles, RequestSeries, Requests};

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
    let results = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    assert_eq!((results.simulation.as_str(), results.version.as_str()), ("Tiny", "3.9.5"));
    assert_eq!(results.started.as_millisecond(), 1795234737295);
    assert_eq!(results.seconds, 2.31);
    assert_eq!(
        results.errors,
        BTreeMap::from([("unset: Failed to build request: No attribute named 'nothing' is defined".to_owned(), 2)])
    );
}

#[test]
fn requests_of_the_event_get_our_kinds_in_a_fixed_order() {
    let results = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let counts: Vec<_> = results.requests.iter().map(|r| (r.kind.as_str(), r.count, r.failed())).collect();
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
    let results = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let search = requests(&results.requests, "search");
    assert_eq!(search.response, Percentiles { mean: 186.0, p50: 4.0, p75: 69.0, p95: 701.0, p99: 701.0, max: 701.0 });
    let create = requests(&results.requests, "create");
    assert_eq!(create.response, Percentiles { mean: 22.25, p50: 3.0, p75: 6.0, p95: 176.0, p99: 176.0, max: 176.0 });
}

#[test]
fn failures_are_counted_by_a_short_reason() {
    let results = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let failures = |kind| {
        let failures = &requests(&results.requests, kind).failures;
        failures.iter().map(|(reason, count)| (reason.as_str(), *count)).collect::<Vec<_>>()
    };
    assert_eq!(failures("create"), [("header(Location).find.exists, found nothing", 1), ("status 502", 2)]);
    assert_eq!(failures("search"), [("timed out", 2)]);
    assert_eq!(failures("in group"), [("status 400", 1), ("status 502", 1)]);
    assert_eq!(failures("não mapeado"), [("connection refused", 2)]);
}

#[test]
fn seconds_count_answers_and_requests_under_way() {
    let results = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    assert_eq!(results.series.in_flight, [0, 3, 0]);
    assert_eq!(
        results.series.requests["create"],
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
    let results = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let text = requests(&results.requests, "search").histogram.clone().unwrap();
    let bytes = BASE64_STANDARD.decode(text).unwrap();
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
    assert_eq!(histogram.len(), 8);
    assert!(histogram.equivalent(histogram.max(), 701_000));
    assert!(histogram.equivalent(histogram.value_at_quantile(0.5), 4_000));
}

#[test]
fn a_torn_last_line_is_left_out_and_told_of() {
    let cut = LOG.rfind("REQUEST").unwrap() + "REQUEST\t\tbusca inválida\t17952".len();
    let results = read_results(results_with(&LOG.as_bytes()[..cut]).path()).unwrap();
    assert_eq!(requests(&results.requests, "invalid-search").count, 7);
    assert_eq!(results.errors["Gatling's log ends in the middle of a line"], 1);
}

#[test]
fn a_message_may_hold_tabs() {
    let log = LOG.replacen("found 502", "found\ta tab\tand 502", 1).replacen("ERROR\t", "ERROR\twith a\ttab ", 1);
    let results = read_results(results_with(log.as_bytes()).path()).unwrap();
    assert_eq!(requests(&results.requests, "create").failed(), 3);
    assert!(results.errors.keys().any(|message| message.starts_with("with a\ttab ")), "{:?}", results.errors);
    assert!(!results.errors.keys().any(|message| message.contains("log")), "{:?}", results.errors);
}

#[test]
fn what_cannot_be_read_is_left_out_and_the_first_of_it_named() {
    let whole = read_results(results_with(LOG.as_bytes()).path()).unwrap();
    let sent = |results: &super::results::Results| results.requests.iter().map(|kind| kind.count).sum::<u64>();
    let stamp = "\t1795234737295\t";
    assert!(LOG.contains(stamp));
    for (good, bad) in
        [("\tOK\t", "\tPERHAPS\t"), (stamp, "\t1\t"), (stamp, "\t1795234799999\t"), (stamp, "\t17952347x\t")]
    {
        let broken = LOG.replacen(good, bad, 1);
        let number = 1 + broken.lines().position(|line| line.contains(bad)).unwrap();
        let results = read_results(results_with(broken.as_bytes()).path()).unwrap();
        let told = format!("a line of Gatling's log cannot be read, first line {number}: ");
        assert!(
            results.errors.iter().any(|(said, count)| said.starts_with(&told) && *count == 1),
            "{:?}",
            results.errors
        );
        assert_eq!(sent(&results) + 1, sent(&whole), "{bad}");
    }
    let all = LOG.replace("\tOK\t", "\tPERHAPS\t");
    let errors = read_results(results_with(all.as_bytes()).path()).unwrap().errors;
    let good = LOG.matches("\tOK\t").count() as u64;
    assert!(
        errors.iter().any(|(said, count)| said.starts_with("a line of Gatling's log") && *count == good),
        "{errors:?}"
    );
}

#[test]
fn logs_that_cannot_be_judged_say_why() {
    assert!(error_of(b"\0\x01binary\nmore\n").contains("binary"));
    assert!(error_of(b"RUN\tA\ta\t1795234736574\t \t3.9.5\n").contains("holds no request"));
    let torn = error_of(b"RUN\tA\ta\t1795234736574\t \t3.9.5\nREQUEST\t\tbusca");
    assert!(torn.contains("holds no request; Gatling's log ends in the middle"), "{torn}");
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
