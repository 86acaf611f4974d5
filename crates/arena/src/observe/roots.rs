//! Where the kernel keeps its accounts.

use std::path::PathBuf;

/// Where the kernel's file systems are mounted; other places than the usual ones serve tests.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Usually `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// Usually `/proc`.
    pub proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { cgroup: "/sys/fs/cgroup".into(), proc: "/proc".into() }
    }
}
