//! What machine this is, and which versions of the programs take part.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::observe::Target;
use crate::record::run::Machine;
use crate::stack::Running;
use crate::stack::prerequisites::{self, Tool};

/// The machine that this runs on. `cgroup` is the version that holds the services to their limits.
pub fn describe(cgroup: &str) -> Machine {
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    Machine {
        cpu: colon_field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores,
        memory_bytes: memory_bytes().unwrap_or_default(),
        kernel: format!("{} {}", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease")),
        os: os_name().unwrap_or_else(|| std::env::consts::OS.to_owned()),
        cgroup: cgroup.to_owned(),
    }
}

/// Versions of the programs of a stack, by name; what does not say its version is left out.
pub fn versions(running: &Running) -> BTreeMap<String, String> {
    let contender = ("peleja".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let nginx = nginx_version(running).map(|version| ("nginx".to_owned(), version));
    std::iter::once(contender).chain(nginx).collect()
}

fn nginx_version(running: &Running) -> Option<String> {
    let container = running.observe.iter().find_map(|(service, target)| match target {
        Target::Container(id) if service == "nginx" => Some(id),
        _ => None,
    });
    let mut command = match container {
        Some(_) => Command::new("docker"),
        None => Command::new(prerequisites::find(Tool::Nginx).ok()?),
    };
    if let Some(id) = container {
        command.args(["exec", id, "nginx"]);
    }
    // It tells its version on standard error.
    let output = command.arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(text.split_once("nginx/")?.1.split_whitespace().next()?.to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn colon_field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let pair = |line: &str| line.split_once(':').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    text.lines().filter_map(pair).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Bytes of memory that the machine has, where it tells.
pub fn memory_bytes() -> Option<u64> {
    let kibibytes: u64 = colon_field("/proc/meminfo", "MemTotal")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn os_name() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}
