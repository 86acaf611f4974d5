//! `arena stress` and `arena analyze` as their user sees them.

#![allow(clippy::unwrap_used)]

mod people;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use people::People;

fn arena(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.args(args).env("TZ", "UTC").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(args: &[&str]) -> Output {
    arena(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The rows of a CSV as numbers, after a look at every byte around them.
fn rows<Latency: FromStr<Err: Debug>>(csv: &str) -> Vec<(u64, Latency)> {
    let rows = csv.strip_prefix("Throughput (ops/s),Latency (ms)\r\n").unwrap();
    assert!(rows.ends_with("\r\n"), "{csv:?}");
    rows.split_terminator("\r\n")
        .map(|row| {
            let (throughput, latency) = row.split_once(',').unwrap();
            (throughput.parse().unwrap(), latency.parse().unwrap())
        })
        .collect()
}

/// Seconds that each process took, in the order of the lines.
fn took(report: &str) -> Vec<f64> {
    let lines = report.lines().filter(|line| line.starts_with("pid: "));
    lines.map(|line| line.split("taking  ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
}

fn pids(report: &str) -> BTreeSet<u32> {
    let lines = report.lines().filter_map(|line| line.strip_prefix("pid: "));
    lines.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// The processes that `parent` started, once there are at least `least`.
fn children(parent: &Child, least: usize) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.id());
    loop {
        let text = std::fs::read_to_string(&path).unwrap();
        let children: Vec<Pid> = text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
        if children.len() >= least {
            return children;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is gone within a generous time, or dead and only waits to be forgotten.
fn ends_soon(pid: Pid) -> bool {
    (0..2_000).any(|_| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let has_ended = stat.rsplit(") ").next().is_none_or(|state| state.is_empty() || state.starts_with(['Z', 'X']));
        if !has_ended {
            std::thread::sleep(Duration::from_millis(10));
        }
        has_ended
    })
}

#[test]
fn stress_prints_a_row_a_second_as_csv() {
    let output = output(&["stress", "3", "--simulate", "--seed", "1"]);
    assert!(output.status.success());
    assert_eq!(stdout(&output), "Throughput (ops/s),Latency (ms)\r\n56656,14915\r\n97100,8887\r\n44426,15257\r\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn simulated_numbers_differ_without_a_seed_and_stay_within_their_range() {
    let [first, second] = [(); 2].map(|()| rows::<u64>(&stdout(&output(&["stress", "2", "--simulate"]))));
    assert_eq!(first.len(), 2);
    assert_ne!(first, second);
    assert!(first.iter().all(|(throughput, latency)| *throughput <= 99_999 && *latency <= 19_999));
}

#[test]
fn stress_prints_each_row_when_it_is_made() {
    let mut child = arena(&["stress", "1000000", "--simulate"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "Throughput (ops/s),Latency (ms)");
    assert!(lines.next().unwrap().unwrap().contains(','));
    assert!(lines.next().unwrap().unwrap().contains(','));
    drop(lines);
    assert!(child.wait().unwrap().success(), "nobody reads any more, which is no fault");
}

#[test]
fn refuses_bad_numbers_on_one_line() {
    for (args, word) in [
        (&["stress"][..], "SECONDS"),
        (&["stress", "0"], "SECONDS"),
        (&["stress", "-1"], "SECONDS"),
        (&["stress", "abc"], "SECONDS"),
        (&["stress", "1.5"], "SECONDS"),
        (&["stress", ""], "SECONDS"),
        (&["stress", "99999999999999999999"], "SECONDS"),
        (&["analyze"], "N"),
        (&["analyze", "0"], "N"),
        (&["analyze", "-3"], "N"),
        (&["analyze", "three"], "N"),
        (&["analyze", "1001"], "N"),
        (&["stress", "1", "--target", "localhost:9999"], "--target"),
        (&["stress", "1", "--path", "health"], "--path"),
        (&["stress", "1", "--connections", "0"], "--connections"),
        (&["stress", "1", "--seed", "1"], "--simulate"),
        (&["analyze", "1", "--simulate", "--path", "/"], "--path"),
    ] {
        let output = output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "");
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn analyze_runs_as_many_processes_as_it_was_told() {
    let runs: Vec<(usize, Child)> = (1..=5)
        .map(|processes| (processes, arena(&["analyze", &processes.to_string(), "--simulate"]).spawn().unwrap()))
        .collect();
    for (processes, child) in runs {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(stderr(&output), "");
        let report = stdout(&output);
        let lines: Vec<&str> = report.split('\n').collect();
        let beginnings = [
            "Average Throughput = ",
            "Average Latency = ",
            "Max throughput = ",
            "Max latency = ",
            "Min throughput = ",
            "Min latency = ",
            "Throughput 95th percentile = ",
            "Latency 95th percentile = ",
        ];
        for (index, beginning) in beginnings.into_iter().enumerate() {
            let ending = if index % 2 == 0 && index < 7 && !beginning.contains("atency") { " ops/s" } else { "ms" };
            assert!(lines[index].starts_with(beginning) && lines[index].ends_with(ending), "{}", lines[index]);
        }
        assert_eq!(lines[8], format!("{processes} processes run in total"));
        assert_eq!(pids(&report).len(), processes);
        assert_eq!(&lines[9 + processes..], ["", ""], "one blank line at the end");

        let took = took(&report);
        assert_eq!(took.len(), processes);
        assert!(took.is_sorted());
        for (index, seconds) in took.iter().enumerate() {
            assert!(*seconds >= (index + 2) as f64, "{took:?}");
        }
    }
}

#[test]
fn a_seed_makes_the_figures_of_a_simulation_repeatable() {
    let figures = |seed: &str| -> Vec<String> {
        let report = stdout(&output(&["analyze", "2", "--simulate", "--seed", seed]));
        report.lines().take(9).map(str::to_owned).collect()
    };
    let first = figures("7");
    assert_eq!(first.len(), 9);
    assert_eq!(first, figures("7"));
    assert_ne!(first, figures("8"));
}

#[test]
fn a_killed_stress_process_is_reported_by_pid() {
    let analyze = arena(&["analyze", "3", "--simulate"]).spawn().unwrap();
    let victim = children(&analyze, 1)[0];
    kill(victim, Signal::SIGKILL).unwrap();
    let output = analyze.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), format!("arena: stress process {victim} was killed by signal 9 (SIGKILL)\n"));
    let report = stdout(&output);
    assert!(report.contains("\n2 processes run in total\n"), "{report}");
    assert!(!report.contains(&format!("pid: {victim} ")), "{report}");
}

#[test]
fn without_any_process_that_ended_well_there_are_no_figures() {
    let analyze = arena(&["analyze", "1", "--simulate"]).spawn().unwrap();
    let victim = children(&analyze, 1)[0];
    kill(victim, Signal::SIGTERM).unwrap();
    let output = analyze.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert_eq!(stderr(&output), format!("arena: stress process {victim} was killed by signal 15 (SIGTERM)\n"));
}

#[test]
fn an_interrupted_analyze_ends_its_stress_processes() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let analyze = arena(&["analyze", "100", "--simulate"]).spawn().unwrap();
        // The last may not be the stress program yet, and a start waits until it is.
        let stress = children(&analyze, 4)[..3].to_vec();
        // A stopped process cannot end by itself, as it would for want of a reader.
        stress.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
        kill(Pid::from_raw(analyze.id() as i32), signal).unwrap();
        let output = analyze.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        assert_eq!(stderr(&output), "arena: interrupted; the stress processes were ended\n");
        let outlived: Vec<Pid> = stress.into_iter().filter(|pid| !ends_soon(*pid)).collect();
        outlived.iter().for_each(|pid| kill(*pid, Signal::SIGKILL).unwrap());
        assert_eq!(outlived, []);
    }
}

#[test]
fn measures_the_mix_on_the_people_api() {
    for vocabulary in ["users", "pessoas"] {
        let people = People::start(vocabulary, None);
        let output = output(&["stress", "2", "--target", &people.url(), "--vocabulary", vocabulary]);
        assert!(output.status.success(), "{output:?}");
        let rows = rows::<f64>(&stdout(&output));
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|(throughput, _)| *throughput > 0), "{rows:?}");
        let seen = people.seen();
        assert!(seen.created > 0 && seen.fetched > 0 && seen.searched > 0, "{seen:?}");
        assert_eq!(seen.refused, 0);
        assert_eq!(seen.connections, 5, "four that stay open, and one that looks whether anybody is there");
    }
}

/// A server that answers whatever comes after 300 ms. Its threads end with the test.
fn slow_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = |mut stream: TcpStream| {
        while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
            std::thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

#[test]
fn the_first_row_says_as_much_as_the_others() {
    let url = slow_server();
    let output = output(&["stress", "3", "--target", &url, "--path", "/"]);
    assert!(output.status.success(), "{output:?}");
    let csv = stdout(&output);
    let rows = rows::<f64>(&csv);
    // Four connections cannot have more than 13 answers a second, each of which takes 300 ms.
    assert!(rows.iter().all(|(throughput, latency)| (1..=13).contains(throughput) && *latency >= 300.0), "{rows:?}");
    let latencies = csv.split("\r\n").skip(1).filter_map(|row| row.split_once('.'));
    assert_eq!(latencies.filter(|(_, decimals)| decimals.len() == 2).count(), 3, "{csv}");

    let output = self::output(&["analyze", "1", "--target", &url, "--path", "/"]);
    let report = stdout(&output);
    let figure = |name: &str| {
        let rest = report.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        rest.trim_end_matches(" ops/s").trim_end_matches("ms").to_owned()
    };
    for name in ["Average Latency = ", "Min latency = ", "Max latency = ", "Latency 95th percentile = "] {
        let (whole, decimals) = figure(name).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(whole.parse::<u64>().unwrap() >= 300 && decimals.len() == 2, "{report}");
    }
    assert!(figure("Min throughput = ").parse::<u64>().unwrap() >= 1, "{report}");
}

#[test]
fn measures_any_path() {
    let people = People::start("users", None);
    let output = output(&["analyze", "1", "--target", &people.url(), "--path", "/users-count?x", "--connections", "2"]);
    assert!(output.status.success(), "{output:?}");
    let seen = people.seen();
    assert!(seen.counted > 0);
    assert_eq!(seen.created + seen.fetched + seen.searched + seen.refused, 0);
    assert_eq!(seen.connections, 4);
}

#[test]
fn failed_requests_are_no_throughput_and_tell_in_the_exit_status() {
    let people = People::start("users", Some(503));
    let output = output(&["stress", "1", "--target", &people.url()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(rows::<f64>(&stdout(&output)).iter().all(|(throughput, _)| *throughput == 0));
    let said = stderr(&output);
    assert!(said.contains("requests failed; the first: POST /users: 503 Service Unavailable instead of 201"), "{said}");

    let output = self::output(&["analyze", "1", "--target", &people.url()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("Average Throughput = 0 ops/s\n"));
    let pid = pids(&stdout(&output)).into_iter().next().unwrap();
    assert!(stderr(&output).starts_with(&format!("arena: stress process {pid} failed: ")), "{output:?}");
}

#[test]
fn a_target_that_answers_nothing_is_no_success() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let output = output(&["stress", "1", "--target", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(matches!(rows::<f64>(&stdout(&output))[..], [(0, waited)] if waited > 0.0), "{output:?}");
    assert_eq!(stderr(&output), "arena: the target answered no request\n");
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let mut analyze = arena(&["analyze", "1", "--simulate"]).spawn().unwrap();
    drop(analyze.stdout.take());
    let output = analyze.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(&output), "");
}

#[test]
fn says_how_to_start_what_is_not_there() {
    let people = People::start("users", None);
    let url = people.url();
    drop(people);
    for args in [["stress", "1", "--target", &url], ["analyze", "2", "--target", &url]] {
        let output = output(&args);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("`cargo arena up`") && said.contains(&url), "{said}");
    }
}
