use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::account::Reading;
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
    target.resolve(roots).unwrap().read(roots)
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
    disk_write: Some(711),
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
    disk_write: Some(330),
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
    for target in [Target::Cgroup("/nowhere".into()), Target::Process(1)] {
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

fn container_reading(scratch: &Scratch) -> Option<Reading> {
    target::container(&scratch.roots(), 42).unwrap().read(&scratch.roots())
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
    let reading = source.read(&roots).unwrap();
    assert_eq!(reading.cpu, Duration::from_secs(2));
    assert_eq!(reading.memory, Some(3 * 4096 + 2048));
    assert_eq!(reading.disk_write, Some(3 * 512));
    assert_eq!((reading.periods, reading.throttled), (None, None));

    // 11 dies unseen by its parent, 12 becomes an orphan, and a stranger is given the number 11.
    process(&scratch, 11, 1, 9000, 99);
    process(&scratch, 12, 1, 80, 7);
    let reading = source.read(&roots).unwrap();
    assert_eq!(reading.cpu, Duration::from_secs(2), "what a dead process used is not taken back");
    process(&scratch, 12, 1, 180, 7);
    assert_eq!(source.read(&roots).unwrap().cpu, Duration::from_secs(3));

    for pid in [10, 12] {
        fs::remove_dir_all(roots.proc.join(pid.to_string())).unwrap();
    }
    assert_eq!(source.read(&roots), None);
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
        // SAFETY: kill has no preconditions; the group is the burner's own and has not been waited for.
        unsafe { libc::kill(-(self.0.id() as i32), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}

use std::os::unix::process::CommandExt;

/// Waits until the process tree has used CPU time by its own account.
fn wait_for_cpu(pid: u32) {
    let roots = Roots::default();
    let mut tree = Target::Process(pid).resolve(&roots).unwrap();
    let before = tree.read(&roots).unwrap().cpu;
    while tree.read(&roots).unwrap().cpu < before + Duration::from_millis(100) {
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

/// A control group with a tenth of a CPU, where this machine lets one be made.
struct Cage(Vec<PathBuf>);

impl Cage {
    fn create(name: &str) -> Option<Self> {
        let root = Roots::default().cgroup;
        let v2 = root.join("cgroup.controllers").exists();
        let directories: Vec<PathBuf> = match v2 {
            true => vec![root.join(name)],
            false => ["cpu", "cpuacct"].map(|controller| root.join(controller).join(name)).to_vec(),
        };
        let cage = Self(directories);
        let (file, quota) = if v2 { ("cpu.max", "10000 100000") } else { ("cpu.cfs_quota_us", "10000") };
        cage.0.iter().try_for_each(fs::create_dir).ok()?;
        fs::write(cage.0[0].join(file), quota).ok()?;
        Some(cage)
    }

    fn hold(&self, pid: u32) -> Option<()> {
        self.0.iter().try_for_each(|directory: &PathBuf| fs::write(procs(directory), pid.to_string())).ok()
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

fn procs(directory: &Path) -> PathBuf {
    directory.join("cgroup.procs")
}

#[test]
fn a_real_control_group_is_charged_and_throttled() {
    let name = format!("arena-observe-test-{}", std::process::id());
    let Some(cage) = Cage::create(&name) else {
        eprintln!("no control group can be made here: skipped");
        return;
    };
    let mut command = Command::new("sh");
    command.args(["-c", "read go; (while :; do :; done) & wait"]).process_group(0).stdin(std::process::Stdio::piped());
    let mut burner = Burner(command.spawn().unwrap());
    cage.hold(burner.0.id()).unwrap();
    let observer = Observer::start(vec![("caged".into(), Target::Cgroup(format!("/{name}")))]).unwrap();
    assert_eq!(observer.limits()[0].cpus, Some(0.1));
    std::io::Write::write_all(&mut burner.0.stdin.take().unwrap(), b"go\n").unwrap();
    wait_for_cpu(burner.0.id());
    let (costs, _) = observer.stop().whole();
    let cost = &costs[0];
    assert!(cost.cpu_seconds >= 0.09, "{cost:?}");
    assert!(cost.periods.unwrap() >= 5, "{cost:?}");
    assert!(cost.throttled_periods.unwrap() >= 1, "{cost:?}");
    assert!(cost.throttled_seconds.unwrap() > 0.0, "{cost:?}");
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
