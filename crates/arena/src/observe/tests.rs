use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::bail;

use super::account::Reading;
use super::target::Inspected;
use super::*;

/// A directory that vanishes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("arena-observe-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn roots(&self) -> Roots {
        Roots { cgroup: self.0.join("cgroup"), proc: self.0.join("proc") }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(roots: &Roots, target: &Target) -> Option<Reading> {
    target.resolve(roots).unwrap().read(roots, true)
}

fn v1(scratch: &Scratch, group: &str) {
    scratch.write(
        &format!("cgroup/cpu/{group}/cpu.stat"),
        "nr_periods 120\nnr_throttled 7\nthrottled_time 350000000\nnr_bursts 0\nburst_time 0\n",
    );
    scratch.write(&format!("cgroup/cpu/{group}/cpu.cfs_quota_us"), "45000\n");
    scratch.write(&format!("cgroup/cpu/{group}/cpu.cfs_period_us"), "100000\n");
    scratch.write(&format!("cgroup/cpuacct/{group}/cpuacct.usage"), "2500000000\n");
    scratch.write(
        &format!("cgroup/memory/{group}/memory.stat"),
        "cache 900\nrss 1\nshmem 2\ntotal_cache 9000\ntotal_rss 4096\ntotal_rss_huge 5\ntotal_shmem 8192\n",
    );
    scratch.write(&format!("cgroup/memory/{group}/memory.limit_in_bytes"), "536870912\n");
    scratch
        .write(&format!("cgroup/memory/{group}/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    scratch.write(
        &format!("cgroup/blkio/{group}/blkio.throttle.io_service_bytes_recursive"),
        "254:0 Read 1\n254:0 Write 700\n254:0 Sync 701\n254:16 Write 11\n254:16 Total 11\nTotal 712\n",
    );
}

const V1_READING: Reading = Reading {
    cpu: Duration::from_millis(2500),
    periods: Some(120),
    throttled_periods: Some(7),
    throttled: Some(Duration::from_millis(350)),
    memory: Some(12288),
    memory_peak: None,
    memory_bound: None,
    disk_write: Some(711),
    process_write: None,
    restarts: 0,
    has_ended: false,
    memory_kills: Some(2),
};

fn v2(scratch: &Scratch, group: &str) {
    scratch.write("cgroup/cgroup.controllers", "cpu io memory pids\n");
    scratch.write(
        &format!("cgroup/{group}/cpu.stat"),
        "usage_usec 1250000\nuser_usec 1\nsystem_usec 2\nnr_periods 10\nnr_throttled 3\nthrottled_usec 40000\n",
    );
    scratch.write(&format!("cgroup/{group}/cpu.max"), "25000 100000\n");
    scratch.write(&format!("cgroup/{group}/memory.stat"), "anon 4096\nfile 99999\nshmem 1024\n");
    scratch.write(&format!("cgroup/{group}/memory.max"), "max\n");
    scratch.write(&format!("cgroup/{group}/memory.events"), "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\n");
    scratch.write(
        &format!("cgroup/{group}/io.stat"),
        "254:0 rbytes=9 wbytes=300 rios=1 wios=2 dbytes=0 dios=0\n254:16 rbytes=0 wbytes=30 rios=0 wios=1\n",
    );
}

const V2_READING: Reading = Reading {
    cpu: Duration::from_millis(1250),
    periods: Some(10),
    throttled_periods: Some(3),
    throttled: Some(Duration::from_millis(40)),
    memory: Some(5120),
    memory_peak: None,
    memory_bound: None,
    disk_write: Some(330),
    process_write: None,
    restarts: 0,
    has_ended: false,
    memory_kills: Some(3),
};

#[test]
fn version_1_by_name_and_by_directory() {
    let scratch = Scratch::new("v1");
    let roots = scratch.roots();
    v1(&scratch, "peleja-7/db");
    let directory = roots.cgroup.join("memory/peleja-7/db").display().to_string();
    for name in ["peleja-7/db", "/peleja-7/db", "/peleja-7/db/", &directory] {
        let target = Target::Cgroup(name.to_owned());
        assert_eq!(read(&roots, &target), Some(V1_READING), "{name}");
        let limit = target.resolve(&roots).unwrap().limit("db");
        assert_eq!((limit.cpus, limit.memory_bytes), (Some(0.45), Some(512 << 20)));
    }
}

#[test]
fn a_group_at_the_top_needs_no_slash() {
    let scratch = Scratch::new("top");
    v1(&scratch, "peleja");
    assert_eq!(read(&scratch.roots(), &Target::parse("peleja")), Some(V1_READING));
}

#[test]
fn version_2_by_name_and_by_directory() {
    let scratch = Scratch::new("v2");
    let roots = scratch.roots();
    v2(&scratch, "peleja-7/db");
    let directory = roots.cgroup.join("peleja-7/db").display().to_string();
    for name in ["peleja-7/db", "/peleja-7/db", &directory] {
        let target = Target::Cgroup(name.to_owned());
        assert_eq!(read(&roots, &target), Some(V2_READING), "{name}");
        let limit = target.resolve(&roots).unwrap().limit("db");
        assert_eq!((limit.cpus, limit.memory_bytes), (Some(0.25), None));
    }
}

#[test]
fn what_version_1_does_not_tell_is_none() {
    let scratch = Scratch::new("v1-bare");
    let roots = scratch.roots();
    scratch.write("cgroup/cpuacct/app/cpuacct.usage", "1000\n");
    scratch.write("cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n");
    let target = Target::Cgroup("/app".into());
    let reading = Reading { cpu: Duration::from_nanos(1000), ..Reading::default() };
    assert_eq!(read(&roots, &target), Some(reading));
    let limit = target.resolve(&roots).unwrap().limit("app");
    assert_eq!((limit.cpus, limit.memory_bytes), (None, None));
}

#[test]
fn a_missing_group_or_process_is_an_error_with_the_name() {
    let scratch = Scratch::new("missing");
    fs::create_dir_all(scratch.roots().cgroup).unwrap();
    for target in [Target::Cgroup("/nowhere".into()), Target::Process(1), Target::Named("no-group".into())] {
        let error = Observer::start_at(&scratch.roots(), vec![("db".into(), target)]).err().unwrap();
        assert!(format!("{error:#}").starts_with("cannot observe db: no "), "{error:#}");
    }
}

#[test]
fn containers_of_every_driver_are_found() {
    let id = "0123456789abcdef";
    let cgroupfs = format!("docker/{id}");
    let systemd = format!("system.slice/docker-{id}.scope");
    for (index, name) in [&cgroupfs, &systemd].into_iter().enumerate() {
        let scratch = Scratch::new(&format!("container-v1-{index}"));
        v1(&scratch, name);
        let lines = ["11:memory:", "5:cpu,cpuacct:", "3:blkio:", "1:name=systemd:", "0::"];
        let membership: String = lines.map(|line| format!("{line}/{name}\n")).concat();
        scratch.write("proc/42/cgroup", &membership);
        assert_eq!(container_reading(&scratch), Some(V1_READING), "{name}");

        let scratch = Scratch::new(&format!("container-v2-{index}"));
        v2(&scratch, name);
        scratch.write("proc/42/cgroup", &format!("0::/{name}\n"));
        assert_eq!(container_reading(&scratch), Some(V2_READING), "{name}");
    }
}

#[test]
fn a_container_without_a_group_of_its_own_is_its_processes() {
    let scratch = Scratch::new("container-tree");
    scratch.write("cgroup/cpuacct/cpuacct.usage", "1\n");
    scratch.write("proc/42/cgroup", "2:cpuacct:/\n1:cpu:/\n0::/\n");
    process(&scratch, 42, 1, 100, 5);
    assert_eq!(container_reading(&scratch).unwrap().cpu, Duration::from_secs(1));
}

#[test]
fn another_machine_s_container_is_not_a_process_here_that_has_its_number() {
    let scratch = Scratch::new("container-elsewhere");
    v2(&scratch, "user.slice");
    scratch.write("proc/42/cgroup", "0::/user.slice\n");
    assert_eq!(container_reading(&scratch), None);
}

fn container_reading(scratch: &Scratch) -> Option<Reading> {
    let inspected = Inspected { id: "0123456789abcdef".into(), pid: 42 };
    let source = target::container(&scratch.roots(), "box", &inspected, || bail!("no engine"));
    source.ok()?.read(&scratch.roots(), true)
}

/// Writes the files of a process that used `ticks` of CPU time and whose name tries to confuse.
fn process(scratch: &Scratch, pid: u32, parent: u32, ticks: u64, started: u64) {
    let own = ticks / 2;
    let waited_for = ticks - own;
    let stat = format!(
        "{pid} (a) 9 (b) S {parent} 0 0 0 -1 4194560 1 2 0 3 {own} 0 {waited_for} 0 20 0 1 0 {started} 46116864"
    );
    scratch.write(&format!("proc/{pid}/stat"), &stat);
    scratch
        .write(&format!("proc/{pid}/status"), "VmRSS:\t9 kB\nRssAnon:\t     4 kB\nRssFile:\t 5 kB\nRssShmem:\t2 kB\n");
    scratch.write(&format!("proc/{pid}/io"), "rchar: 1\nwchar: 2\nwrite_bytes: 512\ncancelled_write_bytes: 0\n");
}

#[test]
fn a_process_counts_with_all_its_descendants() {
    let scratch = Scratch::new("tree");
    let roots = scratch.roots();
    process(&scratch, 10, 1, 100, 5);
    process(&scratch, 11, 10, 50, 6);
    process(&scratch, 12, 11, 50, 7);
    process(&scratch, 13, 1, 5000, 7);
    let mut source = Target::Process(10).resolve(&roots).unwrap();
    let reading = source.read(&roots, true).unwrap();
    assert_eq!(reading.cpu, Duration::from_secs(2));
    assert_eq!(reading.memory, Some(3 * 4096 + 2048));
    assert_eq!((reading.disk_write, reading.process_write), (None, Some(3 * 512)));
    assert_eq!((reading.periods, reading.throttled), (None, None));

    // 11 dies unseen by its parent, 12 becomes an orphan, and a stranger is given the number 11.
    process(&scratch, 11, 1, 9000, 99);
    process(&scratch, 12, 1, 80, 7);
    let reading = source.read(&roots, true).unwrap();
    assert_eq!(reading.cpu, Duration::from_millis(2300), "what a dead process used is not taken back");
    process(&scratch, 12, 1, 180, 7);
    assert_eq!(source.read(&roots, false).unwrap().cpu, Duration::from_millis(3300));

    for pid in [10, 12] {
        fs::remove_dir_all(roots.proc.join(pid.to_string())).unwrap();
    }
    assert_eq!(source.read(&roots, true), None);
}

/// Writes the command line of a process and the directory that it works in.
fn runs(scratch: &Scratch, pid: u32, command: &str, directory: &str) {
    scratch.write(&format!("proc/{pid}/cmdline"), command);
    std::os::unix::fs::symlink(directory, scratch.0.join(format!("proc/{pid}/cwd"))).unwrap();
}

#[test]
fn a_process_that_ends_is_followed_by_the_next_of_its_kind() {
    let scratch = Scratch::new("successor");
    let roots = scratch.roots();
    process(&scratch, 10, 1, 100, 5);
    runs(&scratch, 10, "peleja", "/data/api1");
    process(&scratch, 20, 1, 9000, 6);
    runs(&scratch, 20, "peleja", "/data/api1");
    let mut source = Target::Process(10).resolve(&roots).unwrap();
    assert_eq!(source.read(&roots, true).unwrap().cpu, Duration::from_secs(1));

    fs::remove_dir_all(roots.proc.join("10")).unwrap();
    process(&scratch, 30, 1, 7000, 8);
    runs(&scratch, 30, "peleja", "/data/api2");
    assert_eq!(source.read(&roots, true), None, "neither who was there before nor who works elsewhere");

    process(&scratch, 10, 1, 50, 9);
    runs(&scratch, 10, "peleja", "/data/api1");
    assert_eq!(source.read(&roots, false), None, "a quick look finds nobody new");
    let reading = source.read(&roots, true).unwrap();
    assert_eq!((reading.cpu, reading.restarts), (Duration::from_millis(1500), 1));
}

#[test]
fn a_dead_process_that_nobody_waited_for_has_ended_and_keeps_its_figures() {
    let scratch = Scratch::new("zombie");
    let roots = scratch.roots();
    process(&scratch, 10, 1, 100, 5);
    let mut source = Target::Process(10).resolve(&roots).unwrap();
    assert!(!source.read(&roots, true).unwrap().has_ended);
    process(&scratch, 10, 1, 150, 5);
    let stat = fs::read_to_string(roots.proc.join("10/stat")).unwrap();
    scratch.write("proc/10/stat", &stat.replace(") S ", ") Z "));
    let reading = source.read(&roots, true).unwrap();
    assert_eq!((reading.cpu, reading.has_ended), (Duration::from_millis(1500), true));
}

#[test]
fn a_group_whose_processes_all_give_way_to_others_has_begun_anew() {
    let scratch = Scratch::new("population");
    let roots = scratch.roots();
    v2(&scratch, "app");
    let mut source = Target::Cgroup("app".into()).resolve(&roots).unwrap();
    let mut seen = |pids: &[u32]| {
        scratch.write("cgroup/app/cgroup.procs", &pids.iter().map(|pid| format!("{pid}\n")).collect::<String>());
        let reading = source.read(&roots, true).unwrap();
        (reading.restarts, reading.has_ended)
    };
    for pid in [10, 11, 12] {
        process(&scratch, pid, 1, 100, 5);
    }
    assert_eq!(seen(&[]), (0, false));
    assert_eq!(seen(&[10]), (0, false));
    assert_eq!(seen(&[10, 11]), (0, false));
    assert_eq!(seen(&[11]), (0, false), "a part goes on");
    assert_eq!(seen(&[]), (0, true));
    assert_eq!(seen(&[12]), (1, false));
    process(&scratch, 12, 1, 100, 99);
    assert_eq!(seen(&[12]), (2, false), "another process of the same number");
}

#[test]
fn counters_that_fall_are_a_new_beginning() {
    let scratch = Scratch::new("fallen");
    let roots = scratch.roots();
    v2(&scratch, "app");
    let mut source = Target::Cgroup("app".into()).resolve(&roots).unwrap();
    source.read(&roots, true).unwrap();
    scratch.write("cgroup/app/cpu.stat", "usage_usec 500000\nnr_periods 4\nnr_throttled 1\nthrottled_usec 10000\n");
    scratch.write("cgroup/app/io.stat", "254:0 rbytes=9 wbytes=70 rios=1 wios=2\n");
    let reading = source.read(&roots, true).unwrap();
    assert_eq!(reading.cpu, V2_READING.cpu + Duration::from_millis(500));
    assert_eq!((reading.periods, reading.throttled_periods), (Some(14), Some(4)));
    assert_eq!((reading.throttled, reading.disk_write), (Some(Duration::from_millis(50)), Some(400)));
}

#[test]
fn writes_that_a_group_does_not_account_for_are_those_of_its_processes() {
    let scratch = Scratch::new("writes");
    let roots = scratch.roots();
    v1(&scratch, "db");
    process(&scratch, 10, 1, 100, 5);
    process(&scratch, 11, 10, 100, 6);
    scratch.write("cgroup/cpuacct/db/cgroup.procs", "10\n");
    scratch.write("cgroup/cpuacct/db/session/cgroup.procs", "11\n");
    let group_file = "cgroup/blkio/db/blkio.throttle.io_service_bytes_recursive";
    let written = |before: &str, after: &str| {
        scratch.write(group_file, before);
        scratch.write("proc/10/io", "write_bytes: 512\n");
        let mut source = Target::Cgroup("db".into()).resolve(&roots).unwrap();
        let mut account = Account::open("db".into(), source.read(&roots, true).unwrap());
        scratch.write(group_file, after);
        scratch.write("proc/10/io", "write_bytes: 1512\n");
        account.add(Duration::from_secs(1), source.read(&roots, true).unwrap());
        account.between(Duration::ZERO, account.end()).0.disk_write_bytes
    };
    assert_eq!(written("254:0 Write 700\nTotal 700\n", "254:0 Write 900\nTotal 900\n"), Some(200));
    assert_eq!(written("Total 0\n", "Total 0\n"), Some(1000), "a kernel that throttles no device");
    assert_eq!(written("254:0 Write 700\nTotal 700\n", "254:0 Write 700\nTotal 700\n"), Some(1000));
    fs::remove_file(scratch.0.join("cgroup/cpuacct/db/session/cgroup.procs")).unwrap();
    fs::remove_file(scratch.0.join("cgroup/cpuacct/db/cgroup.procs")).unwrap();
    assert_eq!(written("Total 0\n", "Total 0\n"), None, "nobody tells");
}

/// Burns CPU in a shell until it is killed.
struct Burner(Child);

impl Burner {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "(while :; do :; done) & wait"]).process_group(0).spawn().unwrap())
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        // It is the burner's own, and has not been waited for.
        let _ =
            nix::sys::signal::killpg(nix::unistd::Pid::from_raw(self.0.id() as i32), nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

use std::os::unix::process::CommandExt;

/// Waits until the process tree has used CPU time by its own account.
fn wait_for_cpu(pid: u32) {
    let roots = Roots::default();
    let mut tree = Target::Process(pid).resolve(&roots).unwrap();
    let before = tree.read(&roots, true).unwrap().cpu;
    while tree.read(&roots, true).unwrap().cpu < before + Duration::from_millis(100) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_real_process_tree_is_charged_for_what_its_child_burns() {
    let burner = Burner::start();
    let observer = Observer::start(vec![("burner".into(), Target::Process(burner.0.id()))]).unwrap();
    wait_for_cpu(burner.0.id());
    let (costs, series) = observer.stop().whole();
    assert!(costs[0].cpu_seconds >= 0.09, "{costs:?}");
    assert!(costs[0].memory_peak_bytes.unwrap() > 0, "{costs:?}");
    assert_eq!(costs[0].throttled_periods, None);
    assert!(series.contains_key("burner"));
}

/// A control group, where this machine lets one be made.
struct Cage(Vec<PathBuf>);

impl Cage {
    fn create(name: &str) -> Option<Self> {
        let root = Roots::default().cgroup;
        let v2 = root.join("cgroup.controllers").exists();
        let directories: Vec<PathBuf> = match v2 {
            true => vec![root.join(name)],
            false => ["cpu", "cpuacct", "memory", "blkio"].map(|controller| root.join(controller).join(name)).to_vec(),
        };
        let cage = Self(directories);
        cage.0.iter().try_for_each(fs::create_dir).ok()?;
        Some(cage)
    }

    /// Leaves a tenth of a CPU.
    fn narrow(&self) {
        let v2 = self.0.len() == 1;
        let (file, quota) = if v2 { ("cpu.max", "10000 100000") } else { ("cpu.cfs_quota_us", "10000") };
        fs::write(self.0[0].join(file), quota).unwrap();
    }

    /// Leaves so many bytes of memory, and nothing of the machine's swap.
    fn leave_memory(&self, bytes: u64) {
        let v2 = self.0.len() == 1;
        let (directory, file, swap) = if v2 {
            (&self.0[0], "memory.max", ("memory.swap.max", 0))
        } else {
            (&self.0[2], "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", bytes))
        };
        fs::write(directory.join(file), bytes.to_string()).unwrap();
        // Where the kernel keeps no account of swap, there is none to be had.
        let _ = fs::write(directory.join(swap.0), swap.1.to_string());
    }

    /// A shell that goes into the group and then does what it is told, in a process group of its own.
    fn shell(&self, script: &str) -> Burner {
        let enter: String = self
            .0
            .iter()
            .map(|directory| format!("echo $$ > {}\n", directory.join("cgroup.procs").display()))
            .collect();
        Burner(Command::new("sh").args(["-ec", &format!("{enter}{script}")]).process_group(0).spawn().unwrap())
    }

    fn target(name: &str) -> Target {
        Target::Cgroup(format!("/{name}"))
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        for directory in &self.0 {
            for _ in 0..100 {
                if fs::remove_dir(directory).is_ok() || !directory.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

const NO_GROUPS: &str = "no control group can be made here: skipped";

fn name_of_a_group(test: &str) -> String {
    format!("arena-observe-{test}-{}", std::process::id())
}

#[test]
fn a_real_control_group_is_charged_and_throttled() {
    let name = name_of_a_group("throttled");
    let Some(cage) = Cage::create(&name) else { return eprintln!("{NO_GROUPS}") };
    cage.narrow();
    let observer = Observer::start(vec![("caged".into(), Cage::target(&name))]).unwrap();
    assert_eq!(observer.limits()[0].cpus, Some(0.1));
    let burner = cage.shell("(while :; do :; done) & wait");
    wait_for_cpu(burner.0.id());
    let (costs, _) = observer.stop().whole();
    let cost = &costs[0];
    assert!(cost.cpu_seconds >= 0.09, "{cost:?}");
    assert!(cost.periods.unwrap() >= 5, "{cost:?}");
    assert!(cost.throttled_periods.unwrap() >= 1, "{cost:?}");
    assert!(cost.throttled_seconds.unwrap() > 0.0, "{cost:?}");
}

/// CPU seconds that a burner used until it ended by itself.
#[expect(unsafe_code, reason = "no library waits for one child and tells what it used")]
fn used_until_the_end(mut burner: Burner) -> f64 {
    // SAFETY: the structure is plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the process is a child of this one that nobody has waited for, and the pointers live across the call.
    let waited = unsafe { libc::wait4(burner.0.id() as i32, std::ptr::null_mut(), 0, &raw mut usage) };
    assert_eq!(waited, burner.0.id() as i32);
    // The number is no longer the burner's.
    burner.0 = Command::new("true").spawn().unwrap();
    [usage.ru_utime, usage.ru_stime].map(|time| time.tv_sec as f64 + time.tv_usec as f64 / 1e6).iter().sum()
}

/// Uses about half a second of CPU.
const BURN: &str = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";

#[test]
fn a_real_control_group_that_is_made_anew_is_charged_for_both_its_lives() {
    let name = name_of_a_group("anew");
    let Some(cage) = Cage::create(&name) else { return eprintln!("{NO_GROUPS}") };
    let observer = Observer::start(vec![("caged".into(), Cage::target(&name))]).unwrap();
    let first = used_until_the_end(cage.shell(BURN));
    drop(cage);
    std::thread::sleep(2 * INTERVAL);
    let cage = Cage::create(&name).unwrap();
    // Who is in a group is looked at once a second; whoever came and went in between was never there.
    let second = used_until_the_end(cage.shell(&format!("{BURN}; sleep 2")));
    let (costs, _) = observer.stop().whole();
    let cost = &costs[0];
    assert_eq!((cost.restarts, cost.ended), (1, true), "{cost:?}");
    assert!(cost.cpu_seconds >= second + 0.5 * first, "{first} s and {second} s: {cost:?}");
}

#[test]
fn a_real_process_that_ends_is_charged_until_then_and_its_successor_too() {
    let burn = || Burner(Command::new("sh").args(["-c", BURN]).process_group(0).spawn().unwrap());
    let first = burn();
    let observer = Observer::start(vec![("burner".into(), Target::Process(first.0.id()))]).unwrap();
    let first = used_until_the_end(first);
    let second = burn();
    // A program has no title in its first moment, and a successor is known by it.
    while std::fs::read(format!("/proc/{}/cmdline", second.0.id())).unwrap().is_empty() {
        std::thread::yield_now();
    }
    let (costs, _) = observer.stop().whole();
    let cost = &costs[0];
    assert_eq!((cost.restarts, cost.ended), (1, false), "{cost:?}");
    assert!(cost.cpu_seconds >= 0.5 * first, "{first} s: {cost:?}");
    drop(second);
}

const MB: u64 = 1 << 20;

/// The memory that a group is found to have held at most, by the second of two readings around a script.
fn most_held_during(name: &str, script: &str) -> Option<Reading> {
    let cage = Cage::create(name)?;
    let roots = Roots::default();
    let mut source = Cage::target(name).resolve(&roots).unwrap();
    source.read(&roots, true).unwrap();
    assert!(cage.shell(script).0.wait().unwrap().success());
    source.read(&roots, true)
}

#[test]
fn memory_that_a_real_control_group_held_for_a_moment_is_known() {
    let script = "dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null";
    let Some(reading) = most_held_during(&name_of_a_group("peak"), script) else { return eprintln!("{NO_GROUPS}") };
    let (least, most) = (reading.memory_peak.unwrap() / MB, reading.memory_bound.unwrap() / MB);
    assert!(reading.memory.unwrap() < 50 * MB, "{reading:?}");
    assert!((295..=310).contains(&least) && (least..=310).contains(&most), "{least} to {most}");
}

#[test]
fn a_process_that_its_memory_does_not_suffice_for_is_counted() {
    let name = name_of_a_group("kills");
    let Some(cage) = Cage::create(&name) else { return eprintln!("{NO_GROUPS}") };
    cage.leave_memory(20 * MB);
    let observer = Observer::start(vec![("caged".into(), Cage::target(&name))]).unwrap();
    let shell = cage.shell("dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null || :; sleep 60");
    std::thread::sleep(10 * INTERVAL);
    let (costs, _) = observer.stop().whole();
    drop(shell);
    assert_eq!(costs[0].memory_kills, 1, "{:?}", costs[0]);
    assert!(costs[0].memory_peak_bytes.unwrap() <= 20 * MB, "{:?}", costs[0]);
}

#[test]
fn page_cache_of_a_real_control_group_is_not_memory_that_it_held() {
    let file = tempfile::Builder::new().prefix("arena-observe-").tempfile_in("/var/tmp").unwrap();
    let script = format!("dd if=/dev/zero of={} bs=1M count=100 2>/dev/null", file.path().display());
    let Some(reading) = most_held_during(&name_of_a_group("cache"), &script) else { return eprintln!("{NO_GROUPS}") };
    assert!(reading.memory_peak.unwrap() < 20 * MB, "{reading:?}");
    // What lies between is open: the kernel's peak alone does not tell cache from memory.
    assert!(reading.memory_bound.unwrap() > 90 * MB, "{reading:?}");
}

#[test]
fn what_a_real_control_group_writes_is_known() {
    let name = name_of_a_group("writes");
    let Some(cage) = Cage::create(&name) else { return eprintln!("{NO_GROUPS}") };
    let file = tempfile::Builder::new().prefix("arena-observe-").tempfile_in("/var/tmp").unwrap();
    let observer = Observer::start(vec![("caged".into(), Cage::target(&name))]).unwrap();
    let script = format!("dd if=/dev/zero of={} bs=1M count=8 oflag=dsync 2>/dev/null", file.path().display());
    let shell = cage.shell(&format!("{script}; sleep 60"));
    while fs::metadata(file.path()).unwrap().len() < 8 * MB {
        std::thread::sleep(INTERVAL);
    }
    // The shell waits for the writer, and is charged for what it wrote.
    std::thread::sleep(3 * INTERVAL);
    let (costs, _) = observer.stop().whole();
    drop(shell);
    assert!(costs[0].disk_write_bytes.unwrap() >= 8 * MB, "{:?}", costs[0]);
}

#[test]
fn memory_that_a_real_process_held_for_a_moment_is_known() {
    let roots = Roots::default();
    let mut source = Target::Process(std::process::id()).resolve(&roots).unwrap();
    let before = source.read(&roots, true).unwrap().memory.unwrap();
    drop(std::hint::black_box(vec![1_u8; 300 << 20]));
    let reading = source.read(&roots, true).unwrap();
    assert!(reading.memory_peak.unwrap() >= reading.memory.unwrap().min(before) + 250 * MB, "{before} {reading:?}");
}

#[test]
fn a_part_of_an_observation_is_in_step_with_the_load() {
    let began = Timestamp::from_second(1_000).unwrap();
    let reading =
        |seconds: u64| Reading { cpu: Duration::from_millis(seconds * 500), memory: Some(7), ..Reading::default() };
    let mut account = Account::open("api".into(), reading(0));
    (1..=20).for_each(|second| account.add(Duration::from_secs(second), reading(second)));
    let observation = Observation { began, accounts: vec![account] };

    let (costs, series) = observation.during(Timestamp::from_millisecond(1_004_500).unwrap(), 10.1);
    let late = observation.during(Timestamp::from_second(1_018).unwrap(), 5.0).1;
    assert_eq!(late["api"].memory_bytes, [7; 6], "what it had last, where nothing was seen");
    assert_eq!(costs[0].cpu_seconds, 5.05);
    let cpus = &series["api"].cpus;
    assert_eq!(cpus.len(), 11, "one for each second of the load, the last not whole");
    assert!(cpus[..10].iter().all(|cpus| (cpus - 0.5).abs() < 1e-9), "{cpus:?}");
    assert_eq!(observation.whole().0[0].cpu_seconds, 10.0);
    assert_eq!(observation.during(Timestamp::from_second(900).unwrap(), 1.0).1["api"].cpus.len(), 2);
}
