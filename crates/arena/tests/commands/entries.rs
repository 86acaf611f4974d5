//! Entries of the contest against a real Docker engine: an honest one, those who lie or take too much, and each way to fail.
//!
//! Where no engine answers, or it has not the base images of the entries, the tests say so and try nothing, unless
//! `ARENA_REQUIRE_DOCKER=1`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Images that most entries here are made from.
const IMAGES: [&str; 3] = ["python:3.12-slim", "postgres:15", "nginx:latest"];

/// A short bout that an entry in Python can hold on a machine that does other things beside it.
const SHORT: [&str; 4] = ["--quick", "--rate-factor", "0.2", "--json"];

#[test]
fn entries_are_judged_by_what_they_did_and_leave_nothing() {
    let Some(_engine) = engine() else { return };
    let before = all_of_docker();

    let run = judged(&fight(&entry("honest"), &SHORT), "clean", 0);
    assert_eq!(run["people"]["stored"], run["people"]["ceiling"]);
    assert_eq!(run["label"], "honest");
    let observed: Vec<&str> =
        run["services"].as_array().unwrap().iter().filter_map(|cost| cost["service"].as_str()).collect();
    assert_eq!(observed, ["api1", "api2", "db", "nginx"]);
    assert!(run["verdict"]["unchecked"].to_string().contains("database is out of reach"), "{run}");

    let run = judged(&fight(&entry("forgetful"), &SHORT), "failed", 1);
    assert!(run["people"]["stored"].as_u64() < run["people"]["ceiling"].as_u64(), "{run}");
    assert!(run["requests"].as_array().unwrap().iter().all(|kind| kind["failures"] == serde_json::json!({})), "{run}");

    let run = judged(&fight(&entry("greedy"), &SHORT), "over-budget", 1);
    let is_invalid = run["verdict"]["outcome"] == "invalid";
    assert!(is_invalid || run["verdict"]["reasons"][0].as_str().unwrap().contains("2.4 CPUs and 3.5 GiB"), "{run}");

    assert_eq!(all_of_docker(), before);
}

#[test]
fn caches_own_networks_and_the_machines_network_are_observed_held_to_the_budget_and_leave_nothing() {
    let images = [&IMAGES[..], &["node:20", "golang:1.24", "redis:latest", "debian:trixie-slim"]].concat();
    let Some(_engine) = engine_with(&images) else { return };
    let before = all_of_docker();
    for (name, limits) in [
        (
            "cached",
            serde_json::json!([
                ["api01", 0.25, 322_122_547],
                ["api02", 0.25, 322_122_547],
                ["cache", 0.1, 214_748_364],
                ["db", 0.7, 2_147_483_648_u64],
                ["proxy", 0.2, 209_715_200],
            ]),
        ),
        ("hosted", serde_json::json!([["api", 1.0, 1_610_612_736], ["cache", 0.5, 1_610_612_736]])),
    ] {
        let run = judged(&fight(&entry(name), &SHORT), "clean", 0);
        assert_eq!(run["people"]["stored"], run["people"]["ceiling"], "{run}");
        let told = run["budget"].as_array().unwrap().iter();
        let told: Vec<_> =
            told.map(|limit| serde_json::json!([limit["service"], limit["cpus"], limit["memory_bytes"]])).collect();
        assert_eq!(Value::from(told), limits);
        // Each is observed under the limits that it was given, which the kernel's accounts tell of.
        let services = run["services"].as_array().unwrap();
        let observed: Vec<&Value> = services.iter().map(|cost| &cost["service"]).collect();
        assert_eq!(observed, limits.as_array().unwrap().iter().map(|limit| &limit[0]).collect::<Vec<_>>());
        assert!(
            services.iter().all(|cost| cost["cpu_seconds"].as_f64() > Some(0.0) && cost["periods"].as_u64() > Some(0)),
            "{services:?}"
        );
    }
    assert_eq!(all_of_docker(), before);
}

#[test]
fn each_fault_of_an_entry_is_told_with_its_last_words_and_leaves_nothing() {
    let Some(_engine) = engine() else { return };
    let before = all_of_docker();
    for (compose, dockerfile, told) in [
        ("services: {api: {build: .}}", "FROM python:3.12-slim\nRUN echo no way forward && false", "no way forward"),
        ("services: {api: {image: 'python:3.12-slim', command: python -m http.server 80}}", "", "no HTTP within 3 s"),
        (
            "services: {api: {image: 'python:3.12-slim', command: sh -c 'echo cannot go on; exit 3'}}",
            "",
            "every service ended before http://127.0.0.1:9999 answered\n  api | cannot go on",
        ),
        (
            "services: {api: {image: 'python:3.12-slim', ports: ['9999:80'], working_dir: /srv, \
             command: sh -c 'echo many > contagem-pessoas; exec python -m http.server 80'}}",
            "",
            "answers \"many\\n\", which is no number\n  api | ",
        ),
        ("services: {api: {image: 'python:3.12-slim', depends_on: [nobody]}}", "", "nobody"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("docker-compose.yml"), compose).unwrap();
        fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        let output = fight(folder.path(), &["--wait", "3"]);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{compose}: {}", said(&output));
        assert!(said(&output).contains(told), "{compose}: {}", said(&output));
    }
    assert_eq!(all_of_docker(), before);
}

#[test]
fn a_service_that_is_killed_in_mid_bout_is_told_of() {
    let Some(_engine) = engine() else { return };
    let folder = tempfile::tempdir().unwrap();
    let hungry = "import http.server\n\
                  class Handler(http.server.BaseHTTPRequestHandler):\n    \
                      kept = []\n    \
                      def do_GET(self):\n        \
                          self.kept.append(bytearray(b'x' * 2_000_000))\n        \
                          self.send_response(200); self.end_headers(); self.wfile.write(b'0')\n    \
                      do_POST = do_GET\n\
                  http.server.ThreadingHTTPServer(('', 80), Handler).serve_forever()\n";
    fs::write(folder.path().join("hungry.py"), hungry).unwrap();
    let compose = "services: {api: {image: 'python:3.12-slim', ports: ['9999:80'], volumes: ['./hungry.py:/hungry.py:ro'], \
                   command: python /hungry.py, mem_limit: 60m, memswap_limit: 60m, cpus: 1}}";
    fs::write(folder.path().join("compose.yml"), compose).unwrap();
    let output = fight(folder.path(), &SHORT);
    let reasons = document(&output)["verdict"]["reasons"].to_string();
    assert!(reasons.contains("api was killed: its memory did not suffice") && reasons.contains("api | "), "{reasons}");
}

/// Twelve seconds' requests wait at once, which takes more files than Docker's proxy may have open where nobody saw to that.
#[test]
fn a_crowd_that_waits_is_not_turned_away_on_its_way() {
    let Some(_engine) = engine() else { return };
    let folder = tempfile::tempdir().unwrap();
    let patient = "import asyncio\n\
                   async def serve(reader, writer):\n    \
                       head = await reader.readuntil(b'\\r\\n\\r\\n')\n    \
                       counts = b'contagem' in head\n    \
                       await asyncio.sleep(0 if counts else 12)\n    \
                       writer.write(b'HTTP/1.1 ' + (b'200' if counts else b'422') + b' -\\r\\nContent-Length: 1\\r\\n\\r\\n0')\n    \
                       await writer.drain(); writer.close()\n\
                   async def main():\n    \
                       await (await asyncio.start_server(serve, '0.0.0.0', 80, backlog=8192)).serve_forever()\n\
                   asyncio.run(main())\n";
    fs::write(folder.path().join("patient.py"), patient).unwrap();
    let compose = "services: {api: {image: 'python:3.12-slim', ports: ['9999:80'], volumes: ['./patient.py:/patient.py:ro'], \
                   command: python /patient.py, mem_limit: 1g, cpus: 1.5}}";
    fs::write(folder.path().join("compose.yml"), compose).unwrap();
    let run = document(&fight(folder.path(), &["--quick", "--json"]));
    let requests = run["requests"].as_array().unwrap();
    assert!(requests.iter().filter_map(|kind| kind["count"].as_u64()).sum::<u64>() > 5000, "{requests:?}");
    let failures: Vec<&String> =
        requests.iter().flat_map(|kind| kind["failures"].as_object().unwrap().keys()).collect();
    assert!(failures.iter().all(|failure| failure.contains("status")), "{failures:?}");
}

#[test]
fn a_league_ranks_all_and_goes_on_where_it_was_interrupted() {
    let Some(_engine) = engine() else { return };
    let before = all_of_docker();
    let runs = tempfile::tempdir().unwrap();
    let broken = runs.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("compose.yml"), "services: {api: {image: 'python:3.12-slim', command: 'false'}}").unwrap();
    let league = |more: &[&str]| {
        let mut command = arena(&["league"]);
        command
            .args([&entry("forgetful"), &broken, &entry("honest")])
            .args(["--quick", "--rate-factor", "0.1"])
            .args(more);
        command.env("ARENA_RUNS", runs.path());
        command
    };
    let mut interrupted = league(&[]).spawn().unwrap();
    let leagues = runs.path().join("leagues");
    let bouts = || {
        let file =
            fs::read_dir(&leagues).ok()?.flatten().find(|file| file.path().extension().is_some_and(|e| e == "json"))?;
        let league: Value = serde_json::from_str(&fs::read_to_string(file.path()).ok()?).ok()?;
        Some(league["bouts"].as_array()?.len())
    };
    while bouts().is_none_or(|bouts| bouts < 2) {
        assert!(interrupted.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(Command::new("kill").args(["-TERM", &interrupted.id().to_string()]).status().unwrap().success());
    assert_eq!(interrupted.wait().unwrap().code(), Some(1));

    let output = league(&["--json"]).output().unwrap();
    assert!(said(&output).contains("going on after 2 bouts"), "{}", said(&output));
    let league = document(&output);
    assert_eq!(league["ranking"], serde_json::json!(["honest", "forgetful", "broken"]));
    assert!(league["bouts"][1]["reason"].as_str().unwrap().contains("every service ended"), "{league}");
    let page = leagues.join(format!("{}.html", league["id"].as_str().unwrap()));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("Ranking") && page.find("honest") < page.find("forgetful"));
    assert_eq!(all_of_docker(), before);
}

#[test]
fn what_is_no_entry_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for words in [&["fight", "--entry"][..], &["league"]] {
        let output = arena(words).arg(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("there is no compose.yaml"), "{}", said(&output));
    }
}

fn entry(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/entries").join(name)
}

fn arena(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.args(words);
    command
}

fn fight(folder: &Path, words: &[&str]) -> Output {
    let runs = tempfile::tempdir().unwrap();
    arena(&["fight", "--entry"]).arg(folder).args(words).env("ARENA_RUNS", runs.path()).output().unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

/// The run, which must have this outcome and exit status. Beside other work the generator may be late: that says nothing of
/// the entry, and the verdict says so.
fn judged(output: &Output, outcome: &str, status: i32) -> Value {
    let run = document(output);
    let found = run["verdict"]["outcome"].as_str().unwrap();
    let expected = match found {
        "invalid" => 98,
        "suspect" if outcome == "clean" => 0,
        _ => {
            assert_eq!(found, outcome, "{}\n{}", run["verdict"], said(output));
            status
        }
    };
    assert_eq!(output.status.code(), Some(expected), "{}", said(output));
    run
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Containers, volumes, networks and images by name.
fn all_of_docker() -> Vec<String> {
    let lists: [&[&str]; 4] = [
        &["ps", "--all", "--format", "{{.Names}}"],
        &["volume", "ls", "--quiet"],
        &["network", "ls", "--format", "{{.Name}}"],
        &["image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"],
    ];
    let list =
        |words: &&[&str]| String::from_utf8(Command::new("docker").args(*words).output().unwrap().stdout).unwrap();
    lists.iter().map(list).collect()
}

fn engine() -> Option<MutexGuard<'static, ()>> {
    engine_with(&IMAGES)
}

/// The engine, for one test at a time: all entries publish the same port.
fn engine_with(images: &[&str]) -> Option<MutexGuard<'static, ()>> {
    static ENGINE: Mutex<()> = Mutex::new(());
    let works =
        |words: &[&str]| Command::new("docker").args(words).output().is_ok_and(|output| output.status.success());
    let there = works(&["compose", "version"]) && images.iter().all(|image| works(&["image", "inspect", image]));
    let required = std::env::var_os("ARENA_REQUIRE_DOCKER").is_some_and(|value| value == "1");
    assert!(there || !required, "no Docker engine with {images:?} answers");
    if !there {
        eprintln!("not tried: no Docker engine with {images:?} answers");
    }
    there.then(|| ENGINE.lock().unwrap_or_else(PoisonError::into_inner))
}
