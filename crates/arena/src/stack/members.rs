//! Who belongs to a stack.
//!
//! Nothing is written down: what the kernel says is never out of date, also after a crash of the arena. A process is one of
//! the stack's where either holds:
//!
//! - its working directory is its service's folder below the data directory, and its program is one that the arena starts.
//!   This tells which service it is of, and needs no control groups;
//! - it is in the stack's control group. This also finds who went to another folder, or runs another program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::Signal;

use super::cgroup_limits::Hierarchy;
use super::compose::SERVICES;
use super::lab;
use super::process::{parent_of, signal, wait_until};

const PROGRAMS: [&str; 5] = ["postgres", "initdb", "nginx", "peleja", "lab"];

/// Where a cluster is made, until it is whole and becomes the database's folder.
pub const NEW_CLUSTER: &str = "db.new";

/// The arena's command that starts again what dies.
pub const SUPERVISE: &str = "supervise";

/// The folder that it works in.
pub const SUPERVISOR: &str = "supervisor";

/// The stack's processes: main process by service, and everything else that belongs to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The first process of each service that runs.
    pub main: BTreeMap<String, i32>,
    /// Every process.
    pub all: Vec<i32>,
}

/// The processes that are known by their folder and their program.
pub fn find(data: &Path) -> Found {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut members: Vec<(i32, String)> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, service_of(pid, &data)?)))
        .collect();
    members.sort_unstable();
    let mut found = Found { all: members.iter().map(|(pid, _)| *pid).collect(), ..Found::default() };
    for (pid, service) in members {
        let child = parent_of(pid).is_some_and(|parent| found.all.contains(&parent));
        if service != NEW_CLUSTER && !child && !is_helper(pid) && !is_dying(pid) {
            found.main.entry(service).or_insert(pid);
        }
    }
    found
}

/// Who starts again what dies. It is no service, and has no limits.
pub fn supervisor(data: &Path) -> Option<i32> {
    let folder = data.canonicalize().unwrap_or_else(|_| data.to_owned()).join(SUPERVISOR);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let supervises = |pid: i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(SUPERVISE.as_bytes())
    };
    pids.find(|pid| link_of(*pid, "cwd").as_ref() == Some(&folder) && supervises(*pid))
}

/// Every process of one service.
pub fn of_service(data: &Path, service: &str) -> Vec<i32> {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    find(&data).all.into_iter().filter(|pid| service_of(*pid, &data).as_deref() == Some(service)).collect()
}

/// The control group that holds the groups of a stack's services.
pub fn group(data: &Path) -> String {
    // FNV-1a: the same data directory always has the same group, so that any arena can find it.
    let hash = data
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("peleja-{:08x}", hash >> 32)
}

/// Every process of the stack, however it is known.
pub fn everyone(data: &Path, hierarchy: &Hierarchy) -> Vec<i32> {
    [find(data).all, hierarchy.processes(&group(data))].concat()
}

/// Ends what a service's main process left behind when it was killed: it would be in the way of a new one.
///
/// # Errors
///
/// If something does not end.
pub fn end_orphans(data: &Path, service: &str) -> anyhow::Result<()> {
    signal(of_service(data, service), Signal::SIGKILL);
    let gone = wait_until(Duration::from_secs(10), || of_service(data, service).is_empty());
    ensure!(gone, "what {service} left behind does not end");
    Ok(())
}

/// Whether a process is one that PostgreSQL or nginx started for itself, by the title that it has then; its parent may be
/// gone. Nor does one count that has no title any more: it is ending.
fn is_helper(pid: i32) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    title.is_empty() || title.starts_with(b"postgres: ") || title.starts_with(b"nginx: worker")
}

/// Whether a process was killed and only has not come to it yet: it counts no more, but is still to be waited for.
fn is_dying(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| has_kill_pending(&status))
}

fn has_kill_pending(status: &str) -> bool {
    const KILL: u64 = 1 << (Signal::SIGKILL as u32 - 1);
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:")));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & KILL != 0)
}

fn service_of(pid: i32, data: &Path) -> Option<String> {
    let folder = link_of(pid, "cwd")?;
    let service = folder.strip_prefix(data).ok()?.to_str()?.to_owned();
    let known = SERVICES.iter().chain(&lab::PARTS).any(|known| *known == service) || service == NEW_CLUSTER;
    let program = link_of(pid, "exe")?;
    (known && PROGRAMS.contains(&program.file_name()?.to_str()?)).then_some(service)
}

/// What a link of a process leads to; a file that was replaced or removed since is listed with a word at its end.
fn link_of(pid: i32, link: &str) -> Option<PathBuf> {
    let file = fs::read_link(format!("/proc/{pid}/{link}")).ok()?;
    Some(PathBuf::from(file.to_str()?.trim_end_matches(" (deleted)")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::record::run::Limit;

    #[test]
    fn who_was_killed_and_still_lies_there_is_dying() {
        let status = |thread: &str, shared: &str| format!("Threads:\t1\nSigPnd:\t{thread}\nShdPnd:\t{shared}\n");
        let (none, kill, terminate) = ("0000000000000000", "0000000000000100", "0000000000004000");
        assert!(has_kill_pending(&status(none, kill)));
        assert!(has_kill_pending(&status(kill, none)));
        assert!(!has_kill_pending(&status(none, none)));
        assert!(!has_kill_pending(&status(none, terminate)));
    }

    #[test]
    fn only_a_service_s_own_folder_makes_a_process_ours() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().canonicalize().unwrap();
        let program = data.join("nginx-program/nginx");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy("/bin/sleep", &program).unwrap();
        for (folder, expected) in
            [("nginx", Some("nginx")), ("nginx/sub", None), ("other", None), ("db.new", Some("db.new"))]
        {
            fs::create_dir_all(data.join(folder)).unwrap();
            let mut child = Command::new(&program).arg("10").current_dir(data.join(folder)).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let service = service_of(pid, &data);
            // A program that has only just begun has no title yet.
            wait_until(Duration::from_secs(5), || !is_helper(pid));
            let main = find(&data).main.get("nginx").copied();
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(service.as_deref(), expected, "{folder}");
            assert_eq!(main, (folder == "nginx").then_some(pid), "{folder}");
        }
    }

    /// A frozen process cannot come to its death: what is over in a moment otherwise lasts. Only version 1 freezes so.
    #[test]
    fn who_was_killed_runs_no_more_before_he_is_gone() {
        let freezer = PathBuf::from(format!("/sys/fs/cgroup/freezer/peleja-test-{}", std::process::id()));
        if fs::create_dir(&freezer).is_err() {
            eprintln!("not tried here: there is no freezer of version 1");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("nginx");
        fs::create_dir(&folder).unwrap();
        fs::copy("/bin/sleep", root.path().join("peleja")).unwrap();
        let mut child = Command::new(root.path().join("peleja")).arg("10").current_dir(&folder).spawn().unwrap();
        let pid = child.id() as i32;
        wait_until(Duration::from_secs(5), || !is_helper(pid));
        let before = find(root.path());
        fs::write(freezer.join("cgroup.procs"), pid.to_string()).unwrap();
        fs::write(freezer.join("freezer.state"), "FROZEN").unwrap();
        signal([pid], Signal::SIGKILL);
        let after = find(root.path());
        fs::write(freezer.join("freezer.state"), "THAWED").unwrap();
        child.wait().unwrap();
        assert!(wait_until(Duration::from_secs(5), || fs::remove_dir(&freezer).is_ok()));
        assert_eq!((before.main.get("nginx"), after.main.get("nginx")), (Some(&pid), None));
        assert_eq!(after.all, [pid]);
    }

    #[test]
    #[expect(unsafe_code, reason = "what runs between fork and exec is for us to vouch for")]
    fn who_is_in_the_group_belongs_to_the_stack_wherever_he_works() {
        let data = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::detect(&group(data.path())).entered();
        if let Hierarchy::Absent(reason) = &hierarchy {
            eprintln!("not tried here: {reason}");
            return;
        }
        let limit = Limit { service: "db".into(), cpus: None, memory_bytes: None };
        let entrance = hierarchy.create(&group(data.path()), &limit).unwrap();
        let mut command = Command::new("sleep");
        command.arg("10").current_dir("/");
        // Writes to files that are open already.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, move || entrance.join()) };
        let mut child = command.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let known = (find(data.path()).all, everyone(data.path(), &hierarchy));
        child.kill().unwrap();
        child.wait().unwrap();
        hierarchy.remove(&group(data.path())).unwrap();
        assert_eq!(known, (vec![], vec![pid]));
    }
}
