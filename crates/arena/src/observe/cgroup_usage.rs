//! Accounts of control groups, version 1 and version 2.
//!
//! Formats: the kernel's `Documentation/admin-guide/cgroup-v1/` and `cgroup-v2.rst`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::account::Reading;
use super::process_table::{self, Identity, Table, Total};
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
    fn figures(&self) -> Option<Figures> {
        match self {
            Self::V1 { cpu, cpuacct, memory, blkio } => {
                let stat = cpu.as_deref().and_then(|cpu| read(cpu, "cpu.stat"));
                let memory_stat = memory.as_deref().and_then(|memory| read(memory, "memory.stat"));
                Some(Figures {
                    cpu: read(cpuacct, "cpuacct.usage")?.trim().parse().ok()?,
                    periods: field(stat.as_deref(), "nr_periods"),
                    throttled_periods: field(stat.as_deref(), "nr_throttled"),
                    throttled: field(stat.as_deref(), "throttled_time"),
                    held: sum(memory_stat.as_deref(), ["total_rss", "total_shmem"]),
                    usage: memory.as_deref().and_then(|memory| number(memory, "memory.usage_in_bytes")),
                    written: blkio.as_deref().and_then(v1_writes),
                    kills: memory.as_deref().and_then(|memory| kills(memory, "memory.oom_control")),
                })
            }
            Self::V2(directory) => {
                let stat = read(directory, "cpu.stat");
                let memory_stat = read(directory, "memory.stat");
                let nanoseconds = |key| Some(field(stat.as_deref(), key)? * 1000);
                Some(Figures {
                    cpu: nanoseconds("usage_usec")?,
                    periods: field(stat.as_deref(), "nr_periods"),
                    throttled_periods: field(stat.as_deref(), "nr_throttled"),
                    throttled: nanoseconds("throttled_usec"),
                    held: sum(memory_stat.as_deref(), ["anon", "shmem"]),
                    usage: number(directory, "memory.current"),
                    written: read(directory, "io.stat").map(|text| v2_writes(&text)),
                    kills: kills(directory, "memory.events"),
                })
            }
        }
    }

    /// Whether the group, or one above it, is named after something.
    pub fn bears(&self, name: &str) -> bool {
        self.directory().to_string_lossy().contains(name)
    }

    /// The directory whose existence is the group's.
    fn directory(&self) -> &Path {
        match self {
            Self::V1 { cpuacct, .. } => cpuacct,
            Self::V2(directory) => directory,
        }
    }

    /// The file in which the kernel keeps the most that the group used since that was reset, page cache included.
    fn peak_file(&self) -> Option<PathBuf> {
        match self {
            Self::V1 { memory, .. } => Some(memory.as_ref()?.join("memory.max_usage_in_bytes")),
            Self::V2(directory) => Some(directory.join("memory.peak")),
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

/// The figures of one group. CPU time and waiting are nanoseconds, sizes bytes.
struct Figures {
    cpu: u64,
    periods: Option<u64>,
    throttled_periods: Option<u64>,
    throttled: Option<u64>,
    /// Anonymous and shared memory.
    held: Option<u64>,
    /// The same with page cache and what the kernel needs for the group.
    usage: Option<u64>,
    written: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    kills: Option<u64>,
}

/// A control group under observation, over all groups that bear its name one after the other: an engine that starts a
/// container anew makes its group anew.
#[derive(Debug)]
pub struct Group {
    groups: Groups,
    /// The inode of the directory tells a group from a later one of the same name.
    inode: Option<u64>,
    restarts: u64,
    population: BTreeSet<Identity>,
    cpu: Counter,
    periods: Counter,
    throttled_periods: Counter,
    throttled: Counter,
    written: Counter,
    kills: Counter,
    written_by_processes: Total,
    /// What they had written, and whether all of them had ended, at the last thorough reading.
    by_processes: (Option<u64>, bool),
    peak: Peak,
}

impl Group {
    /// Begins to observe the group.
    pub fn new(groups: Groups) -> Self {
        Self {
            inode: inode(&groups),
            restarts: 0,
            population: BTreeSet::new(),
            cpu: Counter::default(),
            periods: Counter::default(),
            throttled_periods: Counter::default(),
            throttled: Counter::default(),
            written: Counter::default(),
            kills: Counter::default(),
            written_by_processes: Total::default(),
            by_processes: (None, false),
            peak: Peak::from_now(&groups),
            groups,
        }
    }

    /// CPUs and bytes of memory that the group may use; `None` where it has no limit of its own.
    pub fn limits(&self) -> (Option<f64>, Option<u64>) {
        self.groups.limits()
    }

    /// Goes on with the group that has taken this one's place under another name.
    pub fn move_to(&mut self, groups: Groups) {
        self.groups = groups;
    }

    /// What the kernel says now, counted over all beginnings; `None` while there is no such group. Only a `thorough` reading
    /// asks for its processes, which takes more than all else.
    pub fn read(&mut self, roots: &Roots, thorough: bool) -> Option<Reading> {
        let figures = self.groups.figures()?;
        let inode = inode(&self.groups);
        let anew = inode != self.inode;
        if anew {
            self.inode = inode;
            self.restarts += 1;
            self.population.clear();
            self.peak = Peak::from_the_beginning(&self.groups);
        }
        if thorough {
            let processes = process_table::of(&roots.proc, members(self.groups.directory()).into_iter());
            let written = self.written_by_processes.follow(process_table::written(&roots.proc, &processes));
            self.by_processes = (written, self.follow_population(&processes));
        }
        let (process_write, has_ended) = self.by_processes;
        let (memory_peak, memory_bound) = self.peak.follow(figures.usage, figures.held).unzip();
        let count = |counter: &mut Counter, now: Option<u64>| Some(counter.follow(now?, anew));
        Some(Reading {
            cpu: Duration::from_nanos(self.cpu.follow(figures.cpu, anew)),
            periods: count(&mut self.periods, figures.periods),
            throttled_periods: count(&mut self.throttled_periods, figures.throttled_periods),
            throttled: count(&mut self.throttled, figures.throttled).map(Duration::from_nanos),
            memory: figures.held,
            memory_peak,
            memory_bound,
            disk_write: count(&mut self.written, figures.written),
            process_write,
            restarts: self.restarts,
            has_ended,
            memory_kills: count(&mut self.kills, figures.kills),
        })
    }

    /// A service has begun anew when none of its processes is left and others are there. Whether none is there, though
    /// some were.
    fn follow_population(&mut self, processes: &Table) -> bool {
        let living: BTreeSet<Identity> =
            processes.iter().filter(|(_, stat)| !stat.is_zombie).map(|(id, _)| *id).collect();
        if living.is_empty() {
            return !self.population.is_empty();
        }
        if !self.population.is_empty() && self.population.is_disjoint(&living) {
            self.restarts += 1;
        }
        self.population = living;
        false
    }
}

fn inode(groups: &Groups) -> Option<u64> {
    Some(fs::metadata(groups.directory()).ok()?.ino())
}

/// The processes in a group and in those below it.
fn members(directory: &Path) -> Vec<u32> {
    let listed = read(directory, "cgroup.procs").unwrap_or_default();
    let own = listed.lines().filter_map(|line| line.parse().ok());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    own.chain(below.flat_map(|entry| members(&entry.path()))).collect()
}

/// A counter over all groups of a name: one that falls, or is another group's, has begun at zero again.
#[derive(Debug, Default)]
struct Counter {
    now: u64,
    before: u64,
}

impl Counter {
    fn follow(&mut self, now: u64, anew: bool) -> u64 {
        if anew || now < self.now {
            self.before += self.now;
        }
        self.now = now;
        self.before + now
    }
}

/// The most that a group used between two readings.
///
/// The kernel's peak counts page cache and its own memory, and what a service needs is neither. What of it was held is
/// found by taking away as much as the others were at the readings around it: the greater of the two for what was held
/// at least, the smaller for what it can have been at most.
#[derive(Debug)]
struct Peak {
    /// Kept open: under version 2 a reset holds for whoever reads through the same descriptor.
    file: Option<File>,
    seen: u64,
    others: Option<u64>,
    /// What all processors together may have charged ahead of need.
    ahead: u64,
}

/// The kernel charges up to this many bytes ahead of need for each processor.
const AHEAD: u64 = 64 * 4096;

impl Peak {
    /// The peak of a group that is observed from now on.
    fn from_now(groups: &Groups) -> Self {
        let mut peak = Self::from_the_beginning(groups);
        peak.others = None;
        peak.reset();
        peak
    }

    /// The peak of a group that was made since the last reading, and that is all its own.
    fn from_the_beginning(groups: &Groups) -> Self {
        let path = groups.peak_file();
        let open = |path: &PathBuf| File::options().read(true).write(true).open(path).or_else(|_| File::open(path));
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        Self { file: path.and_then(|path| open(&path).ok()), seen: 0, others: Some(0), ahead: processors * AHEAD }
    }

    /// What was held at least and at most at some time since the last reading; `None` where the kernel keeps no peak.
    fn follow(&mut self, usage: Option<u64>, held: Option<u64>) -> Option<(u64, u64)> {
        let bounds = self.bounds(self.read()?, usage?, held?);
        self.reset();
        Some(bounds)
    }

    fn bounds(&mut self, peak: u64, usage: u64, held: u64) -> (u64, u64) {
        let others = usage.saturating_sub(held);
        let before = self.others.replace(others).unwrap_or(others);
        let least = if peak > self.seen { peak.saturating_sub(others.max(before) + self.ahead) } else { 0 };
        (least.max(held), peak.saturating_sub(others.min(before)).max(held))
    }

    /// Where the kernel does not allow it, a peak speaks of the time since the last reading only if it has risen.
    fn reset(&mut self) {
        let _ = self.file.as_ref().map(|file| file.write_all_at(b"0", 0));
        self.seen = self.read().unwrap_or_default();
    }

    fn read(&self) -> Option<u64> {
        let mut text = [0; 32];
        let length = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
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

fn number(directory: &Path, file: &str) -> Option<u64> {
    read(directory, file)?.trim().parse().ok()
}

/// The line `oom_kill N` of a file of events; kernels before 4.13 have none under version 1.
fn kills(directory: &Path, file: &str) -> Option<u64> {
    field(read(directory, file).as_deref(), "oom_kill")
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

/// Lines `8:0 Write 4096`, one per device and operation; the recursive file also counts child groups. A kernel that
/// throttles no device writes no such line, and does not tell.
fn v1_writes(directory: &Path) -> Option<u64> {
    let text = read(directory, "blkio.throttle.io_service_bytes_recursive")
        .or_else(|| read(directory, "blkio.throttle.io_service_bytes"))?;
    let writes = text.lines().filter_map(|line| line.split_once(" Write ")?.1.trim().parse::<u64>().ok());
    writes.reduce(|left, right| left + right)
}

/// Lines `8:0 rbytes=1 wbytes=2 ...`, one per device.
fn v2_writes(text: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix("wbytes=")?.parse::<u64>().ok()).sum()
}

fn cpus(quota: Option<i64>, period: Option<i64>) -> Option<f64> {
    let (quota, period) = (quota?, period?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_without_page_cache_lies_between_two_bounds() {
        let mut peak = Peak { file: None, seen: 900, others: Some(100), ahead: 5 };
        assert_eq!(peak.bounds(900, 110, 10), (10, 800), "not risen: it may have been long ago");
        assert_eq!(peak.bounds(905, 110, 10), (800, 805), "risen");
        assert_eq!(peak.bounds(1000, 160, 10), (845, 900), "cache grew meanwhile");
        assert_eq!(peak.bounds(1100, 60, 10), (945, 1050), "cache went meanwhile");
    }

    #[test]
    fn a_counter_goes_on_over_all_beginnings() {
        let mut counter = Counter::default();
        assert_eq!(
            [(5, false), (7, false), (2, false), (9, true)].map(|(now, anew)| counter.follow(now, anew)),
            [5, 7, 9, 18]
        );
    }
}
