//! Ports on the loopback address: which are free, and local ones for a load that goes to containers.
//!
//! A port that a published one forwards to is reached from the host by way of Docker's proxy, which opens a connection to
//! the container for each that it is given. When it closes one, Linux keeps its local port back for a minute, unless both
//! ends are on the loopback device; of some 28,000 ports there are, the event's load takes more in a minute. With
//! `tcp_tw_reuse` at 1 a port is free again after a second (see ip-sysctl in the kernel's documentation).

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

const SETTING: &str = "/proc/sys/net/ipv4/tcp_tw_reuse";

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

/// Lets Docker's proxies of a port have as many connections open as a bout may bring, where that is allowed. One that runs
/// out of files accepts nobody any more, ever; a daemon that was not started by systemd may leave it with a few thousand.
pub fn widen_proxies(port: u16) {
    let port = port.to_string();
    let is_proxy = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
        let publishes = words.windows(2).any(|pair| pair[0] == b"-host-port" && pair[1] == port.as_bytes());
        publishes && words[0].ends_with(b"docker-proxy")
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(is_proxy).filter_map(Pid::from_raw) {
        let most = Rlimit { current: Some(PROXY_FILES), maximum: Some(PROXY_FILES) };
        if let Err(error) = prlimit(Some(pid), Resource::Nofile, most) {
            eprintln!(
                "arena: Docker's proxy may run out of open files in mid-bout, and refuse everybody then: {error}"
            );
        }
    }
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
    use std::net::TcpListener;
    use std::time::Duration;

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
    fn a_setting_that_is_not_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        drop(SoonFree::at(&path));
        assert!(!path.exists());
    }
}
