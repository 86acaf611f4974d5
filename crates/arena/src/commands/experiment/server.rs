//! The lab's processes, held to a limit and watched while they work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::unistd::{Gid, Uid};

use super::Bench;
use crate::observe::Target;
use crate::stack::cgroup_limits::Hierarchy;
use crate::stack::process::{Account, prepare};

/// Time between two looks at a server.
const LOOK: Duration = Duration::from_millis(200);

/// Runs a command of the lab to its end.
pub(super) fn finish(program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().context("starting the lab")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// A process of the lab; it ends, and its control group goes, when this is dropped.
pub(super) struct Server {
    child: Child,
    group: Option<(Hierarchy, String)>,
    pub url: String,
}

impl Server {
    /// Starts a server on a free port inside the limit, and waits until it listens.
    pub fn listening(bench: &Bench, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(&bench.program);
        command.args(arguments).args(["--host", "127.0.0.1", "--port", "0"]).stdout(Stdio::piped());
        let mut server = Self::start(bench, command)?;
        let mut line = String::new();
        let output = server.child.stdout.take().context("the lab's output")?;
        BufReader::new(output).read_line(&mut line)?;
        let (_, address) = line.trim().split_once("http://").context("the lab does not listen")?;
        server.url = format!("http://{}", address.trim_end_matches('/'));
        Ok(server)
    }

    /// Starts a part of the lab that does not listen, inside a limit of its own.
    pub fn working(bench: &Bench, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(&bench.program);
        command.args(arguments).stdout(Stdio::null());
        Self::start(bench, command)
    }

    fn start(bench: &Bench, mut command: Command) -> anyhow::Result<Self> {
        let account = Account { uid: Uid::effective(), gid: Gid::effective() };
        let group = format!("peleja-lab-{}-{}", std::process::id(), rank());
        let limited = !matches!(bench.hierarchy, Hierarchy::Absent(_));
        let entrance = limited.then(|| bench.hierarchy.create(&group, &bench.limit)).transpose()?;
        prepare(&mut command, account, entrance);
        let child = command.stdin(Stdio::null()).spawn().context("starting the lab")?;
        Ok(Self { child, group: limited.then(|| (bench.hierarchy.clone(), group)), url: String::new() })
    }

    /// How its cost is observed.
    pub fn target(&self) -> Target {
        Target::Process(self.child.id())
    }

    /// Text of a path.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        get(&format!("{}{path}", self.url))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; its group can go only after it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some((hierarchy, group)) = &self.group {
            let _ = hierarchy.remove(group);
        }
    }
}

/// What a server used while it was watched.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Use {
    /// Most threads seen.
    pub threads: f64,
    /// Most memory seen, in bytes.
    pub memory: f64,
    /// CPU time, in seconds.
    pub cpu_seconds: f64,
    /// Context switches of all threads.
    pub switches: f64,
    /// Longest answer to a small request that needs no database, in milliseconds.
    pub longest_ping: f64,
}

/// Looks at a server until told to stop.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Use>>,
}

impl Watch {
    /// Begins to look; with `ping`, also asks for `/ping` and keeps the longest wait.
    pub fn begin(server: &Server, ping: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, told) = (server.url.clone(), stop.clone());
        Self { stop, thread: std::thread::spawn(move || look(&url, ping, &told)) }
    }

    /// What was used since the beginning.
    pub fn end(self) -> anyhow::Result<Use> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch ended too early"))?
    }
}

fn look(url: &str, ping: bool, stop: &AtomicBool) -> anyhow::Result<Use> {
    let first = get(&format!("{url}/metrics"))?;
    let mut seen = Use::default();
    loop {
        // A server without a free connection is part of what is looked at.
        if let Ok(text) = get(&format!("{url}/metrics")) {
            let since = |name| figure(&text, name) - figure(&first, name);
            seen.threads = seen.threads.max(figure(&text, "process_threads"));
            seen.memory = seen.memory.max(figure(&text, "process_resident_memory_bytes"));
            seen.cpu_seconds = since("process_cpu_seconds_total");
            seen.switches = since("process_context_switches_total");
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(seen);
        }
        let before = Instant::now();
        if ping {
            // One that is not answered in time took at least as long.
            let _ = get(&format!("{url}/ping"));
            seen.longest_ping = seen.longest_ping.max(before.elapsed().as_secs_f64() * 1e3);
        }
        std::thread::sleep(LOOK.saturating_sub(before.elapsed()));
    }
}

/// A figure of a Prometheus text; 0 where it is missing.
pub(super) fn figure(text: &str, name: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap_or(0.0)
}

fn get(url: &str) -> anyhow::Result<String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build();
    Ok(ureq::Agent::new_with_config(config).get(url).call()?.body_mut().read_to_string()?)
}

/// Numbers the servers of this process.
fn rank() -> usize {
    static STARTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    STARTED.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_figure_by_its_whole_name() {
        let text = "# HELP process_threads Threads\nprocess_threads_max 9\nprocess_threads 3.0\n";
        assert_eq!(figure(text, "process_threads"), 3.0);
        assert_eq!(figure(text, "process"), 0.0);
    }
}
