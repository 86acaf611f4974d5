//! What the operating system says about this process.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use procfs::process::Process;

/// One look at this process. A figure that the system does not tell is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessSample {
    /// Resident memory in bytes.
    pub memory: u64,
    /// CPU time used since the process began, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Threads at this moment.
    pub threads: u64,
    /// Context switches of all threads since the process began, whether given up or taken away.
    pub context_switches: u64,
    /// File descriptors open, sockets included.
    pub open_files: u64,
}

impl ProcessSample {
    /// Reads `/proc/self`.
    pub fn take() -> Self {
        Process::myself().map(|process| Self::of(&process)).unwrap_or_default()
    }

    fn of(process: &Process) -> Self {
        let stat = process.stat().ok();
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        Self {
            memory: stat.as_ref().map_or(0, |stat| stat.rss * procfs::page_size()),
            threads: stat.as_ref().map_or(0, |stat| stat.num_threads.unsigned_abs()),
            cpu_seconds: usage.map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time())),
            context_switches: usage.map_or(0, |usage| {
                (usage.voluntary_context_switches() + usage.involuntary_context_switches()).unsigned_abs()
            }),
            open_files: process.fd_count().map_or(0, |count| count as u64),
        }
    }
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_new_thread() {
        let before = ProcessSample::take();
        let threads: Vec<_> = (0..40)
            .map(|_| std::thread::spawn(|| std::thread::park_timeout(std::time::Duration::from_secs(60))))
            .collect();
        let during = ProcessSample::take();
        for thread in threads {
            thread.thread().unpark();
            thread.join().expect("a parked thread ends");
        }
        assert!(during.threads >= before.threads + 20, "{before:?} {during:?}");
        assert!(during.memory > 0 && during.context_switches > 0 && during.open_files > 0);
    }
}
