//! `arena cluster` as a user types it. Only where its hosts may be made and its programs are installed is it tried.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arena::record::torment::History;
use arena::record::torment::report::Report;
use arena::stack::hosts::{Hosts, NODES, TOOLS};
use nix::unistd::Uid;

/// A machine has room for one.
static TURN: Mutex<()> = Mutex::new(());

/// Ends the cluster also where an assertion fails.
struct Turn {
    _turn: MutexGuard<'static, ()>,
}

impl Turn {
    fn take() -> Option<Self> {
        if let Err(refusal) = Hosts::ensure_allowed() {
            eprintln!("not tried: {refusal}");
            return None;
        }
        if let Some(missing) = TOOLS.into_iter().find(|tool| !tool.is_there()) {
            eprintln!("not tried: there is no {}", missing.name());
            return None;
        }
        let turn = Self { _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) };
        assert!(!is_anything_left(), "a cluster is there already");
        Some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = arena(&["cluster", "down"]).output();
    }
}

fn arena(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).args(words);
    command
}

fn output(words: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = arena(words).output().unwrap();
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn is_anything_left() -> bool {
    let links = Command::new("ip").args(["-brief", "link"]).output().unwrap().stdout;
    let namespaces = Command::new("ip").arg("netns").output().unwrap().stdout;
    let listed = String::from_utf8_lossy(&[links, namespaces].concat()).into_owned();
    let files = ["/run/peleja-cluster", "/var/tmp/peleja-cluster"];
    listed.lines().any(|line| line.starts_with("peleja")) || files.iter().any(|file| Path::new(file).exists())
}

/// Whether a connection from one host to another, cut off from it, is given up long before the kernel would.
fn gives_up_soon(one: &str, other: &str) -> bool {
    let hosts = Hosts::found().unwrap();
    let named = |name: &str| NODES.into_iter().find(|node| node.name == name).unwrap();
    let (from, to) = (named(one), named(other));
    hosts.cut(from, &[to]).unwrap();
    let connect = format!("exec 3<>/dev/tcp/{}/5432", to.address());
    let within = ["netns", "exec", &format!("peleja-{one}"), "timeout", "20", "bash", "-c", &connect];
    let status = Command::new("ip").args(within).stderr(Stdio::null()).status().unwrap();
    hosts.join(from, &[to]).unwrap();
    status.code() == Some(1)
}

#[test]
fn a_cluster_comes_up_serves_and_leaves_nothing() {
    let Some(_turn) = Turn::take() else { return };
    let (up, told) = output(&["cluster", "up", "--no-install"]);
    assert!(up, "{told}");
    assert!(told.contains("synchronous standby"), "{told}");
    let (whole, told) = output(&["cluster", "status"]);
    assert!(whole && told.contains("Whole"), "{told}");
    let person = r#"{"nickname":"ana","fullname":"Ana","dob":"1990-01-31"}"#;
    let url = format!("{}/users", Hosts::found().unwrap().url());
    let created = ureq::post(&url).content_type("application/json").send(person).unwrap();
    assert_eq!(created.status(), 201);
    assert!(gives_up_soon("pg1", "pg2"));
    let (again, told) = output(&["cluster", "up", "--no-install"]);
    assert!(!again && told.contains("there already"), "{told}");
    assert!(output(&["cluster", "down"]).0);
    assert!(!is_anything_left());
    assert_eq!(output(&["cluster", "down"]), (true, "There is no cluster.\n".to_owned()));
    assert!(!output(&["cluster", "status"]).0);
}

#[test]
fn what_a_crash_leaves_of_a_cluster_goes_too() {
    let Some(_turn) = Turn::take() else { return };
    let mut up = arena(&["cluster", "up", "--no-install"]).stdout(Stdio::null()).spawn().unwrap();
    while !Path::new("/var/tmp/peleja-cluster/pg2").exists() {
        assert!(up.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(is_anything_left());
    assert!(output(&["cluster", "down"]).0);
    assert!(!is_anything_left());
}

#[test]
fn a_planned_switchover_under_load_loses_and_doubles_nobody() {
    let Some(_turn) = Turn::take() else { return };
    let runs = tempfile::tempdir().unwrap();
    let mut torment = arena(&["torment", "--cluster", "--faults", "switchover", "--for", "5s", "--seed", "1"]);
    torment.args(["--clients", "20", "--json", "--no-install"]);
    let outcome = torment.env("ARENA_RUNS", runs.path()).output().unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}");
    let report: Report = serde_json::from_slice(&outcome.stdout).unwrap();
    assert!(report.passed && report.people > 0 && !report.effects.is_empty(), "{said}");
    let history = runs.path().join("torments").join(format!("{}.jsonl", report.header.id));
    let clients: BTreeSet<u16> = History::read(&history).unwrap().requests.iter().map(|one| one.client).collect();
    assert_eq!((report.header.clients, clients.len()), (20, 20));
    assert!(!is_anything_left());
}

#[test]
fn who_is_not_root_is_told_so() {
    if !Uid::effective().is_root() {
        let (done, told) = output(&["cluster", "up"]);
        assert!(!done && told.contains("only root may make"), "{told}");
        return;
    }
    // Nobody else may enter the folder that the program is in.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("arena");
    std::fs::copy(env!("CARGO_BIN_EXE_arena"), &program).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
    let output = Command::new(&program).args(["cluster", "down"]).uid(65534).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("only root may make"), "{told}");
}
