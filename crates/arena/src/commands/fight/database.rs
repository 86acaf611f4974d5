//! What the bout asks the database: the score, and whether a commit is on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use postgres::{Client, NoTls};

use crate::record::run::Durability;

/// Enough for a median that does not jump.
const FLUSHES: usize = 101;

/// No storage that keeps its word over a power failure is faster.
const FASTEST_FLUSH: Duration = Duration::from_micros(5);

/// A connection to the stack's database.
pub struct Database {
    parameters: String,
    client: Client,
}

impl Database {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If the database does not let us in.
    pub fn connect(parameters: &str) -> anyhow::Result<Self> {
        Ok(Self { parameters: parameters.to_owned(), client: client(parameters)? })
    }

    /// `count(*)`, the score. Where the connection was lost since, on a new one: the database may have been killed in the
    /// midst of the bout.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn people(&mut self) -> anyhow::Result<u64> {
        if self.client.is_valid(Duration::from_secs(5)).is_err() {
            self.client = client(&self.parameters)?;
        }
        let row = self.client.query_one("SELECT count(*) FROM users", &[]).context("counting people")?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Removes everybody, and leaves the table as a new one is.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn remove_everybody(&mut self) -> anyhow::Result<()> {
        self.client.batch_execute("TRUNCATE users").context("removing the warm-up's people")?;
        // What the warm-up wrote is on disk before the load begins, and not a checkpoint's work in its midst.
        self.client.batch_execute("CHECKPOINT").context("checkpoint")
    }

    /// PostgreSQL's version.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn version(&mut self) -> anyhow::Result<String> {
        self.setting("server_version")
    }

    /// Flushes of the write-ahead log since the cluster was made. PostgreSQL counts them in `pg_stat_wal` up to version
    /// 17 and in `pg_stat_io` after it. With a `wal_sync_method` that opens the log for synchronous writing, every write
    /// is one and none is counted apart.
    pub fn wal_syncs(&mut self) -> Option<u64> {
        let by_writing = self.setting("wal_sync_method").ok()?.starts_with("open");
        let (old, new) = if by_writing { ("wal_write", "writes") } else { ("wal_sync", "fsyncs") };
        let old = &format!("SELECT {old} FROM pg_stat_wal");
        let new = &format!("SELECT coalesce(sum({new}), 0)::bigint FROM pg_stat_io WHERE object = 'wal'");
        let row = self.client.query_one(old, &[]).or_else(|_| self.client.query_one(new, &[])).ok()?;
        u64::try_from(row.try_get::<_, i64>(0).ok()?).ok()
    }

    /// Measures a flush and reads the settings that decide whether a commit waits for one.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn durability(&mut self, folder: Option<&Path>) -> anyhow::Result<Durability> {
        let fsync = self.setting("fsync")? == "on";
        let synchronous_commit = self.setting("synchronous_commit")?;
        let flush = self.flush_time()?;
        let in_memory = folder.is_some_and(is_in_memory);
        let honoured = fsync && synchronous_commit != "off" && flush >= FASTEST_FLUSH && !in_memory;
        let flush_median_us = Some(flush.as_nanos() as f64 / 1000.0);
        Ok(Durability { fsync, synchronous_commit, wal_syncs: None, flush_median_us, honoured })
    }

    /// Median time of a small commit that waits for the disk, less that of one that does not.
    fn flush_time(&mut self) -> anyhow::Result<Duration> {
        let waiting = self.commit_time("on")?;
        let not_waiting = self.commit_time("off")?;
        Ok(waiting.saturating_sub(not_waiting))
    }

    fn commit_time(&mut self, synchronous_commit: &str) -> anyhow::Result<Duration> {
        // A message in the log that nobody reads: it is written and flushed like any change, and leaves nothing.
        let commit = format!(
            "BEGIN; SET LOCAL synchronous_commit = {synchronous_commit}; \
             SELECT pg_logical_emit_message(true, 'arena', 'flush'); COMMIT"
        );
        let mut times = Vec::with_capacity(FLUSHES);
        for _ in 0..FLUSHES {
            let start = Instant::now();
            self.client.batch_execute(&commit).context("measuring a flush")?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times[FLUSHES / 2])
    }

    fn setting(&mut self, name: &str) -> anyhow::Result<String> {
        let row = self.client.query_one("SELECT current_setting($1)", &[&name]).with_context(|| name.to_owned())?;
        Ok(row.try_get(0)?)
    }
}

fn client(parameters: &str) -> anyhow::Result<Client> {
    Client::connect(parameters, NoTls).context("connecting to the stack's database")
}

/// Whether a folder is on a file system without a disk.
fn is_in_memory(folder: &Path) -> bool {
    use nix::sys::statfs::{TMPFS_MAGIC, statfs};
    statfs(folder).is_ok_and(|statistics| statistics.filesystem_type() == TMPFS_MAGIC)
}
