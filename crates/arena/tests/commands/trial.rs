//! `arena trial` from outside: what it refuses before it starts anything, and that it leaves nothing behind.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

struct Trial {
    directory: TempDir,
}

impl Trial {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("as-it-is.yml"), "services: {}\n").unwrap();
        Self { directory }
    }

    fn arena(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.arg("trial").arg("--data").arg(self.directory.path().join("data")).args(words);
        command.env("ARENA_RUNS", self.directory.path());
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn overlay(&self) -> String {
        self.directory.path().join("as-it-is.yml").to_str().unwrap().to_owned()
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let trial = Trial::new();
    let overlay = trial.overlay();
    for words in [
        &["/nowhere.yml"][..],
        &[&overlay, "--against", &overlay],
        &[&overlay, "--rounds", "0"],
        &[&overlay, "--port", "65535"],
        &[&overlay, "--", "--rate", "nan"],
        &[&overlay, "--", "--port", "9999"],
        &[&overlay, "--", "--bogus"],
    ] {
        let output = trial.arena(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{words:?}: {said}");
        assert!(!trial.directory.path().join("data").exists(), "{words:?} started something");
    }
}

#[test]
fn a_wish_to_end_is_handed_on_and_the_stack_is_taken_down() {
    let trial = Trial::new();
    let arena = trial.arena(&[&trial.overlay(), "--port", "24800"]).spawn().unwrap();
    assert!(has_child_soon(&arena), "{:?}", arena.wait_with_output());
    kill(Pid::from_raw(arena.id().cast_signed()), Signal::SIGTERM).unwrap();

    let output = arena.wait_with_output().unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with(": interrupted\n"), "{said}");
    let status = Command::new(env!("CARGO_BIN_EXE_arena"))
        .args(["status", "--data"])
        .arg(trial.directory.path().join("data"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).starts_with("Nothing runs."), "{status:?}");
}

fn has_child_soon(parent: &Child) -> bool {
    let path = format!("/proc/{0}/task/{0}/children", parent.id());
    (0..1_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        fs::read_to_string(&path).is_ok_and(|children| !children.is_empty())
    })
}
