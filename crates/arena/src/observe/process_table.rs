//! Single processes, and totals over them that outlive them.
//!
//! Formats: the kernel's `Documentation/filesystems/proc.rst`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A process id alone may be given again to a stranger; its start time tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Clock ticks from the machine's start to the process's.
    pub started: u64,
}

/// The figures of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Process id of the parent.
    pub parent: u32,
    /// CPU time of the process and of the children it waited for, in clock ticks.
    pub ticks: u64,
    /// See [`Identity::started`].
    pub started: u64,
    /// Whether it has ended and only waits for its parent to ask how.
    pub is_zombie: bool,
}

/// Processes, those included that have ended and were not yet waited for.
pub type Table = BTreeMap<Identity, Stat>;

/// All processes of the machine.
pub fn everyone(proc: &Path) -> Table {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    of(proc, entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Those of some processes that are there.
pub fn of(proc: &Path, pids: impl Iterator<Item = u32>) -> Table {
    pids.filter_map(|pid| {
        let stat = Stat::read(proc, pid)?;
        Some((Identity { pid, started: stat.started }, stat))
    })
    .collect()
}

impl Stat {
    /// The figures of a process, unless it is gone.
    pub fn read(proc: &Path, pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?)
    }

    /// Fields are counted after the command name, which stands in parentheses and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            started: number(19)?,
            is_zombie: fields.first()?.starts_with(['Z', 'X']),
        })
    }
}

/// The bytes that each process, with the children it waited for, caused to be written to block devices. Processes that
/// are not ours to see are left out.
pub fn written(proc: &Path, processes: &Table) -> BTreeMap<Identity, Share> {
    let share = |(id, stat): (&Identity, &Stat)| {
        let figure = field(&read(proc, id.pid, "io"), "write_bytes:")?;
        Some((*id, Share { parent: stat.parent, figure }))
    };
    processes.iter().filter_map(share).collect()
}

/// The memory of one process, in bytes; `None` where it is not ours to see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Anonymous memory.
    pub anonymous: Option<u64>,
    /// Shared memory that it maps.
    pub shared: Option<u64>,
    /// Pages of files that it maps.
    pub file: Option<u64>,
    /// The most of the three together since the process began, or since the kernel was told to forget.
    pub peak: Option<u64>,
}

impl Memory {
    /// What the kernel says now.
    pub fn read(proc: &Path, pid: u32) -> Self {
        let status = read(proc, pid, "status");
        let bytes = |key| field(&status, key).map(|kilobytes| kilobytes * 1024);
        Self {
            anonymous: bytes("RssAnon:"),
            shared: bytes("RssShmem:"),
            file: bytes("RssFile:"),
            peak: bytes("VmHWM:"),
        }
    }

    /// Anonymous and shared memory.
    pub fn held(&self) -> u64 {
        self.anonymous.unwrap_or(0) + self.shared.unwrap_or(0)
    }
}

/// Has the kernel forget the peak of a process, where it allows that.
pub fn forget_peak(proc: &Path, pid: u32) {
    let file = fs::OpenOptions::new().write(true).open(proc.join(pid.to_string()).join("clear_refs"));
    let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, b"5"));
}

fn read(proc: &Path, pid: u32, file: &str) -> String {
    fs::read_to_string(proc.join(pid.to_string()).join(file)).unwrap_or_default()
}

fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// A total over counters that vanish with their processes.
///
/// A parent that waits for its child takes the child's figure over into its own. What nobody takes over is kept here.
#[derive(Debug, Default)]
pub struct Total {
    known: BTreeMap<Identity, Share>,
    gone: u64,
    is_told: bool,
}

/// What one process has of a total.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Process id of the parent.
    pub parent: u32,
    /// The process's counter, with those of the children it waited for.
    pub figure: u64,
}

impl Total {
    /// The total over these living processes and all that were there before; `None` as long as there was none.
    pub fn follow(&mut self, now: BTreeMap<Identity, Share>) -> Option<u64> {
        self.is_told |= !now.is_empty();
        let mut left: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, share) in self.known.iter().filter(|(id, _)| !now.contains_key(id)) {
            *left.entry(self.heir(share.parent, &now)).or_default() += share.figure;
        }
        for (heir, figure) in left {
            let heir = now.iter().find(|(id, _)| id.pid == heir);
            let before = |id| self.known.get(id).map_or(0, |share: &Share| share.figure);
            let taken_over = heir.map_or(0, |(id, share)| share.figure.saturating_sub(before(id)));
            self.gone += figure.saturating_sub(taken_over);
        }
        self.known = now;
        self.is_told.then(|| self.gone + self.known.values().map(|share| share.figure).sum::<u64>())
    }

    /// The nearest ancestor that is not gone too.
    fn heir(&self, parent: u32, now: &BTreeMap<Identity, Share>) -> u32 {
        let gone = self.known.iter().find(|(id, _)| id.pid == parent && !now.contains_key(id));
        gone.map_or(parent, |(_, share)| self.heir(share.parent, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(total: &mut Total, living: &[(u32, u32, u64)]) -> u64 {
        let share = |(pid, parent, figure): &(u32, u32, u64)| {
            (Identity { pid: *pid, started: 1 }, Share { parent: *parent, figure: *figure })
        };
        total.follow(living.iter().map(share).collect()).unwrap()
    }

    #[test]
    fn what_a_parent_takes_over_counts_once_and_what_nobody_takes_over_stays() {
        let mut sum = Total::default();
        assert_eq!(sum.follow(BTreeMap::new()), None);
        assert_eq!(total(&mut sum, &[(1, 0, 10), (2, 1, 20), (3, 2, 30)]), 60);
        assert_eq!(total(&mut sum, &[(1, 0, 65)]), 65, "child and grandchild were waited for");
        assert_eq!(total(&mut sum, &[(1, 0, 70), (4, 1, 20)]), 90);
        assert_eq!(total(&mut sum, &[(1, 0, 70)]), 90, "nobody waited for the child");
        assert_eq!(total(&mut sum, &[]), 90);
        assert_eq!(total(&mut sum, &[(5, 0, 3)]), 93);
    }
}
