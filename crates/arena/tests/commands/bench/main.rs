//! `arena bench` from outside: the real command against a real server that misbehaves as it is told.

#![allow(clippy::unwrap_used, clippy::panic)]

mod liars;
mod server;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use arena::record::run::{Outcome, Requests, Run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server::{Fault, Server};
use tempfile::TempDir;

/// A second of load against a server, with the small files of the repository.
struct Bench {
    command: Command,
    runs: TempDir,
}

impl Bench {
    fn against(server: &Server) -> Self {
        Self::at(server.address)
    }

    fn at(address: SocketAddr) -> Self {
        let resources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gatling/resources/small");
        Self::sending(address, &resources.join("users-payloads.tsv"))
    }

    fn sending(address: SocketAddr, payloads: &Path) -> Self {
        let runs = TempDir::new().unwrap();
        let resources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gatling/resources/small");
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.env("ARENA_RUNS", runs.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The machine that runs the tests may be as slow as it likes.
        command.args(["bench", "--json", "--max-lag", "60000", "--url", &format!("http://{address}")]);
        command.arg("--payloads").arg(payloads);
        command.arg("--terms").arg(resources.join("search-terms.tsv"));
        Self { command, runs }
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    fn output(mut self) -> Ended {
        Ended { output: self.command.output().unwrap(), runs: self.runs }
    }

    /// The load of most tests.
    fn shortly(self) -> Ended {
        self.with(&["--rate", "200", "--seconds", "1"]).output()
    }
}

struct Ended {
    output: Output,
    runs: TempDir,
}

impl Ended {
    fn status(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn run(&self) -> Run {
        let stderr = String::from_utf8_lossy(&self.output.stderr);
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }
}

fn kind<'a>(run: &'a Run, name: &str) -> &'a Requests {
    run.requests.iter().find(|requests| requests.kind == name).unwrap()
}

/// The server did everything right. Whether the driver was in time is the machine's affair.
fn assert_clean(run: &Run) {
    assert!(matches!(run.verdict().outcome, Outcome::Clean | Outcome::Suspect), "{:?}", run.verdict());
    assert_eq!(run.failed(), 0);
}

fn failures(run: &Run, name: &str) -> BTreeMap<String, u64> {
    kind(run, name).failures.clone()
}

/// What a run tells when every fetch fails for one reason, and nothing else does.
fn assert_every_fetch_fails(fault: Fault, reason: &str) -> Run {
    let ended = Bench::against(&Server::start(fault)).with(&["--timeout", "1"]).shortly();
    let run = ended.run();
    assert_eq!(ended.status(), 1, "{:?}", run.verdict());
    assert_eq!(run.verdict().outcome, Outcome::Failed);
    assert_eq!(failures(&run, "fetch"), BTreeMap::from([(reason.to_owned(), kind(&run, "fetch").count)]));
    assert_eq!(run.failed(), kind(&run, "fetch").count, "{:?}", run.verdict());
    run
}

#[test]
fn a_right_server_is_clean() {
    let server = Server::start(Fault::None);
    let ended = Bench::against(&server).shortly();
    let run = ended.run();
    assert_clean(&run);
    assert_eq!(ended.status(), 0);
    assert_eq!(
        [kind(&run, "create").count, kind(&run, "search").count, kind(&run, "invalid-search").count],
        [162, 27, 11]
    );
    let people = run.people().unwrap();
    assert_eq!((people.stored, people.acknowledged), (people.ceiling, Some(people.ceiling)));
    assert_eq!(kind(&run, "fetch").count, people.stored);
    assert_eq!(kind(&run, "create").statuses[&201], people.stored);
    let generator = run.generator.as_ref().unwrap();
    // Searches for some of those who were stored come after the load.
    let searched = server.requests() - generator.sent;
    assert!(searched > 0 && generator.sent == generator.intended, "{generator:?}, {searched}");
    assert_eq!(
        run.verdict().unchecked,
        [
            "whether a 201 is on disk: the database is out of reach",
            "whether the services keep to the budget: not of each is it known what it may use"
        ]
    );
    let completed: u64 = run.series.requests.values().flat_map(|series| &series.completed).sum();
    assert_eq!(completed, run.requests.iter().map(|requests| requests.count).sum::<u64>());
    assert!(run.series.requests.values().all(|series| series.p99.len() == run.series.in_flight.len()));
}

#[test]
fn the_run_is_kept() {
    let ended = Bench::against(&Server::start(Fault::None)).shortly();
    let run = ended.run();
    let kept = std::fs::read(ended.runs.path().join(format!("{}.json", run.id))).unwrap();
    assert_eq!(serde_json::from_slice::<Run>(&kept).unwrap(), run);
}

#[test]
fn connections_can_be_kept() {
    let server = Server::start(Fault::None);
    let ended = Bench::against(&server).with(&["--keep-alive"]).shortly();
    assert_clean(&ended.run());
    assert!(server.connections() < 200, "{}", server.connections());
}

#[test]
fn a_wrong_status_is_counted() {
    let run = assert_every_fetch_fails(Fault::Status, "status 500");
    assert_eq!(kind(&run, "fetch").statuses, BTreeMap::from([(500, kind(&run, "fetch").count)]));
}

#[test]
fn a_slow_answer_is_slow_in_both_times() {
    let run = Bench::against(&Server::start(Fault::Slow(300))).shortly().run();
    assert_clean(&run);
    let fetch = kind(&run, "fetch");
    assert!(fetch.response.p50 >= 300.0 && fetch.service.unwrap().p50 >= 300.0, "{fetch:?}");
}

#[test]
fn what_the_driver_sends_late_is_late_for_the_user_and_not_the_servers_fault() {
    let server = Server::start(Fault::None);
    let mut bench = Bench::against(&server).with(&["--rate", "100", "--seconds", "3"]);
    let child = bench.command.spawn().unwrap();
    while server.requests() < 20 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let driver = Pid::from_raw(child.id() as i32);
    kill(driver, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    kill(driver, Signal::SIGCONT).unwrap();
    let run = Ended { output: child.wait_with_output().unwrap(), runs: bench.runs }.run();

    // A third of the users came while nobody sent, and they waited for half a second on average.
    let create = kind(&run, "create");
    let (response, service) = (create.response, create.service.unwrap());
    assert!(response.p95 >= 500.0 && service.p75 < response.p95 / 2.0, "{response:?} {service:?}");
    assert!(run.generator.as_ref().unwrap().send_lag_p99 >= 500.0);
    assert_eq!(run.verdict().outcome, Outcome::Suspect, "{:?}", run.verdict());
}

#[test]
fn no_answer_is_a_timeout() {
    let run = assert_every_fetch_fails(Fault::Mute, "timed out");
    assert!(kind(&run, "fetch").response.p50 >= 1000.0);
}

#[test]
fn requests_in_flight_are_those_that_are_sent_and_not_answered() {
    let run = Bench::against(&Server::start(Fault::Mute)).with(&["--timeout", "4"]).shortly().run();
    let fetches = kind(&run, "fetch").count;
    // The load lasts a second, and nobody gives up before the fourth.
    assert_eq!((run.series.in_flight[1], run.series.in_flight[2]), (fetches, fetches));
    assert_eq!(run.series.in_flight.last(), Some(&0));
}

#[test]
fn a_valid_person_must_be_accepted() {
    let run = Bench::against(&Server::start(Fault::RefusesSome)).shortly().run();
    assert_eq!(failures(&run, "create").into_keys().collect::<Vec<_>>(), ["status 422 for a valid row"]);
    assert!(kind(&run, "create").failed() >= 10, "{:?}", kind(&run, "create"));
}

#[test]
fn closing_without_an_answer_is_told() {
    assert_every_fetch_fails(Fault::Close, "closed without an answer");
}

#[test]
fn a_fetch_whose_idle_connection_is_closed_is_sent_once_more() {
    let server = Server::start(Fault::ClosesIdle);
    // Without checks nobody searches for people after the load.
    let ended = Bench::against(&server).with(&["--no-checks"]).shortly();
    let run = ended.run();
    assert_clean(&run);
    assert_eq!(ended.status(), 0);
    let (fetches, generator) = (kind(&run, "fetch").count, run.generator.unwrap());
    assert!(fetches > 0);
    assert_eq!((generator.repeated, generator.sent), (fetches, generator.intended));
    assert_eq!(server.requests(), generator.sent, "nothing is sent a third time, and no create twice");
}

#[test]
fn a_create_is_not_sent_once_more() {
    let run = Bench::against(&Server::start(Fault::ClosesIdle)).with(&["--keep-alive"]).shortly().run();
    assert_eq!(failures(&run, "create").into_keys().collect::<Vec<_>>(), ["connection reset"]);
    let others: u64 = run.requests.iter().filter(|kind| kind.kind != "create").map(Requests::failed).sum();
    assert_eq!(others, 0, "{:?}", run.verdict());
}

#[test]
fn a_person_may_be_said_to_be_anywhere_that_leads_there() {
    for words in ["https://127.0.0.1/users/ID", "users/ID", "/users/ID/", "//127.0.0.1/users/ID#top"] {
        let ended = Bench::against(&Server::start(Fault::Locates(words))).shortly();
        let run = ended.run();
        assert_clean(&run);
        assert_eq!(Some(kind(&run, "fetch").count), run.people().unwrap().acknowledged, "{words}");
    }
}

#[test]
fn bytes_behind_an_answer_are_told() {
    let run = assert_every_fetch_fails(Fault::Excess, "bytes behind the answer");
    assert_eq!(kind(&run, "fetch").statuses, BTreeMap::from([(200, kind(&run, "fetch").count)]));
}

#[test]
fn closing_in_the_middle_is_told() {
    assert_every_fetch_fails(Fault::CloseInTheMiddle, "closed in the middle of an answer");
}

#[test]
fn what_is_no_http_is_told() {
    assert_every_fetch_fails(Fault::Garbage, "not HTTP");
}

#[test]
fn another_person_than_was_sent_is_told() {
    assert_every_fetch_fails(Fault::WrongPerson, "answer is not what was sent");
}

#[test]
fn chunks_and_interim_answers_are_understood() {
    for arguments in [&[][..], &["--keep-alive"]] {
        let run = Bench::against(&Server::start(Fault::Chunked)).with(arguments).shortly().run();
        assert_clean(&run);
    }
}

#[test]
fn a_server_may_close_after_each_answer() {
    for arguments in [&[][..], &["--keep-alive"]] {
        let server = Server::start(Fault::OneAnswerEach);
        let run = Bench::against(&server).with(arguments).shortly().run();
        assert_clean(&run);
        assert!(server.connections() >= server.requests() + 2, "{}", server.connections());
    }
}

#[test]
fn a_search_that_finds_too_much_is_told() {
    let run = Bench::against(&Server::start(Fault::WrongHit)).shortly().run();
    assert_eq!(failures(&run, "search"), BTreeMap::from([("answer has a person that does not match".to_owned(), 27)]));
}

#[test]
fn an_invalid_search_must_be_refused() {
    let server = Server::start(Fault::AcceptsAnySearch);
    let run = Bench::against(&server).shortly().run();
    assert_eq!(failures(&run, "invalid-search"), BTreeMap::from([("status 200".to_owned(), 11)]));
    let other = Bench::against(&server).with(&["--invalid-search-statuses", "2xx", "--no-count"]).shortly().run();
    assert!(failures(&other, "invalid-search").is_empty());
}

#[test]
fn creates_get_what_their_row_deserves() {
    let run = Bench::against(&Server::start(Fault::AcceptsAnyone)).shortly().run();
    assert_eq!(failures(&run, "create").into_keys().collect::<Vec<_>>(), ["status 201 instead of 400"]);
    let people = run.people().unwrap();
    assert!(people.stored > people.ceiling);

    let run = Bench::against(&Server::start(Fault::OtherRefusals)).shortly().run();
    let reasons = failures(&run, "create");
    assert!(reasons.contains_key("status 400 instead of 422"), "{reasons:?}");
    for lenient in ["--any-refusal", "--no-checks"] {
        let run = Bench::against(&Server::start(Fault::OtherRefusals)).with(&[lenient]).shortly().run();
        assert_clean(&run);
    }
}

#[test]
fn a_create_must_say_where() {
    let run = Bench::against(&Server::start(Fault::NoLocation)).shortly().run();
    assert_eq!(failures(&run, "create").into_keys().collect::<Vec<_>>(), ["no path in Location"]);
    assert!(run.requests.iter().all(|requests| requests.kind != "fetch"));
}

#[test]
fn lost_people_are_missed() {
    let run = Bench::against(&Server::start(Fault::Loses)).shortly().run();
    let people = run.people().unwrap();
    let lost = people.acknowledged.unwrap() - people.stored;
    assert_eq!(lost, people.acknowledged.unwrap().div_ceil(10));
    let reason = format!("{lost} people are lost: they were answered with 201 and are not stored");
    assert!(run.verdict().reasons.contains(&reason), "{:?}", run.verdict());
}

#[test]
fn thresholds_decide_the_exit_status() {
    let status =
        |arguments: &[&str]| Bench::against(&Server::start(Fault::Slow(50))).with(arguments).shortly().status();
    assert_eq!(status(&["--fail-on", "fetch.p99>40ms"]), 99);
    assert_eq!(status(&["--require", "fetch.service.p50<0.04s"]), 99);
    assert_eq!(status(&["--require", "db.cpu_seconds<1s"]), 99);
    assert_eq!(status(&["--fail-on", "crate.p99>1s"]), 99, "what cannot be told must not pass");
    assert_eq!(status(&["--fail-on", "failed>0", "--require", "fetch.count>10"]), 0);
}

#[test]
fn a_driver_that_runs_out_of_sockets_says_that_the_run_is_invalid() {
    let server = Server::start(Fault::Mute);
    let bench = Bench::against(&server).with(&["--rate", "200", "--seconds", "1", "--timeout", "1"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""])
        .arg(bench.command.get_program())
        .args(bench.command.get_args());
    limited.env("ARENA_RUNS", bench.runs.path());
    let ended = Ended { output: limited.output().unwrap(), runs: bench.runs };
    let run = ended.run();
    assert_eq!((ended.status(), run.verdict().outcome), (98, Outcome::Invalid), "{:?}", run.verdict());
    let generator = run.generator.as_ref().unwrap();
    assert!(generator.sent < generator.intended);
    assert!(run.verdict().reasons[0].ends_with("this machine ran out of sockets or ports"), "{:?}", run.verdict());
}

#[test]
fn a_ramp_ends_at_its_knee() {
    let server = Server::start(Fault::Slow(50));
    let ramp = ["--ramp", "100..300", "--step-seconds", "0.5", "--until", "create.count>60"];
    let ended = Bench::against(&server).with(&ramp).output();
    let run = ended.run();
    assert_clean(&run);
    assert_eq!(ended.status(), 0);
    let steps: Vec<_> = run.steps.iter().map(|step| (step.users_per_second, step.broken.len())).collect();
    assert_eq!(steps, [(100.0, 0), (200.0, 1)]);
    assert_eq!(run.steps[1].broken, ["create.count is 81"]);
    assert_eq!(kind(&run, "create").count, 41 + 81);
}

#[test]
fn a_step_that_does_not_tell_what_it_is_held_to_ends_the_ramp() {
    let server = Server::start(Fault::None);
    let broken = |until: &[&str], mix: &str| {
        let ramp = ["--ramp", "20..40", "--step-seconds", "0.5", "--mix", mix];
        let run = Bench::against(&server).with(&ramp).with(until).output().run();
        run.steps.into_iter().map(|step| step.broken).collect::<Vec<_>>()
    };
    let missing = |figure: &str| vec![vec![format!("this step does not tell {figure}")]];
    assert_eq!(broken(&["--until", "db.cpu_seconds>1s"], "1:1:1"), missing("db.cpu_seconds"));
    assert_eq!(broken(&["--until", "search.p99>10s"], "1:0:0"), missing("search.p99"));
    assert_eq!(broken(&[], "1:0:0"), vec![Vec::<String>::new(); 2], "nobody asked for searches");
}

/// A ramp past the knee of a server, which the fault has in each step.
fn past_the_knee(fault: Fault) -> Ended {
    let ramp = ["--ramp", "100..400", "--step", "x2", "--step-seconds", "0.5", "--past-knee", "--timeout", "1"];
    Bench::against(&Server::start(fault)).with(&ramp).output()
}

#[test]
fn past_the_knee_refusals_are_no_fault_and_goodput_is_told() {
    let ended = past_the_knee(Fault::RefusesInTime);
    let run = ended.run();
    assert!(matches!(run.verdict().outcome, Outcome::Clean | Outcome::Suspect), "{:?}", run.verdict());
    assert_eq!(ended.status(), 0);
    assert_eq!(run.settings.more["ramp"], "100 to 400 users/s, past the knee");
    let rates: Vec<f64> = run.steps.iter().map(|step| step.users_per_second).collect();
    assert_eq!(rates, [100.0, 200.0, 400.0], "it goes on though requests fail");
    for step in &run.steps {
        let goodput = step.goodput.as_ref().unwrap();
        let count: u64 = step.requests.iter().map(|requests| requests.count).sum();
        assert!(!step.broken.is_empty() && goodput.refused > 0, "{step:?}");
        assert_eq!((step.broken_down(), goodput.seconds), (0, 0.5));
        let successful = count - goodput.refused;
        assert!(goodput.per_second > 0.0 && goodput.per_second <= successful as f64 / 0.5, "{goodput:?}");
        assert!(goodput.response["fetch"].p99 > 0.0);
    }
    let refused = failures(&run, "fetch")["refused: status 503 with Retry-After"];
    assert_eq!(refused, run.steps.iter().map(|step| step.goodput.as_ref().unwrap().refused).sum::<u64>());
}

#[test]
fn past_the_knee_anything_else_is_a_fault() {
    for (fault, reason) in [
        (Fault::Close, "fetch: closed without an answer"),
        (Fault::Status, "fetch: status 500"),
        (Fault::WrongPerson, "fetch: answer is not what was sent"),
    ] {
        let ended = past_the_knee(fault);
        let run = ended.run();
        assert_eq!((ended.status(), run.verdict().outcome), (1, Outcome::Failed), "{fault:?}");
        assert!(run.verdict().reasons[0].ends_with(reason), "{:?}", run.verdict());
        assert!(run.steps.iter().all(|step| step.broken_down() > 0));
    }
}

#[test]
fn a_run_whose_people_cannot_be_counted_is_kept_and_says_so() {
    let ended = Bench::against(&Server::start(Fault::CannotCount)).shortly();
    let run = ended.run();
    assert_eq!((ended.status(), run.failed()), (1, 0));
    let reason = "cannot count people: GET /users-count answers with status 503";
    assert_eq!(run.verdict().reasons, [reason]);
    assert_eq!(run.people(), None);
    assert_eq!(std::fs::read_dir(ended.runs.path()).unwrap().count(), 1, "the document is kept");
}

#[test]
fn the_seconds_of_a_ramp_are_those_of_the_services_it_loads() {
    let server = Server::start(Fault::None);
    let ramp = ["--ramp", "20..60", "--step-seconds", "0.5", "--until", "failed>0"];
    let own = format!("server={}", std::process::id());
    let run = Bench::against(&server).with(&ramp).with(&["--observe", &own]).output().run();
    assert_clean(&run);
    assert_eq!(run.steps.len(), 3);
    let memory = &run.series.services["server"].memory_bytes;
    assert!(memory.len() >= 3 && memory.iter().all(|bytes| *bytes > 0), "{memory:?}");
}

#[test]
fn an_interrupt_ends_the_run_and_shows_what_there_is() {
    let server = Server::start(Fault::None);
    let mut bench = Bench::against(&server).with(&["--rate", "100", "--seconds", "600"]);
    let child = bench.command.spawn().unwrap();
    while server.requests() < 20 {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let ended = Ended { output: child.wait_with_output().unwrap(), runs: bench.runs };
    let run = ended.run();
    assert_eq!((ended.status(), run.verdict().outcome), (1, Outcome::Suspect), "{:?}", run.verdict());
    assert!(run.verdict().reasons.contains(&"stopped before its end".to_owned()));
    assert!(run.request_count() >= 20);
}

#[test]
fn response_times_can_be_had_as_an_interval_log() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("times.hlog");
    std::fs::write(&path, "what an earlier run left behind, ".repeat(10_000)).unwrap();
    let server = Server::start(Fault::None);
    let run = Bench::against(&server).with(&["--hdr-log", path.to_str().unwrap()]).shortly().run();
    let text = std::fs::read(&path).unwrap();
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for entry in IntervalLogIterator::new(&text) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, interval.encoded_histogram()).unwrap();
        let histogram: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        *counts.entry(interval.tag().unwrap().as_str().to_owned()).or_default() += histogram.len();
    }
    let expected: BTreeMap<_, _> = run.requests.iter().map(|kind| (kind.kind.clone(), kind.count)).collect();
    assert_eq!(counts, expected);
}

#[test]
fn what_is_observed_is_in_the_run() {
    let server = Server::start(Fault::None);
    let own = format!("server={}", std::process::id());
    let run = Bench::against(&server).with(&["--observe", &own]).shortly().run();
    assert_eq!(run.services[0].service, "server");
    assert!(run.services[0].memory_peak_bytes.unwrap() > 0);
    assert_eq!(run.series.services["server"].cpus.len(), run.series.in_flight.len());
}

#[test]
fn nobody_at_home_is_one_clear_line() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = Bench::at(gone).shortly();
    assert_eq!((ended.status(), ended.stderr().lines().count()), (1, 1), "{}", ended.stderr());
    assert!(ended.stderr().contains("cargo arena up"), "{}", ended.stderr());
    assert!(std::fs::read_dir(ended.runs.path()).unwrap().next().is_none());
}

#[test]
fn a_wrong_command_line_is_refused_in_one_line() {
    let server = Server::start(Fault::None);
    for arguments in [
        &["--rate", "0"][..],
        &["--rate", "many"],
        &["--rate", "5", "--ramp", "1..2"],
        &["--seconds", "5"],
        &["--ramp", "5..1"],
        &["--ramp", "5"],
        &["--ramp", "1,2", "--step", "1"],
        &["--ramp", "1..2", "--step", "x1"],
        &["--past-knee"],
        &["--over", "5"],
        &["--fail-on", "create.p99"],
        &["--fail-on", "create.p98>1ms"],
        &["--create-statuses", "nine"],
        &["--observe", "db"],
        &["--mix", "1:2"],
        &["--timeout", "0"],
        &["--mix", "1:1:1"],
        &["--ramp", "1..1e6", "--step", "1e-6"],
        &["--ramp", "1..2", "--until", "creat.p99>0ms"],
        &["--ramp", "1..2", "--until", "create.p98>0ms"],
        &["--people-path", "/a|b"],
        &["--search-parameter", "q q"],
        &["--observe", "db=999999999"],
        &["--hdr-log", "/nowhere/times.hlog"],
    ] {
        let ended = Bench::against(&server).with(arguments).output();
        assert_eq!((ended.status(), ended.stderr().lines().count()), (2, 1), "{arguments:?}: {}", ended.stderr());
    }
    assert_eq!(server.connections(), 0, "something was started");
}

#[test]
fn files_that_hold_nothing_to_send_are_refused_before_anything_starts() {
    let server = Server::start(Fault::None);
    let runs = TempDir::new().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for file in [manifest, "/nowhere"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.env("ARENA_RUNS", runs.path()).args(["bench", "--payloads", file, "--terms", file]);
        let output = command.args(["--url", &format!("http://{}", server.address)]).output().unwrap();
        let ended = Ended { output, runs: TempDir::new().unwrap() };
        assert_eq!((ended.status(), ended.stderr().lines().count()), (2, 1), "{}", ended.stderr());
    }
    assert_eq!(server.connections(), 0, "something was started");
}

#[test]
fn a_reader_that_leaves_does_not_end_it_in_a_panic() {
    let server = Server::start(Fault::None);
    let mut bench = Bench::against(&server).with(&["--rate", "20", "--seconds", "0.5"]);
    let mut child = bench.command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = Ended { output: child.wait_with_output().unwrap(), runs: bench.runs };
    assert_eq!(ended.status(), 0, "{}", ended.stderr());
    assert!(!ended.stderr().contains("panicked"), "{}", ended.stderr());
}
