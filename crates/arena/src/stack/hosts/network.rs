//! Hosts as network namespaces, each with an address of its own, on one switch. The kernel alone remembers who belongs to them,
//! by the names of the namespaces: whatever crashes, they are found again.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use super::{HOSTS, Host};
use crate::stack::process;

/// The namespace of the switch. It has one of its own, for in this machine's a firewall may look at what crosses a switch.
const SWITCH: &str = "peleja-switch";

/// This machine's own end of the network, and its address there.
const OWN: (&str, &str) = ("peleja", "10.83.0.1/24");

/// Where iproute2 keeps namespaces by their names.
const NAMESPACES: &str = "/run/netns";

/// An address at which nobody is.
const NOBODY: &str = "02:00:00:00:00:00";

/// Whoever does not answer a connection is given up after 3 s, and tried anew. By the kernel's default a standby that was cut
/// off asks its primary after ever longer pauses, the last of 16 s, and is back up to as much later.
const GIVE_UP_SOON: &str = "echo 1 >/proc/sys/net/ipv4/tcp_syn_retries";

/// How long killed processes may take to go.
const GONE_PATIENCE: Duration = Duration::from_secs(10);

/// Makes the network and all hosts on it.
///
/// # Errors
///
/// What the kernel refuses.
pub(super) fn create() -> anyhow::Result<()> {
    ip("netns", &["add", SWITCH])?;
    ip("-n", &[SWITCH, "link", "add", "switch", "type", "bridge"])?;
    ip("-n", &[SWITCH, "link", "set", "switch", "up"])?;
    for host in HOSTS {
        let namespace = host.namespace();
        ip("netns", &["add", &namespace])?;
        ip("-n", &[&namespace, "link", "add", "eth0", "type", "veth", "peer", "name", host.name, "netns", SWITCH])?;
        ip("-n", &[&namespace, "address", "add", &format!("{}/24", host.address()), "dev", "eth0"])?;
        for device in ["lo", "eth0"] {
            ip("-n", &[&namespace, "link", "set", device, "up"])?;
        }
        ip("-n", &[SWITCH, "link", "set", host.name, "master", "switch", "up"])?;
        ip("netns", &["exec", &namespace, "sh", "-c", GIVE_UP_SOON])?;
    }
    let (device, address) = OWN;
    ip("link", &["add", device, "type", "veth", "peer", "name", "uplink", "netns", SWITCH])?;
    ip("-n", &[SWITCH, "link", "set", "uplink", "master", "switch", "up"])?;
    ip("address", &["add", address, "dev", device])?;
    ip("link", &["set", device, "up"])
}

/// Whether the kernel lets this process make a network of its own.
pub(super) fn may_be_made() -> bool {
    Command::new("unshare").args(["--net", "true"]).output().is_ok_and(|output| output.status.success())
}

/// Whether anything of the network is there.
pub(super) fn is_there() -> bool {
    namespaces().any(|name| Path::new(NAMESPACES).join(name).exists())
}

/// Ends every process of every host and removes the network. Returns how many processes there were.
///
/// # Errors
///
/// If something of it stays.
pub(super) fn destroy() -> anyhow::Result<usize> {
    let mut ended = 0;
    for name in namespaces().filter(|name| Path::new(NAMESPACES).join(name).exists()) {
        ended += members(&name).len();
        let is_empty = || {
            process::signal(members(&name), Signal::SIGKILL);
            members(&name).is_empty()
        };
        ensure!(process::wait_until(GONE_PATIENCE, is_empty), "{name} still has processes: {:?}", members(&name));
        ip("netns", &["delete", &name])?;
    }
    // With its other end it is gone already, unless `create` was killed in between.
    let _ = Command::new("ip").args(["link", "delete", OWN.0]).output();
    Ok(ended)
}

fn namespaces() -> impl Iterator<Item = String> {
    HOSTS.iter().map(|host| host.namespace()).chain([SWITCH.to_owned()])
}

/// All processes of a host.
pub(super) fn processes(host: Host) -> Vec<i32> {
    members(&host.namespace())
}

fn members(namespace: &str) -> Vec<i32> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output();
    let listed = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| process::lives(*pid)).collect()
}

/// Has a program run on a host.
///
/// # Errors
///
/// If there is no such host.
#[expect(unsafe_code, reason = "what runs between fork and exec is for us to vouch for")]
pub(super) fn enter(command: &mut Command, host: Host) -> anyhow::Result<()> {
    let path = Path::new(NAMESPACES).join(host.namespace());
    let namespace = File::open(&path).with_context(|| path.display().to_string())?;
    let join = move || setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
    // Between fork and exec only system calls are allowed, and this is nothing else.
    unsafe { command.pre_exec(join) };
    Ok(())
}

/// Cuts two hosts off from each other: what one sends to the other goes to nobody, as with a cable that was pulled.
///
/// # Errors
///
/// What the kernel refuses.
pub(super) fn cut(one: Host, other: Host) -> anyhow::Result<()> {
    for (from, to) in [(one, other), (other, one)] {
        let words = ["neighbour", "replace", &to.address(), "lladdr", NOBODY, "nud", "permanent", "dev", "eth0"];
        ip("-n", &[&[from.namespace().as_str()], &words[..]].concat())?;
    }
    Ok(())
}

/// Undoes [`cut`].
///
/// # Errors
///
/// What the kernel refuses.
pub(super) fn join(one: Host, other: Host) -> anyhow::Result<()> {
    for (from, to) in [(one, other), (other, one)] {
        ip("-n", &[&from.namespace(), "neighbour", "delete", &to.address(), "dev", "eth0"])?;
    }
    Ok(())
}

fn ip(object: &str, words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").arg(object).args(words).output().context("starting ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {object} {}: {}", words.join(" "), said.trim());
    Ok(())
}
