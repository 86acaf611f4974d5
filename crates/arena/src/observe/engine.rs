//! What a container engine itself tells of its containers, for engines whose control groups this machine does not show:
//! Docker Desktop's, a rootless one's, or one that `DOCKER_HOST` or a context leads to elsewhere.
//!
//! Protocol: Docker's Engine API, `/containers/ID/stats`, `/containers/ID/json` and `/info`.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bollard::models::{ContainerBlkioStats, ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::{InspectContainerOptions, StatsOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use tokio::runtime::Runtime;

use super::account::Reading;

/// Seconds that an engine may take to answer.
const PATIENCE: u64 = 10;

/// A container engine, as `docker` finds it.
#[derive(Debug)]
pub struct Engine {
    runtime: Runtime,
    api: Docker,
}

impl Engine {
    /// The engine that `docker` itself speaks to.
    ///
    /// # Errors
    ///
    /// If there is no `docker`, or it reaches its engine in another way than by a socket or plain TCP.
    pub fn connect() -> anyhow::Result<Self> {
        let host = host()?;
        let api = match host.split_once("://") {
            Some(("unix", _)) => Docker::connect_with_unix(&host, PATIENCE, API_DEFAULT_VERSION),
            Some(("tcp" | "http", _)) => Docker::connect_with_http(&host, PATIENCE, API_DEFAULT_VERSION),
            _ => bail!("the engine at {host} can only be asked by a socket or plain TCP"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let api = runtime.block_on(api?.negotiate_version()).with_context(|| format!("the engine at {host}"))?;
        Ok(Self { runtime, api })
    }

    /// Which limits the engine cannot set, and the way out; `None` where it can set both.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn lacks(&self) -> anyhow::Result<Option<String>> {
        let info = self.runtime.block_on(self.api.info()).context("the engine's own account of itself")?;
        let is_rootless = info.security_options.iter().flatten().any(|option| option.contains("rootless"));
        Ok(missing(info.cpu_cfs_quota != Some(false), info.memory_limit != Some(false), is_rootless))
    }

    /// CPUs and bytes of memory that a container may use; `None` where it has no limit.
    pub(super) fn limits(&self, container: &str) -> (Option<f64>, Option<u64>) {
        let inspected = self.runtime.block_on(self.api.inspect_container(container, None::<InspectContainerOptions>));
        let Some(config) = inspected.ok().and_then(|inspected| inspected.host_config) else { return (None, None) };
        let positive = |figure: Option<i64>| figure.filter(|figure| *figure > 0);
        // Docker's default period is the kernel's.
        let period = positive(config.cpu_period).unwrap_or(100_000);
        let quota = positive(config.cpu_quota).map(|quota| quota as f64 / period as f64);
        let cpus = positive(config.nano_cpus).map(|cpus| cpus as f64 / 1e9).or(quota);
        (cpus, positive(config.memory).and_then(|bytes| bytes.try_into().ok()))
    }

    /// What a container has used since it began; `None` while it does not run.
    pub(super) fn read(&self, container: &str) -> Option<Reading> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut stats = self.api.stats(container, Some(options));
        let answer = async { tokio::time::timeout(Duration::from_secs(PATIENCE), stats.next()).await };
        reading(&self.runtime.block_on(answer).ok()??.ok()?)
    }
}

/// The address that `docker` uses, by its variable or its context.
fn host() -> anyhow::Result<String> {
    let mut command = Command::new("docker");
    command.args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let output = command.output().context("starting docker; is it installed?")?;
    ensure!(output.status.success(), "docker context inspect: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn missing(sets_cpus: bool, sets_memory: bool, is_rootless: bool) -> Option<String> {
    let what = match (sets_cpus, sets_memory) {
        (true, true) => return None,
        (false, true) => "CPUs",
        (true, false) => "memory",
        (false, false) => "CPUs and memory",
    };
    let way_out = if is_rootless {
        "it runs rootless, and is not given the controllers: run `sudo systemctl edit user@.service`, write `[Service]` and \
         `Delegate=cpu memory pids io` there, and log in anew"
    } else {
        "its kernel lacks the controllers of control groups: boot it with them"
    };
    Some(format!("the container engine cannot limit {what}; {way_out}"))
}

/// A container that has ended is told of with nothing but zeros.
fn reading(stats: &ContainerStatsResponse) -> Option<Reading> {
    let cpu = stats.cpu_stats.as_ref()?;
    let used = cpu.cpu_usage.as_ref()?.total_usage.filter(|used| *used > 0)?;
    let throttling = cpu.throttling_data.as_ref();
    Some(Reading {
        cpu: Duration::from_nanos(used),
        periods: throttling.and_then(|throttling| throttling.periods),
        throttled_periods: throttling.and_then(|throttling| throttling.throttled_periods),
        throttled: throttling.and_then(|throttling| throttling.throttled_time).map(Duration::from_nanos),
        memory: stats.memory_stats.as_ref().and_then(held),
        disk_write: stats.blkio_stats.as_ref().and_then(written),
        ..Reading::default()
    })
}

/// Anonymous and shared memory, under the names of either version of control groups.
fn held(memory: &ContainerMemoryStats) -> Option<u64> {
    let stats = memory.stats.as_ref()?;
    let sum =
        |names: [&str; 2]| names.into_iter().filter_map(|name| figure(stats, name)).reduce(|left, right| left + right);
    sum(["total_rss", "total_shmem"]).or_else(|| sum(["anon", "shmem"]))
}

fn figure(stats: &HashMap<String, u64>, name: &str) -> Option<u64> {
    stats.get(name).copied()
}

fn written(io: &ContainerBlkioStats) -> Option<u64> {
    let entries = io.io_service_bytes_recursive.as_ref()?;
    let writes = entries.iter().filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case("write")));
    writes.filter_map(|entry| entry.value).reduce(|left, right| left + right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an engine with version 2 answers.
    const RUNNING: &str = r#"{
        "cpu_stats": {"cpu_usage": {"total_usage": 2000000000},
            "throttling_data": {"periods": 10, "throttled_periods": 3, "throttled_time": 500000000}},
        "memory_stats": {"usage": 9000, "stats": {"anon": 300, "shmem": 40, "file": 5000}},
        "blkio_stats": {"io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "read", "value": 7}, {"major": 8, "minor": 0, "op": "write", "value": 11},
            {"major": 8, "minor": 1, "op": "Write", "value": 2}]}}"#;

    fn read(text: &str) -> Option<Reading> {
        reading(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn an_engine_s_figures_are_those_of_the_kernel() {
        let expected = Reading {
            cpu: Duration::from_secs(2),
            periods: Some(10),
            throttled_periods: Some(3),
            throttled: Some(Duration::from_millis(500)),
            memory: Some(340),
            disk_write: Some(13),
            ..Reading::default()
        };
        assert_eq!(read(RUNNING), Some(expected));
        let version_1 =
            RUNNING.replace(r#""anon": 300, "shmem": 40"#, r#""total_rss": 300, "rss": 1, "total_shmem": 40"#);
        assert_eq!(read(&version_1), Some(expected));
    }

    #[test]
    fn whoever_does_not_run_has_no_figures() {
        assert_eq!(read(&RUNNING.replace("2000000000", "0")), None);
        assert_eq!(read("{}"), None);
    }

    #[test]
    fn an_engine_that_cannot_set_a_limit_is_told_of_with_the_way_out() {
        assert_eq!(missing(true, true, true), None);
        let rootless = missing(false, true, true).unwrap();
        assert!(rootless.contains("limit CPUs;") && rootless.contains("Delegate="), "{rootless}");
        assert!(missing(true, false, false).unwrap().contains("limit memory;"));
    }
}
