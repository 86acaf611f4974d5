//! The scarce resource, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::io::Read;
use std::process::Command;
use std::thread;

mod support;
use support::{Lab, eventually};

fn metric(lab: &Lab, name: &str) -> f64 {
    let text = lab.get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn uses(lab: &Lab) -> f64 {
    metric(lab, "lab_resource_uses")
}

#[test]
fn every_route_answers() {
    let lab = Lab::serve(&["resource", "--resource", "mock,printer=1"]);
    for (path, status, media_type, content) in [
        ("/", 200, "text/html", "Section 1 Examples"),
        ("/part1", 200, "text/html", "Concurrent Requests to Mock Resource"),
        ("/part1?resource=printer", 200, "text/html", "printer"),
        ("/part1/serial", 200, "text/plain", "OK"),
        ("/part1/async", 200, "text/plain", "OK"),
        ("/part1/async?resource=printer", 200, "text/plain", "OK"),
        ("/part1/async?resource=none", 404, "text/plain", "no resource"),
        ("/part2", 200, "text/html", "Enqueued Events"),
        ("/part2", 200, "text/html", "Concurrent Resource Usage"),
        ("/part2", 200, "text/html", "Average Processing Time (ms)"),
        ("/part2/genstage", 200, "text/plain", "OK"),
        ("/health", 200, "text/plain", "OK"),
        ("/metrics", 200, "text/plain; version=0.0.4", "lab_requests_total"),
        ("/assets/lab.css", 200, "text/css", ""),
        ("/assets/lab.js", 200, "text/javascript", ""),
        ("/nowhere", 404, "", ""),
    ] {
        let answer = lab.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.header("content-type").starts_with(media_type), "{path}: {answer:?}");
        assert!(answer.body.contains(content), "{path}: {answer:?}");
    }
    assert_eq!(lab.get("/part1/serial").body, "OK");
    assert_eq!(lab.post("/part1/serial", "", b"", &[]).status, 405);
}

#[test]
fn the_limit_turns_away_at_once_on_both_routes() {
    let lab = Lab::serve(&["resource", "--limit", "15"]);
    for _ in 0..15 {
        assert_eq!(lab.get("/part1/async").status, 200);
    }
    let held = uses(&lab);
    let refused = ["/part1/async", "/part1/serial"].map(|path| lab.get(path).status);
    // On a very slow machine the first use may be over by now.
    if held == 15.0 && uses(&lab) == 15.0 {
        assert_eq!(refused, [500, 500]);
    }
    eventually("the places come back", || uses(&lab) == 0.0);
    assert_eq!(lab.get("/part1/serial").status, 200);
}

#[test]
fn never_more_than_the_limit_however_many_come() {
    let lab = Lab::serve(&["resource", "--limit", "15"]);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let path = |index| if index % 2 == 0 { "/part1/serial" } else { "/part1/async" };
        let lab = &lab;
        let callers: Vec<_> = (0..60).map(|index| scope.spawn(move || lab.get(path(index)).status)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 500].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&500), "60 at once must be too many: {statuses:?}");
    let outcome: serde_json::Value = serde_json::from_str(&lab.get("/outcome").body).unwrap();
    assert!(outcome["peak_use"].as_f64().unwrap() <= 15.0, "{outcome}");
    eventually("the places come back", || uses(&lab) == 0.0);
}

#[test]
fn a_caller_who_goes_away_releases_once() {
    let lab = Lab::serve(&["resource", "--limit", "10"]);
    let callers: Vec<_> = (0..10).map(|_| lab.connect("GET /part1/serial HTTP/1.1\r\nhost: lab\r\n\r\n")).collect();
    eventually("all ten use it", || uses(&lab) == 10.0 || metric(&lab, "lab_requests_total") > 0.0);
    drop(callers);
    eventually("all ten are done", || uses(&lab) == 0.0);
    for _ in 0..2 {
        let statuses: Vec<u16> = (0..10).map(|_| lab.get("/part1/async").status).collect();
        assert_eq!(statuses, [200; 10], "each place came back once");
        eventually("all ten are done", || uses(&lab) == 0.0);
    }
}

#[test]
fn work_in_the_background_is_bounded() {
    let lab = Lab::serve(&["resource", "--max-background", "5", "--max-events", "5"]);
    let statuses = |path: &str, count| (0..count).map(|_| lab.get(path).status).collect::<Vec<_>>();
    let background = statuses("/part1/async", 30);
    assert!(background.contains(&503) && background.contains(&200), "{background:?}");
    let events = statuses("/part2/genstage", 30);
    assert!(events.contains(&503) && events.contains(&200), "{events:?}");
    assert_eq!(lab.get("/health").status, 200);
}

#[test]
fn http_1_0_connections_are_kept_alive() {
    let lab = Lab::serve(&["resource"]);
    for path in ["/part1/serial", "/part1/async"] {
        let request = format!("GET {path} HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: lab\r\n\r\n");
        let mut stream = lab.connect(&request);
        for _ in 0..2 {
            let mut answer = [0; 512];
            let length = stream.read(&mut answer).unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]).to_lowercase();
            assert!(answer.contains("connection: keep-alive") && answer.contains("content-length: 2"), "{answer}");
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        }
    }
}

#[test]
fn ab_with_keep_alive_succeeds_on_both_routes() {
    let lab = Lab::serve(&["resource"]);
    for (path, requests) in [("/part1/serial", "300"), ("/part1/async", "3000")] {
        let output = Command::new("ab")
            .args(["-q", "-k", "-n", requests, "-c", "50", &format!("{}{path}", lab.url)])
            .output()
            .expect("ab is installed (package apache2-utils)");
        let text = String::from_utf8_lossy(&output.stdout);
        let figure = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        assert!(output.status.success(), "{text}");
        assert_eq!(figure("Complete requests:").as_deref(), Some(requests), "{text}");
        assert_eq!(figure("Failed requests:").as_deref(), Some("0"), "{text}");
        assert_eq!(figure("Keep-Alive requests:").as_deref(), Some(requests), "{text}");
        assert_eq!(figure("Non-2xx responses:"), None, "{text}");
    }
}

#[test]
fn the_number_is_pushed_live_to_every_viewer() {
    let lab = Lab::serve(&["resource"]);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| lab.watch("/part1/live", |message| message["mean_use"].as_f64() > Some(2.0)));
        }
        // A browser opens six connections to a server: a page must not need two of them.
        scope.spawn(|| lab.watch("/part1/live", |message| message["in_use"].as_f64() > Some(2.0)));
        scope.spawn(|| lab.watch("/live", |message| message["in_use"].as_f64().unwrap() > 2.0));
        for _ in 0..40 {
            lab.get("/part1/async");
            thread::sleep(std::time::Duration::from_millis(50));
        }
    });
}

#[test]
fn a_signal_lets_the_requests_under_way_end() {
    let mut lab = Lab::serve(&["resource"]);
    let mut viewer = lab.connect("GET /live HTTP/1.1\r\nhost: lab\r\n\r\n");
    let mut stream = lab.connect("GET /part1/serial HTTP/1.1\r\nhost: lab\r\n\r\n");
    eventually("the use begins", || uses(&lab) == 1.0);
    lab.terminate();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("OK"), "{answer}");
    viewer.read_to_string(&mut String::new()).unwrap();
    assert!(lab.wait().success());
}

#[test]
fn wrong_options_end_it_with_one_line() {
    for (arguments, complaint) in [
        (&["resource", "--limit", "0"][..], "0"),
        (&["resource", "--resource", "a=b"], "whole number"),
        (&["resource", "--port", "x"], "--port"),
        (&["blocking", "--database-url", "nonsense"], "--database-url"),
        (&["blocking", "--threads", "0"], "--threads"),
        (&["nowhere"], "nowhere"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains(complaint), "{arguments:?}: {text}");
    }
}

#[test]
fn a_taken_port_is_said_in_one_line() {
    let lab = Lab::serve(&["resource"]);
    let port = lab.url.rsplit_once(':').unwrap().1;
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["resource", "--host", "127.0.0.1", "--port", port])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(port) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_limit_is_switched_while_it_runs_by_whoever_has_the_word() {
    let lab = Lab::serve(&["resource", "--word", "giz"]);
    let limit = |lab: &Lab| lab.get("/").body.matches("<td class=\"number\">1</td>").count();
    for said in ["", "&word=wrong"] {
        for path in ["/class/switch", "/class/reset"] {
            assert_eq!(lab.post_form(path, &format!("limit=1{said}")).status, 403, "{path} {said}");
        }
    }
    assert_eq!(limit(&lab), 0);
    assert_eq!(lab.post_form("/class/switch", "limit=1&word=giz&back=%2Fpart1").header("location"), "/part1");
    assert_eq!(limit(&lab), 1);
    assert_eq!(lab.get("/part1/async?run=ana").status, 200);
    assert_eq!(lab.get("/part1/async?run=ana").status, 500);
    assert_eq!(lab.post_form("/class/switch", "limit=x&word=giz").status, 422);
    assert_eq!(lab.post_form("/class/switch", "nothing=1&word=giz").status, 422);
    assert!(lab.get("/part1").body.contains("type=\"password\""), "the page asks for the word");
    assert_eq!(lab.post_form("/class/reset", "word=giz").status, 303);
    let document: serde_json::Value = serde_json::from_str(&lab.get("/class.json").body).unwrap();
    assert_eq!(
        (document["runs"].as_u64(), document["settings"][0]["value"].as_str()),
        (Some(0), Some("")),
        "{document}"
    );
}

#[test]
fn the_most_uses_at_once_are_those_of_the_run() {
    let lab = Lab::serve(&["resource", "--limit", "15"]);
    for round in 0..2 {
        let name = format!("/part1/async?run=round-{round}");
        for _ in 0..20 {
            lab.get(&name);
        }
        eventually("the places come back", || uses(&lab) == 0.0);
    }
    for round in 0..2 {
        let outcomes = lab.get(&format!("/outcomes?run=round-{round}")).body;
        let outcomes: serde_json::Value = serde_json::from_str(&outcomes).unwrap();
        let run = &outcomes["async"];
        let (peak, failed) = (run["peak_use"].as_f64().unwrap(), run["failed"].as_f64().unwrap());
        // On a very slow machine the first use may be over before the last begins.
        assert!(peak == 15.0 && failed == 5.0 || peak < 15.0 && failed < 5.0, "{run}");
    }
}

#[test]
fn thirty_at_once_have_thirty_runs() {
    let lab = Lab::serve(&["resource"]);
    thread::scope(|scope| {
        for person in 0..30 {
            let lab = &lab;
            scope.spawn(move || {
                for _ in 0..person + 1 {
                    assert_eq!(lab.get(&format!("/part1/async?run=person-{person}")).status, 200);
                }
            });
        }
    });
    for person in 0..30 {
        let outcomes: serde_json::Value =
            serde_json::from_str(&lab.get(&format!("/outcomes?run=person-{person}")).body).unwrap();
        let run = &outcomes["async"];
        assert_eq!((run["requests"].as_u64(), run["mixed"].as_bool()), (Some(person + 1), Some(false)), "{run}");
    }
    let all: serde_json::Value = serde_json::from_str(&lab.get("/outcome").body).unwrap();
    assert_eq!((all["requests"].as_u64(), all["parts"].as_u64()), (Some(465), Some(30)), "{all}");
}
