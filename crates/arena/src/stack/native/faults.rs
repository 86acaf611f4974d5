//! What can be done to plain processes beyond a signal: a power cut, and limits that are lowered for a while.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use postgres::{Client, NoTls};

use super::Native;
use crate::record::run::Limit;
use crate::stack::compose::SERVICES;
use crate::stack::process::{self, GLANCE};
use crate::stack::{members, relay::Link};

/// What of a service's limits and memory a lack of them leaves.
const LEFT: f64 = 0.25;

impl Native {
    /// Links between the services, through sockets below a folder, of a stack that was started with that folder as its
    /// `detours` and the database at that port.
    pub fn links(&self, detours: &Path, database_port: u16) -> Vec<Link> {
        let run = self.data.join("run");
        let to_database = format!(".s.PGSQL.{database_port}");
        let instance = |name, service: &str| {
            let socket = format!("{service}.sock");
            Link { name, listens: detours.join(&socket), leads_to: run.join(socket) }
        };
        let database = |name, service: &str| {
            let listens = detours.join(service).join(&to_database);
            Link { name, listens, leads_to: run.join(&to_database) }
        };
        vec![
            instance("nginx-api1", "api1"),
            instance("nginx-api2", "api2"),
            database("api1-db", "api1"),
            database("api2-db", "api2"),
        ]
    }

    /// Every process of a service.
    pub fn processes_of(&self, service: &str) -> Vec<i32> {
        members::of_service(&self.data, service)
    }

    /// Whether a service's main process is there, and what it is for can be had of it.
    pub fn is_ready(&self, service: &str) -> bool {
        let Some(settings) = self.settings() else { return false };
        match service {
            _ if !members::find(&self.data).main.contains_key(service) => false,
            "nginx" => super::services::is_healthy(settings.port),
            "db" => Client::connect(&self.database(&settings, "postgres"), NoTls).is_ok(),
            instance => {
                let socket = self.data.join("run").join(format!("{instance}.sock"));
                self.instance_is_ready(&format!("unix:{}", socket.display()))
            }
        }
    }

    /// Takes most of a service's CPU away, or what memory it does not use now and a part of what it does.
    ///
    /// # Errors
    ///
    /// If it has no limits, or the kernel refuses.
    pub fn starve(&self, service: &str, of_memory: bool) -> anyhow::Result<()> {
        let limit = self.limit_of(service)?;
        let parent = members::group(&self.data);
        if !of_memory {
            let cpus = limit.cpus.map(|cpus| cpus * LEFT);
            return self.hierarchy.set(&parent, &Limit { cpus, memory_bytes: None, ..limit });
        }
        let used = self.hierarchy.memory_used(&parent, service).context("the kernel does not tell its memory")?;
        let to = |bytes| self.hierarchy.set(&parent, &Limit { cpus: None, memory_bytes: Some(bytes), ..limit.clone() });
        // Version 1 refuses to go below what cannot be taken away.
        to(used - used / 8).or_else(|_| to(used + (1 << 20)))
    }

    /// Gives a service back what it may use.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn feed(&self, service: &str) -> anyhow::Result<()> {
        self.hierarchy.set(&members::group(&self.data), &self.limit_of(service)?)
    }

    fn limit_of(&self, service: &str) -> anyhow::Result<Limit> {
        let settings = self.settings().context("the stack does not run")?;
        ensure!(settings.is_limited(), "the services have no limits");
        settings.limit(service).cloned().with_context(|| format!("{service} has no limit"))
    }

    /// Ends all processes at once, and takes of the database's log what it does not say to be on disk, as a power cut does.
    ///
    /// The instances are held before the database is asked what is on disk: nobody can be told of what comes later.
    ///
    /// # Errors
    ///
    /// If the database does not answer, or something does not end.
    pub fn cut_power(&self) -> anyhow::Result<()> {
        // Whoever starts again what dies waits for it.
        let _lock = self.lock()?;
        let settings = self.settings().context("the stack does not run")?;
        let mut database = Client::connect(&self.database(&settings, "postgres"), NoTls).context("before the cut")?;
        for instance in ["api1", "api2"] {
            process::signal(self.processes_of(instance), Signal::SIGSTOP);
        }
        let flushed = "SELECT file_name, file_offset FROM pg_walfile_name_offset(pg_current_wal_flush_lsn())";
        let row = database.query_one(flushed, &[]).context("asking what is on disk")?;
        let (file, offset): (String, i32) = (row.get(0), row.get(1));
        let all = || SERVICES.iter().flat_map(|service| self.processes_of(service)).collect::<Vec<i32>>();
        process::signal(self.processes_of("db"), Signal::SIGKILL);
        let gone = process::wait_until(Duration::from_secs(10), || {
            process::signal(all(), Signal::SIGKILL);
            all().is_empty()
        });
        ensure!(gone, "these processes do not end: {:?}", all());
        std::thread::sleep(GLANCE);
        cut_tail(&self.data.join("db/pg_wal").join(file), u64::try_from(offset)?)
    }
}

/// Has a file of the log hold nothing from an offset on, at the length that it has.
fn cut_tail(file: &Path, offset: u64) -> anyhow::Result<()> {
    let cut = || -> std::io::Result<()> {
        let file = File::options().write(true).open(file)?;
        let length = file.metadata()?.len();
        file.set_len(offset)?;
        file.set_len(length)
    };
    cut().with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_that_is_cut_off_holds_nothing_at_the_same_length() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, "written, flushed").unwrap();
        cut_tail(&log, 7).unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), b"written\0\0\0\0\0\0\0\0\0");
    }
}
