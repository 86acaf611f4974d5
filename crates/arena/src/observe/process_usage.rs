//! Accounts of a process and all its descendants.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::account::Reading;
use super::process_table::{self, Identity, Memory, Share, Stat, Table, Total};
use super::roots::Roots;

/// A process and its descendants.
///
/// A descendant that loses its parent stays in the tree for as long as it lives. Where the process itself ends, another
/// that begins after it with the same command line in the same working directory is its successor, and takes its place.
#[derive(Debug)]
pub struct Tree {
    root: Identity,
    likeness: Likeness,
    /// Who was there when the root was last seen, and is therefore no successor.
    contemporaries: BTreeSet<Identity>,
    restarts: u64,
    members: BTreeSet<Identity>,
    /// Peak and mapped files of each member at the last reading; `None` before the first.
    peaks: Option<BTreeMap<Identity, Memory>>,
    cpu: Total,
    written: Total,
    tick: Duration,
}

impl Tree {
    /// The tree of a process.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub fn new(roots: &Roots, pid: u32) -> anyhow::Result<Self> {
        let stat = Stat::read(&roots.proc, pid).with_context(|| format!("no process {pid}"))?;
        let root = Identity { pid, started: stat.started };
        Ok(Self {
            root,
            likeness: Likeness::of(&roots.proc, pid),
            contemporaries: BTreeSet::new(),
            restarts: 0,
            members: BTreeSet::from([root]),
            peaks: None,
            cpu: Total::default(),
            written: Total::default(),
            tick: tick(),
        })
    }

    /// What the kernel says now; `None` when the whole tree is gone. Only a `thorough` reading finds who has joined it.
    ///
    /// CPU time includes that of children which ended and were waited for. Memory is the anonymous memory of every
    /// process and the largest shared memory that one of them maps, since they map the same.
    pub fn read(&mut self, roots: &Roots, thorough: bool) -> Option<Reading> {
        let proc = &roots.proc;
        let alive = if thorough { self.search(proc) } else { self.known(proc) };
        if alive.is_empty() {
            return None;
        }
        let has_ended = alive.values().all(|stat| stat.is_zombie);
        let ticks = |(id, stat): (&Identity, &Stat)| (*id, Share { parent: stat.parent, figure: stat.ticks });
        let ticks = self.cpu.follow(alive.iter().map(ticks).collect())?;
        let written = self.written.follow(process_table::written(proc, &alive));
        let memory: BTreeMap<Identity, Memory> = alive.keys().map(|id| (*id, Memory::read(proc, id.pid))).collect();
        let held = together(&memory);
        let most = held.map(|held| held + self.excess(&memory));
        if self.peaks.is_none() {
            alive.keys().for_each(|id| process_table::forget_peak(proc, id.pid));
        }
        self.peaks = Some(memory);
        self.members = alive.into_keys().collect();
        Some(Reading {
            cpu: self.tick * u32::try_from(ticks).unwrap_or(u32::MAX),
            memory: held,
            memory_peak: most,
            memory_bound: most,
            process_write: written,
            restarts: self.restarts,
            memory_kills: None,
            has_ended,
            ..Reading::default()
        })
    }

    /// Known members that still live.
    fn known(&self, proc: &Path) -> Table {
        let mut alive = process_table::of(proc, self.members.iter().map(|id| id.pid));
        alive.retain(|id, _| self.members.contains(id));
        alive
    }

    /// Known members that still live, or the successor, and all that descend from them.
    fn search(&mut self, proc: &Path) -> Table {
        let everyone = process_table::everyone(proc);
        if everyone.get(&self.root).is_some_and(|stat| !stat.is_zombie) {
            self.likeness = Likeness::of(proc, self.root.pid);
            self.contemporaries = everyone.keys().copied().collect();
        } else if let Some(successor) = self.successor(proc, &everyone) {
            self.root = successor;
            self.contemporaries = everyone.keys().copied().collect();
            self.members.insert(successor);
            self.restarts += 1;
        }
        self.with_descendants(&everyone)
    }

    fn successor(&self, proc: &Path, everyone: &Table) -> Option<Identity> {
        let later = everyone.keys().filter(|id| !self.contemporaries.contains(id) && !self.members.contains(id));
        later.filter(|id| Likeness::of(proc, id.pid) == self.likeness).min_by_key(|id| id.started).copied()
    }

    fn with_descendants(&self, everyone: &Table) -> Table {
        let mut children: BTreeMap<u32, Vec<Identity>> = BTreeMap::new();
        for (id, stat) in everyone {
            children.entry(stat.parent).or_default().push(*id);
        }
        let mut next: Vec<Identity> = self.members.iter().filter(|id| everyone.contains_key(id)).copied().collect();
        let mut alive = Table::new();
        while let Some(id) = next.pop() {
            let Some(stat) = everyone.get(&id) else { continue };
            if alive.insert(id, *stat).is_none() {
                next.extend(children.get(&id.pid).into_iter().flatten());
            }
        }
        alive
    }

    /// By how much more one process held at its peak since the last reading than now. The others are taken to have held
    /// then what they hold now.
    fn excess(&self, now: &BTreeMap<Identity, Memory>) -> u64 {
        let Some(before) = &self.peaks else { return 0 };
        let excess = |(id, memory): (&Identity, &Memory)| {
            let before = before.get(id).copied().unwrap_or_default();
            let peak = memory.peak.filter(|peak| *peak > before.peak.unwrap_or(0))?;
            Some(peak.saturating_sub(memory.file.max(before.file).unwrap_or(0)).saturating_sub(memory.held()))
        };
        now.iter().filter_map(excess).max().unwrap_or(0)
    }
}

/// What processes that run the same have in common.
#[derive(Debug, PartialEq, Eq)]
struct Likeness {
    command_line: Vec<u8>,
    /// Unknown where the process is not ours to see.
    directory: Option<PathBuf>,
}

impl Likeness {
    fn of(proc: &Path, pid: u32) -> Self {
        let folder = proc.join(pid.to_string());
        Self {
            command_line: fs::read(folder.join("cmdline")).unwrap_or_default(),
            directory: fs::read_link(folder.join("cwd")).ok(),
        }
    }
}

fn together(memory: &BTreeMap<Identity, Memory>) -> Option<u64> {
    let anonymous = memory.values().filter_map(|memory| memory.anonymous).reduce(|left, right| left + right)?;
    let shared = memory.values().filter_map(|memory| memory.shared).max();
    Some(anonymous + shared.unwrap_or(0))
}

fn tick() -> Duration {
    let per_second = rustix::param::clock_ticks_per_second();
    Duration::from_secs(1) / u32::try_from(per_second).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}
