//! A class: the lab beside a stack, looked at, switched and emptied from the command line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use arena::stack::ports::free_port;
use serde_json::Value;

/// A stack of its own with a lab, which ends with this.
struct Class {
    folder: tempfile::TempDir,
    ports: Vec<(&'static str, u16)>,
}

impl Class {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("peleja-class-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let names = ["", "database", "blocking", "nonblocking", "forms", "resource"];
        let ports = names.map(|name| (name, free_port().unwrap())).to_vec();
        Self { folder, ports }
    }

    fn arena(&self, words: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.args(words).arg("--data").arg(self.folder.path().join("stack"));
        command.args(["--port", &self.port("").to_string(), "--database-port", &self.port("database").to_string()]);
        for (name, port) in &self.ports[2..] {
            command.env(format!("LAB_{}_PORT", name.to_uppercase()), port.to_string());
        }
        command.envs(environment.iter().copied()).output().unwrap()
    }

    fn said(&self, words: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.arena(words, environment);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn port(&self, name: &str) -> u16 {
        self.ports.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn get(&self, server: &str, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.port(server));
        ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap()
    }

    fn setting(&self, server: &str, name: &str) -> String {
        let document: Value = serde_json::from_str(&self.get(server, "/class.json")).unwrap();
        let settings = document["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["name"] == name).unwrap();
        setting["value"].as_str().unwrap().to_owned()
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        let _ = self.arena(&["down"], &[]);
    }
}

#[test]
fn a_class_is_opened_looked_at_switched_and_emptied() {
    let class = Class::new();
    let unguarded = class.arena(&["up", "--lab", "--lab-host", "0.0.0.0"], &[]);
    assert_eq!(unguarded.status.code(), Some(2), "{unguarded:?}");
    assert!(String::from_utf8_lossy(&unguarded.stderr).contains("LAB_WORD"), "{unguarded:?}");
    assert_eq!(class.arena(&["lab", "status"], &[]).status.code(), Some(1), "nothing runs");

    let word = ("LAB_WORD", "giz");
    let opened = class.said(&["up", "--lab", "--lab-host", "0.0.0.0"], &[word]);
    assert!(opened.contains("The lab is open"), "{opened}");
    let listening = Command::new("ss").args(["-Hltn"]).output().unwrap();
    let listening = String::from_utf8_lossy(&listening.stdout).into_owned();
    assert!(listening.contains(&format!("0.0.0.0:{}", class.port("forms"))), "{listening}");
    assert!(!listening.contains(&format!("0.0.0.0:{}", class.port("database"))), "{listening}");

    let again = class.said(&["up", "--lab"], &[word, ("LAB_LIMIT", "15"), ("LAB_QUERY_DELAY", "0")]);
    assert!(again.contains("LAB_LIMIT=15 changes nothing") && again.contains("arena lab set limit=15"), "{again}");
    assert!(!again.contains("LAB_QUERY_DELAY"), "it is so already: {again}");

    let refused = class.arena(&["lab", "set", "limit=15"], &[]);
    assert_eq!(refused.status.code(), Some(1), "without the word: {refused:?}");
    assert_eq!(class.setting("resource", "limit"), "");
    class.said(&["lab", "set", "limit=15", "query_delay=30", "work=40"], &[word]);
    assert_eq!((class.setting("resource", "limit"), class.setting("forms", "work")), ("15".into(), "40".into()));
    class.get("resource", "/part1/async?run=ana");
    let status = class.said(&["lab", "status"], &[]);
    for part in ["limit 15", "query_delay 30", "1, ", "workers 1"] {
        assert!(status.contains(part), "{part}: {status}");
    }

    assert_eq!(class.arena(&["lab", "reset"], &[]).status.code(), Some(1), "without the word");
    class.said(&["lab", "reset"], &[word]);
    assert_eq!(
        (class.setting("resource", "limit"), class.setting("blocking", "query_delay")),
        (String::new(), String::new())
    );
    assert_eq!(class.get("resource", "/runs.json"), "[]");
}

#[test]
fn what_cannot_be_switched_is_said_before_anything_is_asked() {
    let class = Class::new();
    for words in [&["lab", "set", "nothing=1"][..], &["lab", "set", "limit"], &["up", "--lab-host", "everywhere"]] {
        let output = class.arena(words, &[]);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{words:?}: {output:?}");
    }
}
