//! Whether what a stack acknowledges is on disk, judged by what happens: the flushes during a load against the commits,
//! and people who are sent one by one while the database says what it has flushed.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ureq::Agent;

use super::database::Database;
use crate::load::vocabulary::Vocabulary;
use crate::record::run::Durability;

/// People who are sent in one go of probing.
const PROBES: u64 = 100;

/// What their nicknames begin with.
const NICKNAME: &str = "flush probe ";

const PATIENCE: Duration = Duration::from_secs(20);

/// By then a session has reported its flushes: PostgreSQL lets it do so once a second at most, and where it has nothing
/// more to do after ten (PGSTAT_MIN_INTERVAL and PGSTAT_IDLE_INTERVAL in its `pgstat.c`).
const REPORTED: Duration = Duration::from_secs(12);

/// Between two looks at what sessions have reported.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// The state of the database before a load.
#[derive(Clone, Debug)]
pub struct Before {
    syncs: Option<u64>,
    counted_since: Option<String>,
    sessions: u64,
    horizon: i64,
}

impl Before {
    /// Looks at the database.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn look(database: &mut Database) -> anyhow::Result<Self> {
        Ok(Self {
            syncs: database.wal_syncs(),
            counted_since: database.counted_since(),
            sessions: database.sessions()?,
            horizon: database.next_transaction()?,
        })
    }

    /// What has happened since. Call it as soon as the load is over; it waits while flushes may not be reported yet.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub fn compare(self, database: &mut Database) -> anyhow::Result<During> {
        database.revive()?;
        let sessions = self.sessions.max(database.sessions()?);
        let transactions = database.transactions_since(self.horizon)?;
        let start = Instant::now();
        loop {
            let during = During { syncs: self.syncs_since(database), sessions, transactions };
            if during.most_served().is_none_or(|most| transactions <= most) || start.elapsed() >= REPORTED {
                return Ok(during);
            }
            sleep(BETWEEN_LOOKS);
        }
    }

    fn syncs_since(&self, database: &mut Database) -> Option<u64> {
        let is_whole = database.counted_since() == self.counted_since;
        let (before, after) = self.syncs.zip(database.wal_syncs()).filter(|_| is_whole)?;
        Some(after.saturating_sub(before))
    }
}

/// What a load did to the database.
#[derive(Clone, Copy, Debug)]
pub struct During {
    syncs: Option<u64>,
    sessions: u64,
    transactions: u64,
}

impl During {
    /// The most transactions that so many flushes can have been for.
    fn most_served(&self) -> Option<u64> {
        Some(most_served(self.syncs?, self.sessions))
    }

    /// Adds it to what is known of the database's durability.
    pub fn add_to(self, durability: Durability) -> Durability {
        let Self { syncs, sessions, transactions } = self;
        let known =
            Durability { wal_syncs: syncs, sessions: Some(sessions), transactions: Some(transactions), ..durability };
        Durability { honoured: known.honoured && faults(&known).is_empty(), ..known }
    }
}

/// Sends people one by one to `people`, the URL that creates in a stack without load, and asks the database at each 201
/// whether all of its log is on disk. Nobody of them stays.
///
/// # Errors
///
/// If one is not answered with 201, or the database does not answer.
pub fn probe(
    durability: &Durability,
    people: &str,
    vocabulary: Vocabulary,
    database: &mut Database,
) -> anyhow::Result<Durability> {
    let agent: Agent =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
    let nicknames: Vec<String> = (0..PROBES).map(|number| format!("{NICKNAME}{number}")).collect();
    let mut unflushed = 0;
    for nickname in &nicknames {
        create(&agent, people, vocabulary, nickname).context("seeing whether people are on disk")?;
        unflushed += u64::from(!database.is_flushed()?);
    }
    database.remove(&nicknames)?;
    let known = durability.unflushed_probes.unwrap_or_default();
    let probes = Some(durability.probes.unwrap_or_default() + PROBES);
    let probed = Durability { probes, unflushed_probes: Some(known + unflushed), ..durability.clone() };
    Ok(Durability { honoured: probed.honoured && faults(&probed).is_empty(), ..probed })
}

fn create(agent: &Agent, people: &str, vocabulary: Vocabulary, nickname: &str) -> anyhow::Result<()> {
    let [key, fullname, dob, _] = vocabulary.person_keys();
    let body = format!(r#"{{"{key}":"{nickname}","{fullname}":"Flush Probe","{dob}":"2000-01-01"}}"#);
    let status = agent.post(people).content_type("application/json").send(&body)?.status().as_u16();
    ensure!(status == 201, "a create was answered {status} instead of 201");
    Ok(())
}

/// What speaks against a 201 being on disk, one sentence each. A data directory in memory is not among them: whether that
/// is a fault is the user's to say.
pub fn faults(durability: &Durability) -> Vec<String> {
    let Durability { fsync, synchronous_commit, careless_settings, .. } = durability;
    let mut faults = Vec::new();
    if !fsync || synchronous_commit == "off" {
        faults.push("PostgreSQL is set to answer before a commit is on disk".to_owned());
    }
    faults.extend(
        careless_settings.iter().map(|setting| format!("sessions answer before a commit is on disk: {setting}")),
    );
    faults.extend(unflushed(durability));
    faults.extend(missing_flushes(durability));
    faults
}

/// What is written by others at the same moment may not be flushed yet: once in a while that is no fault.
fn unflushed(durability: &Durability) -> Option<String> {
    let (probes, unflushed) = durability.probes.zip(durability.unflushed_probes)?;
    let reason = || format!("{unflushed} of {probes} people were not on disk when their 201 came, outside of the load");
    (2 * unflushed > probes.min(PROBES)).then(reason)
}

/// One flush can serve a commit of each session, and no more.
fn most_served(syncs: u64, sessions: u64) -> u64 {
    syncs.saturating_mul(sessions)
}

fn missing_flushes(durability: &Durability) -> Option<String> {
    let (syncs, transactions) = durability.wal_syncs.zip(durability.transactions)?;
    (transactions > most_served(syncs, durability.sessions?)).then(|| {
        format!("{transactions} transactions stored people, and {syncs} flushes of the log cannot have been for all")
    })
}

/// What is true of a stack whose flushes reach no disk.
pub fn volatile(durability: &Durability) -> Option<String> {
    if durability.in_memory {
        return Some("the data directory is in memory: nothing outlives a power failure".to_owned());
    }
    let flush = durability.flush_median_us?;
    let is_too_fast = !durability.honoured && faults(durability).is_empty();
    is_too_fast.then(|| format!("a flush takes {flush:.0} µs: no disk that keeps its word is so fast"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Durability {
        Durability {
            fsync: true,
            synchronous_commit: "on".into(),
            wal_syncs: Some(100),
            flush_median_us: Some(400.0),
            honoured: true,
            transactions: Some(150),
            sessions: Some(2),
            probes: Some(200),
            unflushed_probes: Some(3),
            ..Durability::default()
        }
    }

    #[test]
    fn commits_in_groups_need_fewer_flushes_but_not_as_few_as_one_likes() {
        assert_eq!(faults(&good()), [""; 0]);
        let reasons = faults(&Durability { transactions: Some(201), ..good() });
        assert_eq!(reasons, ["201 transactions stored people, and 100 flushes of the log cannot have been for all"]);
    }

    #[test]
    fn what_is_answered_before_it_is_flushed_is_a_fault_whatever_the_settings_say() {
        let reasons = faults(&Durability { unflushed_probes: Some(97), ..good() });
        assert_eq!(reasons, ["97 of 200 people were not on disk when their 201 came, outside of the load"]);
        let setting = "role postgres: synchronous_commit=off";
        let careless = Durability { careless_settings: vec![setting.into()], ..good() };
        assert_eq!(faults(&careless), [format!("sessions answer before a commit is on disk: {setting}")]);
    }

    #[test]
    fn a_disk_that_is_none_is_told_apart_from_settings() {
        assert_eq!(volatile(&good()), None);
        assert!(volatile(&Durability { in_memory: true, honoured: false, ..good() }).is_some());
        let fast = Durability { flush_median_us: Some(1.0), honoured: false, ..good() };
        assert_eq!(volatile(&fast).as_deref(), Some("a flush takes 1 µs: no disk that keeps its word is so fast"));
        assert_eq!(volatile(&Durability { honoured: false, fsync: false, ..good() }), None);
    }
}
