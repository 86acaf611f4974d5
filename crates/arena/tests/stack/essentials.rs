//! The essentials of the two commands on a machine with systemd and control groups of version 2, as `cargo arena test --guest`
//! runs them there: as an ordinary user, in a group that was handed to him, and as root. Elsewhere nothing is tried.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const ROOT: &str = "/sys/fs/cgroup";

struct Machine {
    checkout: PathBuf,
    is_root: bool,
}

impl Machine {
    /// The guest, if this is one.
    fn here() -> Option<(Self, String)> {
        let checkout = std::env::var_os("ESSENTIALS_CHECKOUT")?.into();
        let who = std::env::var("ESSENTIALS_AS").ok()?;
        Some((Self { checkout, is_root: who == "root" }, who))
    }

    fn arena(&self, words: &[&str]) -> Output {
        let mut command = Command::new(self.checkout.join("target/tool/arena"));
        command.args(words).current_dir(&self.checkout).output().unwrap()
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = self.arena(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.arena(&["down"]);
    }
}

#[test]
fn the_budget_holds_and_nothing_is_left() {
    let Some((machine, who)) = Machine::here() else {
        eprintln!("not tried here: `cargo arena test --guest` does");
        return;
    };
    let own = own_group();

    let doctor = machine.arena(&["doctor"]);
    let told = String::from_utf8(doctor.stdout).unwrap();
    print!("{told}");
    assert_eq!(doctor.status.code(), Some(1), "there is no JDK");
    assert!(told.contains("default-jdk-headless") && told.contains("ok       limits"), "{told}");

    print!("{}", machine.ok(&["up"]));
    let groups = groups_of_services();
    let status: Value = serde_json::from_str(&machine.ok(&["status", "--json"])).unwrap();
    let services = status["services"].as_array().unwrap();
    assert_eq!((services.len(), groups.len()), (4, 4), "{status} {groups:?}");
    for service in services {
        let group = &groups[service["service"].as_str().unwrap()];
        let quota = (service["cpus"].as_f64().unwrap() * 100_000.0).round();
        assert_eq!(read(group, "cpu.max"), format!("{quota} 100000"), "{service}");
        assert_eq!(read(group, "memory.max"), service["memory_bytes"].to_string(), "{service}");
        assert!(!read(group, "cgroup.procs").is_empty(), "{service}");
        match who.as_str() {
            "root" => assert_eq!(group.ancestors().nth(2), Some(Path::new(ROOT)), "at the top"),
            "delegate" => assert_eq!(group.ancestors().nth(2), Some(own.as_path()), "below ours"),
            _ => assert!(group.to_str().unwrap().contains("/app.slice/peleja-"), "{}", group.display()),
        }
    }

    let bench = machine.arena(&["bench", "--empty", "--rate", "10", "--seconds", "3", "--volatile", "--json"]);
    let run: Value = serde_json::from_slice(&bench.stdout).unwrap_or_else(|error| panic!("{error}: {bench:?}"));
    assert!(run["verdict"]["outcome"] != "no-budget" && run["verdict"]["outcome"] != "failed", "{}", run["verdict"]);
    for cost in run["services"].as_array().unwrap() {
        println!("{cost}");
        assert!(
            cost["cpu_seconds"].as_f64().unwrap() > 0.0 && cost["memory_peak_bytes"].as_u64().unwrap() > 0,
            "{cost}"
        );
        assert!(cost["periods"].as_u64().unwrap() > 0 && cost["disk_write_bytes"].is_u64(), "{cost}");
    }
    let written = run["services"].as_array().unwrap().iter().find(|cost| cost["service"] == "db").unwrap();
    assert!(written["disk_write_bytes"].as_u64().unwrap() > 0, "{written}");

    // As a crash leaves it: a part is dead, and nobody has put it in order.
    let dead = read(&groups["api1"], "cgroup.procs");
    assert!(Command::new("kill").args(["-9", dead.lines().next().unwrap()]).status().unwrap().success());
    machine.ok(&["up"]);
    assert!(machine.ok(&["down"]).contains("Ended"));
    let left: Vec<PathBuf> = all_groups(Path::new(ROOT)).into_iter().filter(|group| is_the_arena_s(group)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(own_group(), own, "back where we were");
    assert!(machine.is_root || !Path::new("/var/tmp/peleja-1000").exists(), "files are left");
}

/// The control group that this process stands in.
fn own_group() -> PathBuf {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap();
    Path::new(ROOT).join(membership.trim().strip_prefix("0::/").unwrap())
}

fn groups_of_services() -> BTreeMap<String, PathBuf> {
    let groups = all_groups(Path::new(ROOT)).into_iter();
    let service = |group: PathBuf| {
        let name = group.file_name()?.to_str()?.to_owned();
        let is_one = ["nginx", "api1", "api2", "db"].contains(&name.as_str()) && is_the_arena_s(group.parent()?);
        is_one.then_some((name, group))
    };
    groups.filter_map(service).collect()
}

fn is_the_arena_s(group: &Path) -> bool {
    let name = group.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("peleja-")
}

fn all_groups(below: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(below).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = folders.filter(|path| path.is_dir());
    folders.flat_map(|folder| [all_groups(&folder), vec![folder]].concat()).collect()
}

fn read(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file)).unwrap().trim().to_owned()
}
