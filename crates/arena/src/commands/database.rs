//! What a run asks the stack's database: who is stored, and whether a commit is on disk.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use postgres::types::ToSql;
use postgres::{Client, NoTls};

use crate::load::driver::checks::Person;
use crate::load::fill;
use crate::record::run::Durability;
use crate::record::torment;

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

    /// Connects anew where the connection was lost: the database may have been killed in the midst of a load.
    ///
    /// # Errors
    ///
    /// If the database does not let us in.
    pub fn revive(&mut self) -> anyhow::Result<()> {
        if self.client.is_valid(Duration::from_secs(5)).is_err() {
            self.client = client(&self.parameters)?;
        }
        Ok(())
    }

    /// `count(*)`, the score.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn people(&mut self) -> anyhow::Result<u64> {
        self.revive()?;
        let row = self.client.query_one("SELECT count(*) FROM users", &[]).context("counting people")?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Everybody who is stored.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn everybody(&mut self) -> anyhow::Result<Vec<Person<'static>>> {
        self.select("", &[])
    }

    /// Those who have one of `nicknames`.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn bearers(&mut self, nicknames: &HashSet<String>) -> anyhow::Result<Vec<Person<'static>>> {
        let nicknames: Vec<&str> = nicknames.iter().map(String::as_str).collect();
        self.select("WHERE nickname = ANY($1)", &[&nicknames])
    }

    /// The same as a torment keeps them.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn rows(&mut self) -> anyhow::Result<Vec<torment::Person>> {
        let person = |row: postgres::Row| -> anyhow::Result<torment::Person> {
            let [nickname, fullname, dob] = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
            let details = torment::Details { nickname, fullname, dob, stack: row.try_get(4)? };
            Ok(torment::Person { id: row.try_get(0)?, details })
        };
        self.query("", &[])?.into_iter().map(person).collect()
    }

    fn select(&mut self, which: &str, parameters: &[&(dyn ToSql + Sync)]) -> anyhow::Result<Vec<Person<'static>>> {
        let person = |row: postgres::Row| {
            Ok(Person::stored(row.try_get(0)?, [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?], row.try_get(4)?))
        };
        self.query(which, parameters)?.into_iter().map(person).collect()
    }

    fn query(&mut self, which: &str, parameters: &[&(dyn ToSql + Sync)]) -> anyhow::Result<Vec<postgres::Row>> {
        let columns = "id::text, nickname, fullname, to_char(dob, 'YYYY-MM-DD'), stack";
        self.client.query(&format!("SELECT {columns} FROM users {which}"), parameters).context("reading people")
    }

    /// Removes the people with these nicknames, and leaves everybody else.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn remove(&mut self, nicknames: &[String]) -> anyhow::Result<()> {
        self.client.execute("DELETE FROM users WHERE nickname = ANY($1)", &[&nicknames]).context("removing people")?;
        Ok(())
    }

    /// Whether all of the write-ahead log that there is has been flushed.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn is_flushed(&mut self) -> anyhow::Result<bool> {
        // From left to right: what is inserted in between is not missed in what is flushed.
        let query = "SELECT pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn()";
        Ok(self.client.query_one(query, &[]).context("asking what is flushed")?.try_get(0)?)
    }

    /// The number that the next transaction gets.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn next_transaction(&mut self) -> anyhow::Result<i64> {
        let query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        Ok(self.client.query_one(query, &[]).context("asking for the snapshot")?.try_get(0)?)
    }

    /// Transactions from that number on that stored somebody who is there.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn transactions_since(&mut self, horizon: i64) -> anyhow::Result<u64> {
        // A row knows the lower half of its transaction's number.
        let horizon = (horizon & i64::from(u32::MAX)).to_string();
        let query = "SELECT count(DISTINCT xmin::text) FROM users WHERE age(xmin) <= age($1::text::xid)";
        let row = self.client.query_one(query, &[&horizon]).context("counting transactions")?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Sessions of clients, this one left out.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn sessions(&mut self) -> anyhow::Result<u64> {
        let query =
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let row = self.client.query_one(query, &[]).context("counting sessions")?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Removes everybody, and leaves the table as a new one is.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn remove_everybody(&mut self) -> anyhow::Result<()> {
        self.client.batch_execute("TRUNCATE users").context("removing people")?;
        self.checkpoint()
    }

    /// What was written before the load is on disk when it begins, and not a checkpoint's work in its midst.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn checkpoint(&mut self) -> anyhow::Result<()> {
        self.client.batch_execute("CHECKPOINT").context("checkpoint")
    }

    /// Fills the table, see [`fill::fill`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fill(&mut self, people: u64) -> anyhow::Result<()> {
        fill::fill(&mut self.client, fill::SEED, people).map(drop)
    }

    /// Which of `nicknames` somebody has.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn taken(&mut self, nicknames: &HashSet<String>) -> anyhow::Result<HashSet<String>> {
        fill::taken(&mut self.client, nicknames.iter().map(String::as_str)).context("asking who is there")
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

    /// Since when flushes are counted; a crash begins anew.
    pub fn counted_since(&mut self) -> Option<String> {
        self.client.query_one("SELECT stats_reset::text FROM pg_stat_wal", &[]).ok()?.try_get(0).ok()
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
        let careless_settings = self.careless_settings()?;
        let is_set = fsync && synchronous_commit != "off" && careless_settings.is_empty();
        let honoured = is_set && flush >= FASTEST_FLUSH && !in_memory;
        let flush_median_us = Some(flush.as_nanos() as f64 / 1000.0);
        Ok(Durability {
            fsync,
            synchronous_commit,
            flush_median_us,
            honoured,
            in_memory,
            careless_settings,
            ..Durability::default()
        })
    }

    /// What roles and databases set for their sessions: nobody can read another session's settings, but these are where
    /// it gets them from.
    fn careless_settings(&mut self) -> anyhow::Result<Vec<String>> {
        let query = "SELECT concat_ws(' ', 'role ' || rolname, 'database ' || datname) || ': ' || setting
            FROM pg_db_role_setting CROSS JOIN unnest(setconfig) setting
            LEFT JOIN pg_roles ON pg_roles.oid = setrole LEFT JOIN pg_database ON pg_database.oid = setdatabase
            WHERE setting ~* '^synchronous_commit=(off|false|no|0)$' ORDER BY 1";
        let rows = self.client.query(query, &[]).context("settings of roles and databases")?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
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
