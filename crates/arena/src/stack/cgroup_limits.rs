//! Control groups of our own: one for each service, with its limits. Version 1 and 2.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::delegation;
use super::entrance::Entrance;
use crate::record::run::Limit;

/// Where the kernel shows its control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The kernel's default, and what Docker sets: a service with half a CPU may use 50 ms of each.
const PERIOD_US: u64 = 100_000;

/// How this machine's control groups are reached.
#[derive(Clone, Debug)]
pub enum Hierarchy {
    /// One tree of groups for each controller that the arena uses, by the controller's name.
    V1(Vec<(&'static str, PathBuf)>),
    /// One tree, and the group in it below which ours can be made.
    V2(PathBuf),
    /// None that may be written; the reason.
    Absent(String),
}

impl Hierarchy {
    /// Looks for a hierarchy in which groups can be made for the stack of that name.
    pub fn detect(stack: &str) -> Self {
        Self::detect_at(Path::new(ROOT), stack)
    }

    /// That of a stack that has its groups below `group`, if that is still there.
    pub fn below(group: &Path) -> Option<Self> {
        group.is_dir().then(|| Self::V2(group.to_owned()))
    }

    fn detect_at(root: &Path, stack: &str) -> Self {
        if root.join("cgroup.controllers").is_file() {
            return Self::detect_v2(root, stack);
        }
        let controllers: Vec<_> = ["cpu", "cpuacct", "memory", "blkio"]
            .into_iter()
            .map(|name| (name, root.join(name)))
            .filter(|(_, path)| path.join("cgroup.procs").is_file())
            .collect();
        let has = |wanted| controllers.iter().any(|(name, _)| *name == wanted);
        if !has("cpu") || !has("memory") {
            return Self::Absent(
                "no cpu and memory controllers are mounted; boot with control groups of version 2, or use --engine docker"
                    .into(),
            );
        }
        match probe(&root.join("cpu")) {
            Ok(()) => Self::V1(controllers),
            Err(error) => Self::Absent(format!("{error}; run it as root, or boot with control groups of version 2")),
        }
    }

    fn detect_v2(root: &Path, stack: &str) -> Self {
        if probe(root).is_err() {
            return delegation::find(root, stack).map_or_else(Self::Absent, Self::V2);
        }
        // Groups at the top need their parent to hand controllers down; systemd has mostly done so already.
        let enabled = |name: &str| {
            let path = root.join("cgroup.subtree_control");
            let listed = || fs::read_to_string(&path).is_ok_and(|names| names.split_whitespace().any(|n| n == name));
            listed() || (fs::write(&path, format!("+{name}")).is_ok() && listed())
        };
        // Without io only the disk writes go unmeasured.
        enabled("io");
        if !enabled("cpu") || !enabled("memory") {
            return Self::Absent(
                "the cpu and memory controllers cannot be enabled for new groups; a container needs a group of its own \
                 without processes, or run it outside of one"
                    .into(),
            );
        }
        Self::V2(root.to_owned())
    }

    /// The same once this process stands where its children may go into groups; [`Hierarchy::Absent`] where that is refused.
    pub fn entered(self) -> Self {
        match self.handed_over().map(|group| delegation::enter(Path::new(ROOT), group)) {
            Some(Err(error)) => Self::Absent(format!("{error:#}")),
            _ => self,
        }
    }

    /// The group that was handed to us, where ours are not made at the top.
    pub fn handed_over(&self) -> Option<&Path> {
        match self {
            Self::V2(group) if group != Path::new(ROOT) => Some(group),
            _ => None,
        }
    }

    /// A group's name from the top, as `/proc/PID/cgroup` writes it.
    pub fn name(&self, group: &str) -> String {
        let below = self.handed_over().and_then(|parent| parent.strip_prefix(ROOT).ok());
        below.map_or_else(|| group.to_owned(), |parent| format!("{}/{group}", parent.display()))
    }

    /// Which version this machine's container engines use: `v1` or `v2`.
    pub fn mounted() -> &'static str {
        if Path::new(ROOT).join("cgroup.controllers").is_file() { "v2" } else { "v1" }
    }

    /// `v1`, `v2` or `none`.
    pub fn version(&self) -> &'static str {
        match self {
            Self::V1(_) => "v1",
            Self::V2(_) => "v2",
            Self::Absent(_) => "none",
        }
    }

    fn trees(&self) -> Vec<&Path> {
        match self {
            Self::V1(controllers) => controllers.iter().map(|(_, path)| path.as_path()).collect(),
            Self::V2(root) => vec![root],
            Self::Absent(_) => Vec::new(),
        }
    }

    /// Makes the group `parent/service` with its limits, and opens what puts a process into it.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn create(&self, parent: &str, limit: &Limit) -> anyhow::Result<Entrance> {
        let name = format!("{parent}/{}", limit.service);
        // It may have been given back with the last group that was below it.
        if let Some(group) = self.handed_over() {
            delegation::enter(Path::new(ROOT), group)?;
        }
        for tree in self.trees() {
            let group = tree.join(&name);
            fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
        }
        if let Self::V2(root) = self {
            let path = root.join(parent).join("cgroup.subtree_control");
            // All or none are enabled by one write, and io may be missing, see `detect_v2`.
            let enabled = fs::write(&path, "+cpu +memory +io").or_else(|_| fs::write(&path, "+cpu +memory"));
            enabled.with_context(|| format!("+cpu +memory to {}", path.display()))?;
        }
        self.hold(parent, limit)?;
        let open = |tree: &Path| {
            let path = tree.join(&name).join("cgroup.procs");
            OpenOptions::new().write(true).open(&path).with_context(|| path.display().to_string())
        };
        Ok(Entrance::of(self.trees().into_iter().map(open).collect::<Result<_, _>>()?))
    }

    /// Holds the group `parent/service`, which is there, to these limits from now on.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, as it does where more memory is held than is to be allowed.
    pub fn hold(&self, parent: &str, limit: &Limit) -> anyhow::Result<()> {
        let name = format!("{parent}/{}", limit.service);
        self.settings(&name, limit).into_iter().try_for_each(|(path, value)| {
            fs::write(&path, &value).with_context(|| format!("{value} to {}", path.display()))
        })
    }

    fn settings(&self, name: &str, limit: &Limit) -> Vec<(PathBuf, String)> {
        let quota = limit.cpus.map(|cpus| (cpus * PERIOD_US as f64).round() as u64);
        let mut settings = Vec::new();
        match self {
            Self::V1(controllers) => {
                let controller = |wanted| controllers.iter().find(|(name, _)| *name == wanted).map(|(_, path)| path);
                if let (Some(quota), Some(cpu)) = (quota, controller("cpu")) {
                    settings.push((cpu.join(name).join("cpu.cfs_period_us"), PERIOD_US.to_string()));
                    settings.push((cpu.join(name).join("cpu.cfs_quota_us"), quota.to_string()));
                }
                if let (Some(bytes), Some(memory)) = (limit.memory_bytes, controller("memory")) {
                    settings.push((memory.join(name).join("memory.limit_in_bytes"), bytes.to_string()));
                }
            }
            Self::V2(root) => {
                if let Some(quota) = quota {
                    settings.push((root.join(name).join("cpu.max"), format!("{quota} {PERIOD_US}")));
                }
                if let Some(bytes) = limit.memory_bytes {
                    settings.push((root.join(name).join("memory.max"), bytes.to_string()));
                }
            }
            Self::Absent(_) => {}
        }
        settings
    }

    /// Processes in any group below `parent`.
    pub fn processes(&self, parent: &str) -> Vec<i32> {
        let mut pids: Vec<i32> = Vec::new();
        for tree in self.trees() {
            for group in groups(&tree.join(parent)) {
                let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
            }
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Removes `parent` and all groups below it; they must hold no process any more. What was handed over for them goes back.
    ///
    /// # Errors
    ///
    /// If the kernel still holds one busy after a while.
    pub fn remove(&self, parent: &str) -> anyhow::Result<()> {
        for tree in self.trees() {
            for group in groups(&tree.join(parent)) {
                remove(&group).with_context(|| format!("removing {}", group.display()))?;
            }
        }
        if let Some(group) = self.handed_over() {
            delegation::leave(group);
        }
        Ok(())
    }
}

/// A group and its children, children first.
fn groups(parent: &Path) -> Vec<PathBuf> {
    if !parent.is_dir() {
        return Vec::new();
    }
    let children = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut groups: Vec<_> = children.map(|child| child.path()).filter(|path| path.is_dir()).collect();
    groups.push(parent.to_owned());
    groups
}

/// A group whose last process just ended stays busy for a moment.
fn remove(group: &Path) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => return outcome,
        }
    }
}

fn probe(tree: &Path) -> io::Result<()> {
    let group = tree.join(format!("peleja-probe-{}", std::process::id()));
    fs::create_dir(&group)
        .and_then(|()| fs::remove_dir(&group))
        .map_err(|error| io::Error::new(error.kind(), format!("no group can be made in {}: {error}", tree.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> Limit {
        Limit { service: "api1".into(), cpus: Some(0.25), memory_bytes: Some(128 << 20) }
    }

    #[test]
    fn limits_are_written_as_each_version_wants_them() {
        let v1 = Hierarchy::V1(vec![("cpu", "/c".into()), ("memory", "/m".into())]);
        let expected = [
            ("/c/p/api1/cpu.cfs_period_us", "100000"),
            ("/c/p/api1/cpu.cfs_quota_us", "25000"),
            ("/m/p/api1/memory.limit_in_bytes", "134217728"),
        ];
        let expected = expected.map(|(path, value)| (PathBuf::from(path), value.to_owned()));
        assert_eq!(v1.settings("p/api1", &limit()), expected);
        let v2 = Hierarchy::V2("/g".into());
        let expected = [("/g/p/api1/cpu.max", "25000 100000"), ("/g/p/api1/memory.max", "134217728")];
        let expected = expected.map(|(path, value)| (PathBuf::from(path), value.to_owned()));
        assert_eq!(v2.settings("p/api1", &limit()), expected);
    }

    #[test]
    fn a_machine_without_controllers_is_told_apart() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(Hierarchy::detect_at(empty.path(), "p").version(), "none");
    }

    #[test]
    fn version_2_is_known_by_its_controllers_file() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu io memory").unwrap();
        fs::write(root.path().join("cgroup.subtree_control"), "cpu io memory").unwrap();
        assert_eq!(Hierarchy::detect_at(root.path(), "p").version(), "v2");
        let group = root.path().join("p/api1");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.procs"), "").unwrap();
        let v2 = Hierarchy::detect_at(root.path(), "p");
        v2.create("p", &limit()).unwrap();
        assert_eq!(fs::read_to_string(group.join("cpu.max")).unwrap(), "25000 100000");
        let handed_down = fs::read_to_string(root.path().join("p/cgroup.subtree_control")).unwrap();
        assert_eq!(handed_down, "+cpu +memory +io");
    }

    /// As in a container, whose group holds processes: the kernel lists nothing, whatever is written.
    #[test]
    fn a_version_2_that_hands_nothing_down_sets_no_limits() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu io memory").unwrap();
        std::os::unix::fs::symlink("/dev/null", root.path().join("cgroup.subtree_control")).unwrap();
        let hierarchy = Hierarchy::detect_at(root.path(), "p");
        assert!(
            matches!(&hierarchy, Hierarchy::Absent(reason) if reason.contains("cannot be enabled")),
            "{hierarchy:?}"
        );
    }

    /// Where this machine lets us, a real child really is held to its limit's group and leaves nothing behind.
    #[test]
    fn a_child_joins_and_the_group_goes_again() {
        let parent = format!("peleja-test-{}", std::process::id());
        let hierarchy = Hierarchy::detect(&parent).entered();
        if let Hierarchy::Absent(reason) = &hierarchy {
            eprintln!("not tried here: {reason}");
            return;
        }
        let entrance = hierarchy.create(&parent, &limit()).unwrap();
        let mut command = std::process::Command::new("sleep");
        command.arg("10");
        // Writes to files that are open already.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, move || entrance.join()) };
        let mut child = command.spawn().unwrap();
        assert_eq!(hierarchy.processes(&parent), [child.id() as i32]);
        child.kill().unwrap();
        child.wait().unwrap();
        hierarchy.remove(&parent).unwrap();
        assert!(hierarchy.trees().iter().all(|tree| !tree.join(&parent).exists()));
    }
}
