//! Starting and ending the stack's processes, and finding them again.
//!
//! Nothing is written down: a process of the stack is one whose working directory is its service's folder below the
//! data directory, and whose program is one that the arena starts. What the kernel says is never out of date, also
//! after a crash of the arena.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, setgid, setgroups, setsid, setuid};

use super::cgroup::Entrance;
use super::compose::SERVICES;
use super::lab;

const PROGRAMS: [&str; 5] = ["postgres", "initdb", "nginx", "peleja", "lab"];

/// Where a cluster is made, until it is whole and becomes the database's folder.
pub const NEW_CLUSTER: &str = "db.new";

/// As whom the services run.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// Their user.
    pub uid: Uid,
    /// Their group.
    pub gid: Gid,
}

impl Account {
    /// The caller; or, as PostgreSQL will not run as root, the account that came with it, else `nobody`.
    ///
    /// # Errors
    ///
    /// If root has neither of the two on this machine.
    pub fn choose() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self { uid: Uid::effective(), gid: Gid::effective() });
        }
        let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.context("there is no user `postgres` or `nobody` to run the services as")?;
        Ok(Self { uid: user.uid, gid: user.gid })
    }

    /// Fails where the account may not enter a folder that the caller made, because of the folders above it.
    ///
    /// # Errors
    ///
    /// One line that says so.
    pub fn ensure_entry(self, folder: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("test");
        command.arg("-x").arg(folder);
        prepare(&mut command, self, None);
        let enters = command.status().context("starting test")?.success();
        let name = User::from_uid(self.uid).ok().flatten().map_or(self.uid.to_string(), |user| user.name);
        ensure!(
            enters,
            "the services run as {name}, who may not enter {}; choose another folder with --data",
            folder.display()
        );
        Ok(())
    }

    /// Makes a folder that belongs to the account.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn create_folder(&self, path: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        nix::unistd::chown(path, Some(self.uid), Some(self.gid)).with_context(|| path.display().to_string())
    }
}

/// Starts a program in a session of its own, as the account, inside the group, its output in the log. It outlives us.
///
/// # Errors
///
/// If it cannot be started.
pub fn spawn(mut command: Command, account: Account, entrance: Option<Entrance>, log: &Path) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let log = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    prepare(&mut command, account, entrance);
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    // A child that ended and that nobody asked about still has its process id: PostgreSQL would take its dead
    // predecessor for a living one.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Has the child join its group, leave the terminal, and stop being root.
pub fn prepare(command: &mut Command, account: Account, entrance: Option<Entrance>) {
    let change_account = account.uid != Uid::effective();
    let before_program = move || -> io::Result<()> {
        if let Some(entrance) = &entrance {
            entrance.join()?;
        }
        setsid()?;
        keep_no_descriptors();
        raise_file_limit();
        if change_account {
            setgroups(&[])?;
            setgid(account.gid)?;
            setuid(account.uid)?;
        }
        Ok(())
    };
    // Between fork and exec only system calls are allowed, and these are nothing else.
    unsafe { command.pre_exec(before_program) };
}

/// A service outlives its caller by far: what the caller had open, a lock for instance, is none of its concern.
fn keep_no_descriptors() {
    // They go when the program starts, and not at once, for one of them tells the parent of a failure. A kernel older
    // than 5.11 cannot do it, and the service then keeps them.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// nginx wants two descriptors for each request under way. Only root may raise the hard limit; as many as the machine
/// gives must do.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const WANTED: u64 = 65_536;
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, WANTED, hard.max(WANTED));
    if raised.is_err() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(WANTED), hard);
    }
}

/// The stack's processes: main process by service, and everything else that belongs to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The first process of each service that runs.
    pub main: BTreeMap<String, i32>,
    /// Every process.
    pub all: Vec<i32>,
}

/// Finds the processes that run below a data directory.
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

/// Ends what a service's main process left behind when it was killed: it would be in the way of a new one.
///
/// # Errors
///
/// If something does not end.
pub fn end_orphans(data: &Path, service: &str) -> anyhow::Result<()> {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let orphans = || find(&data).all.into_iter().filter(|pid| service_of(*pid, &data).as_deref() == Some(service));
    signal(orphans(), Signal::SIGKILL);
    let gone = wait_until(Duration::from_secs(10), || orphans().next().is_none());
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

fn parent_of(pid: i32) -> Option<i32> {
    state_and_parent(pid)?.1.parse().ok()
}

/// Whether a process still runs; one that ended and that nobody asked about does not.
pub fn lives(pid: i32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !["Z", "X"].contains(&state.as_str()))
}

fn state_and_parent(pid: i32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name in parentheses, may hold anything; see proc_pid_stat(5).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}

/// Sends a signal to each; a process that is gone already is none of anyone's concern.
pub fn signal(pids: impl IntoIterator<Item = i32>, signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Waits until `condition` holds; returns whether it did in time.
pub fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_service_keeps_none_of_its_caller_s_files() {
        let folder = tempfile::tempdir().unwrap();
        let lock = File::create(folder.path().join("lock")).unwrap();
        // As a shell hands it on.
        nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let account = Account { uid: Uid::effective(), gid: Gid::effective() };
        let mut command = Command::new("sleep");
        command.arg("10").current_dir(folder.path());
        prepare(&mut command, account, None);
        let mut child = command.spawn().unwrap();
        let open = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
        let open: Vec<PathBuf> = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!open.contains(&folder.path().join("lock")), "{open:?}");
    }
}
