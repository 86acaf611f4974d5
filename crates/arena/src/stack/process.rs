//! Starting processes as services run, and asking, telling and awaiting any.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, setgid, setgroups, setsid, setuid};

use super::entrance::Entrance;

/// How long to look away from a condition that is waited for.
pub const GLANCE: Duration = Duration::from_millis(20);

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
            return Ok(Self::caller());
        }
        let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.context("there is no user `postgres` or `nobody` to run the services as")?;
        Ok(Self { uid: user.uid, gid: user.gid })
    }

    /// The caller.
    pub fn caller() -> Self {
        Self { uid: Uid::effective(), gid: Gid::effective() }
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
#[expect(unsafe_code, reason = "what runs between fork and exec is for us to vouch for")]
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
#[expect(unsafe_code, reason = "no library knows this system call")]
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

/// The process id of a process's parent.
pub(super) fn parent_of(pid: i32) -> Option<i32> {
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
        std::thread::sleep(GLANCE);
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
    use std::path::PathBuf;

    use super::*;

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
