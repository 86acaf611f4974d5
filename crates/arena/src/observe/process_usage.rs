//! Accounts of a process and all its descendants.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::account::Reading;
use super::roots::Roots;

/// A process and its descendants.
///
/// A descendant that loses its parent stays in the tree for as long as it lives.
#[derive(Debug)]
pub struct Tree {
    members: BTreeSet<Identity>,
    cpu: Monotonic,
    disk_write: Monotonic,
    tick: Duration,
}

/// A process id alone may be given again to a stranger; its start time tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    pid: u32,
    started: u64,
}

impl Tree {
    /// The tree of a process.
    pub fn new(roots: &Roots, pid: u32) -> anyhow::Result<Self> {
        let file = roots.proc.join(pid.to_string()).join("stat");
        let text = fs::read_to_string(file).with_context(|| format!("no process {pid}"))?;
        let stat = Stat::parse(&text).with_context(|| format!("process {pid} gives no figures"))?;
        Ok(Self {
            members: BTreeSet::from([Identity { pid, started: stat.started }]),
            cpu: Monotonic::default(),
            disk_write: Monotonic::default(),
            tick: tick(),
        })
    }

    /// What the kernel says now; `None` when the whole tree is gone.
    ///
    /// CPU time includes that of children which ended and were waited for. Memory is the anonymous memory of every
    /// process and the largest shared memory that one of them maps, since they map the same.
    pub fn read(&mut self, roots: &Roots) -> Option<Reading> {
        let alive = self.alive(&processes(&roots.proc));
        if alive.is_empty() {
            return None;
        }
        let ticks: u64 = alive.values().map(|stat| stat.ticks).sum();
        let usages: Vec<Usage> = alive.keys().map(|id| Usage::of(&roots.proc.join(id.pid.to_string()))).collect();
        self.members = alive.into_keys().collect();
        let anonymous = usages.iter().filter_map(|usage| usage.anonymous).reduce(|left, right| left + right);
        let shared = usages.iter().filter_map(|usage| usage.shared).max();
        let written = usages.iter().filter_map(|usage| usage.written).reduce(|left, right| left + right);
        Some(Reading {
            cpu: self.tick * u32::try_from(self.cpu.follow(ticks)).unwrap_or(u32::MAX),
            memory: anonymous.map(|anonymous| anonymous + shared.unwrap_or(0)),
            disk_write: written.map(|written| self.disk_write.follow(written)),
            ..Reading::default()
        })
    }

    /// Known members that still live, and all that descend from them.
    fn alive(&self, processes: &BTreeMap<u32, Stat>) -> BTreeMap<Identity, Stat> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (pid, stat) in processes {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let lives = |id: &&Identity| processes.get(&id.pid).is_some_and(|stat| stat.started == id.started);
        let mut next: Vec<u32> = self.members.iter().filter(lives).map(|id| id.pid).collect();
        let mut alive = BTreeMap::new();
        while let Some(pid) = next.pop() {
            let Some(stat) = processes.get(&pid) else {
                continue;
            };
            if alive.insert(Identity { pid, started: stat.started }, *stat).is_none() {
                next.extend(children.get(&pid).into_iter().flatten());
            }
        }
        alive
    }
}

/// A total that never falls, over counters that vanish with their processes.
#[derive(Clone, Copy, Debug, Default)]
struct Monotonic {
    seen: u64,
    gone: u64,
}

impl Monotonic {
    fn follow(&mut self, now: u64) -> u64 {
        self.gone += self.seen.saturating_sub(now);
        self.seen = now;
        self.gone + now
    }
}

/// The figures of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// CPU time of the process and of the children it waited for, in clock ticks.
    ticks: u64,
    started: u64,
}

impl Stat {
    /// Fields are counted after the command name, which stands in parentheses and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            started: number(19)?,
        })
    }
}

/// Memory and disk writes of one process, in bytes; `None` where it is not ours to see.
struct Usage {
    anonymous: Option<u64>,
    shared: Option<u64>,
    written: Option<u64>,
}

impl Usage {
    fn of(directory: &Path) -> Self {
        let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
        let io = fs::read_to_string(directory.join("io")).unwrap_or_default();
        Self {
            anonymous: field(&status, "RssAnon:").map(|kilobytes| kilobytes * 1024),
            shared: field(&status, "RssShmem:").map(|kilobytes| kilobytes * 1024),
            written: field(&io, "write_bytes:"),
        }
    }
}

fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn processes(proc: &Path) -> BTreeMap<u32, Stat> {
    let Ok(entries) = fs::read_dir(proc) else {
        return BTreeMap::new();
    };
    let one = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, Stat::parse(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
    };
    entries.flatten().filter_map(one).collect()
}

fn tick() -> Duration {
    // SAFETY: sysconf has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs(1) / u32::try_from(per_second).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}
