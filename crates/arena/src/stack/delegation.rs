//! Where somebody who is not root may make control groups of version 2: below a group that was handed to them.
//!
//! That is the group that we stand in, where it is ours to divide; or else a scope that the user's own systemd makes for one
//! stack. Such a scope lives for as long as a process is in it, whoever that is, and systemd removes it then. Protocol:
//! `org.freedesktop.systemd1(5)`, and systemd's document "Control Group APIs and Delegation".

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::unistd::Uid;

use super::process::wait_until;

/// Version 2 allows no process in a group that hands controllers down. Whoever was there, ourselves among them, goes here.
const ANTEROOM: &str = "peleja-arena";

/// How systemd marks a group that is its user's to divide; older ones do so where only root can read it.
const MARK: &str = "user.delegate";

const JOIN_PATIENCE: Duration = Duration::from_secs(10);

/// Below which group the stack of that name may have its own. Makes nothing yet: see [`enter`].
///
/// # Errors
///
/// Why there is none, and what to do about it.
pub fn find(root: &Path, stack: &str) -> Result<PathBuf, String> {
    let own = own_group(root);
    if let Some(own) = own.as_ref().filter(|own| is_handed_over(own)) {
        return Ok(own.clone());
    }
    match scope(root, stack) {
        // Where no systemd says what is whose, what may be written is ours.
        Err(reason) => own.filter(|own| is_writable(own) && lacks(own).is_none()).ok_or(reason),
        scope => scope,
    }
}

/// Takes this process to where its children may go into groups below `group`, which a scope may have to be made for.
///
/// # Errors
///
/// If systemd or the kernel refuses.
pub fn enter(root: &Path, group: &Path) -> anyhow::Result<()> {
    if let Some(unit) = unit_of(group) {
        join(root, group, unit)?;
    }
    let anteroom = make_anteroom(group)?;
    let control = group.join("cgroup.subtree_control");
    // Somebody who is there may have had a child meanwhile.
    let handed_down = wait_until(JOIN_PATIENCE, || {
        let _ = move_all(group, &anteroom);
        fs::write(&control, "+cpu +memory").is_ok()
    });
    ensure!(handed_down, "+cpu +memory cannot be written to {}", control.display());
    // Only disk writes are not measured without it, and the processes tell of theirs.
    let _ = fs::write(&control, "+io");
    Ok(())
}

/// Gives `group` back as it was, unless another stack is still below it, and waits for systemd to remove a scope that has
/// nobody left.
pub fn leave(group: &Path) {
    let anteroom = group.join(ANTEROOM);
    // The kernel refuses while a group below hands them on.
    let free = fs::write(group.join("cgroup.subtree_control"), "-cpu -memory").is_ok();
    if free && anteroom.is_dir() {
        let _ = fs::write(group.join("cgroup.subtree_control"), "-io");
        wait_until(JOIN_PATIENCE, || move_all(&anteroom, group).is_ok() && fs::remove_dir(&anteroom).is_ok());
    }
    if unit_of(group).is_some() {
        let occupied =
            || fs::read_to_string(group.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"));
        wait_until(JOIN_PATIENCE, || !group.exists() || occupied());
    }
}

fn make_anteroom(group: &Path) -> anyhow::Result<PathBuf> {
    let anteroom = group.join(ANTEROOM);
    match fs::create_dir(&anteroom) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).context(anteroom.display().to_string())
        }
        _ => Ok(anteroom),
    }
}

/// The group that we stand in, or that we have left for its anteroom.
fn own_group(root: &Path) -> Option<PathBuf> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let name = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = root.join(name);
    let group = if group.ends_with(ANTEROOM) { group.parent()?.to_owned() } else { group };
    (group != root && group.is_dir()).then_some(group)
}

fn is_handed_over(group: &Path) -> bool {
    let mut value = [0; 1];
    let mut is_marked = || rustix::fs::getxattr(group, MARK, &mut value).is_ok() && value == *b"1";
    is_writable(group) && lacks(group).is_none() && (is_marked() || is_delegated_unit(group))
}

fn is_delegated_unit(group: &Path) -> bool {
    let Some(unit) = group.file_name() else { return false };
    let manager =
        if group.iter().any(|name| name.as_encoded_bytes().starts_with(b"user@")) { "--user" } else { "--system" };
    let mut command = Command::new("systemctl");
    command.args([manager, "show", "--property=Delegate", "--value", "--"]).arg(unit);
    let output = command.env("XDG_RUNTIME_DIR", runtime_folder()).output();
    output.is_ok_and(|output| output.stdout.starts_with(b"yes"))
}

fn is_writable(group: &Path) -> bool {
    ["", "cgroup.procs", "cgroup.subtree_control"]
        .iter()
        .all(|file| rustix::fs::access(group.join(file), rustix::fs::Access::WRITE_OK).is_ok())
}

/// A controller that limits need and that a group is not given.
fn lacks(group: &Path) -> Option<&'static str> {
    let given = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    ["cpu", "memory"].into_iter().find(|wanted| !given.split_whitespace().any(|name| name == *wanted))
}

/// The scope that the user's systemd makes for a stack.
fn scope(root: &Path, stack: &str) -> Result<PathBuf, String> {
    let uid = Uid::effective();
    let manager = root.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    if !manager.is_dir() {
        return Err(format!(
            "no group can be made in {}, and no systemd of yours runs that could make one; log in as yourself (by ssh, or \
             `sudo loginctl enable-linger {uid}`), or run it as root",
            root.display()
        ));
    }
    if let Some(controller) = lacks(&manager) {
        return Err(format!(
            "your systemd is not given the {controller} controller; run `sudo systemctl edit user@.service`, write \
             `[Service]` and `Delegate=cpu memory pids io` there, and log in anew"
        ));
    }
    if !runtime_folder().join("bus").exists() {
        return Err(
            "your systemd has no bus to be reached by; install the package `dbus-user-session`, and log in anew".into(),
        );
    }
    Ok(manager.join("app.slice").join(format!("{stack}.scope")))
}

/// The name of the unit that a group is, if the arena had it made.
fn unit_of(group: &Path) -> Option<&str> {
    group.file_name()?.to_str().filter(|name| name.starts_with("peleja-") && name.ends_with(".scope"))
}

/// Has systemd take us into a scope, and make it where it is not there yet.
fn join(root: &Path, group: &Path, unit: &str) -> anyhow::Result<()> {
    let stands_there = || own_group(root).is_some_and(|own| own == group);
    let mut refusal = None;
    // One that has just lost its last process is on its way out.
    let joined = wait_until(JOIN_PATIENCE, || {
        if !stands_there() {
            refusal = if group.is_dir() { attach(group, unit) } else { start(unit) }.err();
        }
        refusal.is_none() && wait_until(Duration::from_secs(2), stands_there)
    });
    match refusal {
        _ if joined => Ok(()),
        Some(error) => Err(error),
        None => bail!("systemd did not make {}", group.display()),
    }
}

fn start(unit: &str) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let properties = ["4", "PIDs", "au", "1", &pid, "Delegate", "b", "true", "Slice", "s", "app.slice"];
    let collect = ["CollectMode", "s", "inactive-or-failed"];
    let words = [&["StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail"][..], &properties, &collect, &["0"]];
    ask_systemd(&words.concat())
}

fn attach(group: &Path, unit: &str) -> anyhow::Result<()> {
    make_anteroom(group)?;
    let pid = std::process::id().to_string();
    ask_systemd(&["AttachProcessesToUnit", "ssau", unit, &format!("/{ANTEROOM}"), "1", &pid])
}

fn ask_systemd(words: &[&str]) -> anyhow::Result<()> {
    const MANAGER: [&str; 3] =
        ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let mut command = Command::new("busctl");
    command.args(["--user", "--quiet", "call"]).args(MANAGER).args(words);
    // Whoever became this user by `su` is not told.
    command.env("XDG_RUNTIME_DIR", runtime_folder());
    let output = command.output().context("starting busctl, which comes with systemd")?;
    ensure!(output.status.success(), "systemd: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn runtime_folder() -> PathBuf {
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| format!("/run/user/{}", Uid::effective()).into())
}

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    let listed = fs::read_to_string(from.join("cgroup.procs"))?;
    let target = to.join("cgroup.procs");
    for pid in listed.lines() {
        match fs::write(&target, pid) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with the group of the user's systemd in it, which is given these controllers.
    fn machine(controllers: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let uid = Uid::effective();
        let manager = root.path().join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
        fs::create_dir_all(&manager).unwrap();
        fs::write(manager.join("cgroup.controllers"), controllers).unwrap();
        root
    }

    #[test]
    fn without_a_systemd_of_one_s_own_it_is_told_how_to_get_one() {
        let reason = find(tempfile::tempdir().unwrap().path(), "peleja-1").unwrap_err();
        assert!(reason.contains("enable-linger"), "{reason}");
    }

    #[test]
    fn a_systemd_without_the_cpu_controller_can_set_no_limits() {
        let reason = find(machine("memory pids").path(), "peleja-1").unwrap_err();
        assert!(reason.contains("cpu controller") && reason.contains("Delegate="), "{reason}");
    }

    #[test]
    fn only_a_scope_of_the_arena_s_own_is_one_to_be_made() {
        assert_eq!(unit_of(Path::new("/x/app.slice/peleja-1.scope")), Some("peleja-1.scope"));
        assert_eq!(unit_of(Path::new("/x/app.slice/run-1.scope")), None);
    }
}
