//! How a process gets into a control group.

use std::fs::File;
use std::io::{self, Write};

/// The open `cgroup.procs` of one group: whoever writes there joins it.
pub struct Entrance(Vec<File>);

impl Entrance {
    /// That of a group whose files these are, one for each tree that it is in.
    pub fn of(files: Vec<File>) -> Self {
        Self(files)
    }

    /// Puts the calling process into the group. Only makes system calls, so that a child may call it before it runs
    /// its program.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn join(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|mut procs| procs.write_all(b"0"))
    }
}
