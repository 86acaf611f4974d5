//! Ports on the loopback address: which are free, and local ones for a load that goes to containers.
//!
//! A port that a published one forwards to is reached from the host by way of Docker's proxy, which opens a connection to
//! the container for each that it is given. When it closes one, Linux keeps its local port back for a minute, unless both
//! ends are on the loopback device; of some 28,000 ports there are, the event's load takes more in a minute. With
//! `tcp_tw_reuse` at 1 a port is free again after a second (see ip-sysctl in the kernel's documentation).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

const SETTING: &str = "/proc/sys/net/ipv4/tcp_tw_reuse";

/// How long a connection to this machine's own address may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ports are free again soon, until this is dropped.
pub struct SoonFree {
    path: PathBuf,
    before: Option<String>,
}

impl SoonFree {
    /// Sets the kernel so, where that is allowed and needed, and says so. Where it is not allowed, says what to do.
    pub fn until_dropped() -> Self {
        Self::at(Path::new(SETTING))
    }

    fn at(path: &Path) -> Self {
        let before = fs::read_to_string(path).ok().filter(|value| value.trim() != "1");
        let changed = before.filter(|before| match fs::write(path, "1") {
            Ok(()) => {
                eprintln!("arena: net.ipv4.tcp_tw_reuse is 1 instead of {} until the bout is over", before.trim());
                true
            }
            Err(_) => {
                eprintln!(
                    "arena: with net.ipv4.tcp_tw_reuse at {} the load may run out of local ports on its way through \
                     Docker's proxy; `sudo sysctl net.ipv4.tcp_tw_reuse=1` helps",
                    before.trim()
                );
                false
            }
        });
        Self { path: path.to_owned(), before: changed }
    }
}

impl Drop for SoonFree {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // It was written a moment ago.
            let _ = fs::write(&self.path, before);
        }
    }
}

/// Files that Docker's proxy may have open: up to six for each connection, of which there are thousands when an entry does
/// not keep up.
const PROXY_FILES: u64 = 1 << 18;

/// Lets Docker's proxies of a port have as many connections open as a bout may bring, and says whether they may. One that
/// runs out of files accepts nobody any more, ever; a daemon that was not started by systemd may leave it with a few
/// thousand.
pub fn widen_proxies(port: u16) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let proxies: Vec<i32> = pids.filter(|pid| is_proxy(*pid, port)).collect();
    proxies.into_iter().all(|pid| open_files(pid).is_some_and(|files| files >= PROXY_FILES) || widen(pid))
}

fn is_proxy(pid: i32, port: u16) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
    let publishes = |pair: &[&[u8]]| pair[0] == b"-host-port" && pair[1] == port.to_string().as_bytes();
    words[0].ends_with(b"docker-proxy") && words.windows(2).any(publishes)
}

/// How many files a process may have open.
fn open_files(pid: i32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next())?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

fn widen(pid: i32) -> bool {
    let most = Rlimit { current: Some(PROXY_FILES), maximum: Some(PROXY_FILES) };
    Pid::from_raw(pid).is_some_and(|pid| prlimit(Some(pid), Resource::Nofile, most).is_ok())
}

/// Where a published port answers without Docker's proxy: the kernel itself forwards what is sent to any address of this
/// machine but the loopback's, such as a gateway of the container's networks. None where it does not, as with a port that
/// is published on the loopback address alone.
pub fn past_proxies(gateways: &BTreeSet<Ipv4Addr>, port: u16) -> Option<SocketAddrV4> {
    let mut addresses = gateways.iter().map(|gateway| SocketAddrV4::new(*gateway, port));
    addresses.find(|address| TcpStream::connect_timeout(&(*address).into(), PATIENCE).is_ok())
}

/// Below this, ports are asked for by name more often than not.
const LOWEST: u16 = 10_000;

/// First and last of the ports that Linux gives to connections as their near ends.
const LOCAL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// A port that nobody has, another one with each call. Whoever is told it may listen on it later, and again after an end: no
/// connection that is opened meanwhile is given it by the kernel, unless the kernel gives all of them.
///
/// # Errors
///
/// Where there is none.
pub fn free_port() -> io::Result<u16> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let ports = LOWEST..fs::read_to_string(LOCAL_PORTS).ok().and_then(|range| first(&range)).unwrap_or(LOWEST);
    // Processes that ask at the same moment look at different ones.
    let begin = process::id().wrapping_mul(97).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
    let begin = begin as usize % ports.len().max(1);
    match ports.clone().cycle().skip(begin).take(ports.len()).find(|port| port_is_free(*port)) {
        Some(port) => Ok(port),
        None => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()),
    }
}

fn first(range: &str) -> Option<u16> {
    range.split_whitespace().next()?.parse().ok()
}

/// Whether nobody has the port. Does not listen on it, or another arena that looks at the same moment would see it taken.
pub fn port_is_free(port: u16) -> bool {
    let take = || {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    };
    take().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::process::wait_until;

    #[test]
    fn two_who_look_at_once_do_not_take_the_port_from_each_other() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!port_is_free(port));
        drop(listener);
        // A child that another test is just starting may hold it a moment longer.
        assert!(wait_until(Duration::from_secs(5), || port_is_free(port)));
        let look = || (0..500).all(|_| port_is_free(port));
        std::thread::scope(|scope| {
            let other = scope.spawn(look);
            assert!(look() && other.join().unwrap());
        });
    }

    /// Where the kernel leaves any.
    #[test]
    fn a_free_port_is_told_once_and_taken_by_no_connection() {
        let first = first(&fs::read_to_string(LOCAL_PORTS).unwrap()).unwrap();
        let ports: BTreeSet<u16> = (0..100).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 100);
        assert!(first <= LOWEST || ports.iter().all(|port| (LOWEST..first).contains(port)), "{ports:?}");
    }

    #[test]
    fn the_setting_is_as_before_in_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let value = || fs::read_to_string(file.path()).unwrap().trim().to_owned();
        for before in ["2", "0", "1"] {
            fs::write(file.path(), format!("{before}\n")).unwrap();
            let ports = SoonFree::at(file.path());
            assert_eq!(value(), "1");
            drop(ports);
            assert_eq!(value(), before);
        }
    }

    #[test]
    fn only_a_proxy_of_the_port_is_one() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(!is_proxy(pid, 9999));
        let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(open_files(pid), Some(soft));
        assert_eq!(open_files(-1), None);
    }

    #[test]
    fn the_way_past_is_one_that_somebody_answers_at() {
        let [nobody, somebody] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
        let listener = TcpListener::bind((somebody, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(past_proxies(&[nobody].into(), port), None);
        assert_eq!(past_proxies(&[nobody, somebody].into(), port), Some(SocketAddrV4::new(somebody, port)));
    }

    #[test]
    fn a_setting_that_is_not_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        drop(SoonFree::at(&path));
        assert!(!path.exists());
    }
}
