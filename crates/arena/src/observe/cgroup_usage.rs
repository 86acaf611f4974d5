//! Accounts of control groups, version 1 and version 2.
//!
//! Formats: the kernel's `Documentation/admin-guide/cgroup-v1/` and `cgroup-v2.rst`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::account::Reading;
use super::roots::Roots;

/// The controllers whose version 1 directories hold something to read.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "blkio"];

/// Version 1 writes "no limit" as a number near `i64::MAX`, rounded down to a page.
const NO_MEMORY_LIMIT: u64 = 1 << 62;

/// The directories of one control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// One directory per controller; `None` where the controller is not mounted or not used.
    V1 { cpu: Option<PathBuf>, cpuacct: PathBuf, memory: Option<PathBuf>, blkio: Option<PathBuf> },
    /// The one directory.
    V2(PathBuf),
}

impl Groups {
    /// The group of that name, or of that directory under the root.
    pub fn named(roots: &Roots, name: &str) -> anyhow::Result<Self> {
        let name = relative(roots, name);
        if is_v2(roots) {
            let directory = roots.cgroup.join(&name);
            return existing(&directory).map(Self::V2).with_context(|| format!("no control group {name}"));
        }
        let directory = |controller: &str| existing(&roots.cgroup.join(controller).join(&name));
        let Some(cpuacct) = directory("cpuacct") else { bail!("no control group {name} under the cpuacct controller") };
        Ok(Self::V1 { cpu: directory("cpu"), cpuacct, memory: directory("memory"), blkio: directory("blkio") })
    }

    /// What the kernel says now; `None` when the group is gone.
    pub fn read(&self) -> Option<Reading> {
        match self {
            Self::V1 { cpu, cpuacct, memory, blkio } => {
                let stat = cpu.as_deref().and_then(|cpu| read(cpu, "cpu.stat"));
                let memory = memory.as_deref().and_then(|memory| read(memory, "memory.stat"));
                Some(Reading {
                    cpu: Duration::from_nanos(read(cpuacct, "cpuacct.usage")?.trim().parse().ok()?),
                    periods: field(stat.as_deref(), "nr_periods"),
                    throttled_periods: field(stat.as_deref(), "nr_throttled"),
                    throttled: field(stat.as_deref(), "throttled_time").map(Duration::from_nanos),
                    memory: sum(memory.as_deref(), ["total_rss", "total_shmem"]),
                    disk_write: blkio.as_deref().and_then(v1_writes),
                })
            }
            Self::V2(directory) => {
                let stat = read(directory, "cpu.stat");
                let memory = read(directory, "memory.stat");
                Some(Reading {
                    cpu: field(stat.as_deref(), "usage_usec").map(Duration::from_micros)?,
                    periods: field(stat.as_deref(), "nr_periods"),
                    throttled_periods: field(stat.as_deref(), "nr_throttled"),
                    throttled: field(stat.as_deref(), "throttled_usec").map(Duration::from_micros),
                    memory: sum(memory.as_deref(), ["anon", "shmem"]),
                    disk_write: read(directory, "io.stat").map(|text| v2_writes(&text)),
                })
            }
        }
    }

    /// CPUs and bytes of memory that the group may use; `None` where it has no limit of its own.
    pub fn limits(&self) -> (Option<f64>, Option<u64>) {
        match self {
            Self::V1 { cpu, memory, .. } => {
                let number = |directory: &Option<PathBuf>, file| read(directory.as_deref()?, file)?.trim().parse().ok();
                let quota: Option<i64> = number(cpu, "cpu.cfs_quota_us");
                let period: Option<i64> = number(cpu, "cpu.cfs_period_us");
                let bytes: Option<i64> = number(memory, "memory.limit_in_bytes");
                (
                    cpus(quota, period),
                    bytes.and_then(|bytes| bytes.try_into().ok()).filter(|bytes| *bytes < NO_MEMORY_LIMIT),
                )
            }
            Self::V2(directory) => {
                let max = read(directory, "cpu.max").unwrap_or_default();
                let mut max = max.split_whitespace().map(|word| word.parse().ok());
                let cpus = cpus(max.next().flatten(), max.next().flatten());
                (cpus, read(directory, "memory.max").and_then(|text| text.trim().parse().ok()))
            }
        }
    }
}

/// The groups that a process is in; `None` where nothing but the root group accounts for its CPU.
pub fn of_process(roots: &Roots, pid: u32) -> anyhow::Result<Option<Groups>> {
    let file = roots.proc.join(pid.to_string()).join("cgroup");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(groups(roots, &text))
}

fn groups(roots: &Roots, membership: &str) -> Option<Groups> {
    let [cpu, cpuacct, memory, blkio] = CONTROLLERS.map(|controller| directory(roots, membership, controller));
    if is_v2(roots) {
        return directory(roots, membership, "").map(Groups::V2);
    }
    Some(Groups::V1 { cpu, cpuacct: cpuacct?, memory, blkio })
}

/// The directory of a process under one controller; the empty controller stands for version 2.
///
/// The root group is left out: it holds the whole machine, not the service.
fn directory(roots: &Roots, membership: &str, controller: &str) -> Option<PathBuf> {
    let name = membership.lines().find_map(|line| {
        let (controllers, name) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then_some(name)
    })?;
    if name == "/" {
        return None;
    }
    existing(&roots.cgroup.join(controller).join(name.trim_start_matches('/')))
}

/// A group's name from its name, from its directory, or from its directory under one controller.
fn relative(roots: &Roots, name: &str) -> String {
    let Ok(below) = Path::new(name).strip_prefix(&roots.cgroup) else {
        return name.trim_matches('/').to_owned();
    };
    let is_controller = |word: &str| word.split(',').any(|one| CONTROLLERS.contains(&one));
    let skipped = below.iter().next().and_then(|first| first.to_str()).is_some_and(is_controller) && !is_v2(roots);
    below.iter().skip(usize::from(skipped)).collect::<PathBuf>().to_string_lossy().into_owned()
}

fn is_v2(roots: &Roots) -> bool {
    roots.cgroup.join("cgroup.controllers").exists()
}

fn existing(directory: &Path) -> Option<PathBuf> {
    directory.is_dir().then(|| directory.to_owned())
}

fn read(directory: &Path, file: &str) -> Option<String> {
    fs::read_to_string(directory.join(file)).ok()
}

/// The value of one `key value` line.
fn field(text: Option<&str>, key: &str) -> Option<u64> {
    let mut pairs = text?.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

/// The sum of those keys that are there; `None` when none is.
fn sum(text: Option<&str>, keys: [&str; 2]) -> Option<u64> {
    keys.into_iter().filter_map(|key| field(text, key)).reduce(|left, right| left + right)
}

/// Lines `8:0 Write 4096`, one per device and operation; the recursive file also counts child groups.
fn v1_writes(directory: &Path) -> Option<u64> {
    let text = read(directory, "blkio.throttle.io_service_bytes_recursive")
        .or_else(|| read(directory, "blkio.throttle.io_service_bytes"))?;
    let writes = text.lines().filter_map(|line| line.split_once(" Write ")?.1.trim().parse::<u64>().ok());
    Some(writes.sum())
}

/// Lines `8:0 rbytes=1 wbytes=2 ...`, one per device.
fn v2_writes(text: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix("wbytes=")?.parse::<u64>().ok()).sum()
}

fn cpus(quota: Option<i64>, period: Option<i64>) -> Option<f64> {
    let (quota, period) = (quota?, period?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}
