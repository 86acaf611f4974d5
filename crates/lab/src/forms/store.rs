//! The opinions in the database.

use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::{Object, Pool};
use jiff::Timestamp;

use super::opinion::Opinion;

/// How long a request waits for the database before it is told so.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The work is part of the statement, as that of a slow query is: it keeps a connection as long as it takes.
const INSERT: &str = "INSERT INTO opinions (id, created_at, name, text, queued, run) \
    SELECT $1, $2, $3, $4, $5, $6 FROM pg_sleep($7) ON CONFLICT (id) DO NOTHING";

const SAID: &str = "SELECT name, text FROM opinions WHERE id = $1";

const LATEST: &str = "SELECT name, text, created_at FROM opinions ORDER BY created_at DESC, id DESC LIMIT 5";

/// What storing an opinion takes beside the row itself.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Work {
    /// Milliseconds of work that storing an opinion takes, on a database connection of its own: with them a queue can win
    #[arg(long = "work", value_name = "MS", env = "LAB_WORK", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=60_000))]
    pub milliseconds: u32,
}

/// An opinion as the pages show it.
pub(super) struct Shown {
    pub name: String,
    pub text: String,
    pub created_at: Timestamp,
}

/// Stores an opinion, which takes `work` milliseconds; storing it again changes nothing, and is answered with whether the
/// same was said before.
///
/// # Errors
///
/// When the database does not commit it in time. It may then be stored or not.
pub(super) async fn insert(pool: &Pool, opinion: &Opinion, queued: bool, work: u32) -> anyhow::Result<bool> {
    let patience = PATIENCE + Duration::from_millis(work.into());
    let insert = async {
        let client = pool.get().await?;
        let insert = client.prepare_cached(INSERT).await?;
        let Opinion { id, created_at, name, text, run } = opinion;
        let work = f64::from(work) / 1e3;
        let rows = client.execute(&insert, &[id, created_at, name, text, &queued, run, &work]).await?;
        Ok(rows)
    };
    let rows = tokio::time::timeout(patience, insert).await;
    let rows: anyhow::Result<u64> = rows.with_context(|| format!("no answer within {} s", patience.as_secs()))?;
    Ok(rows? == 1 || said_before(pool, opinion).await? != Some(false))
}

/// Whether the opinion of this id that is stored says the same; nothing where there is none.
///
/// # Errors
///
/// When the database does not answer in time.
pub(super) async fn said_before(pool: &Pool, opinion: &Opinion) -> anyhow::Result<Option<bool>> {
    patiently(async {
        let client = pool.get().await?;
        let said = client.prepare_cached(SAID).await?;
        let Some(row) = client.query_opt(&said, &[&opinion.id]).await? else {
            return Ok(None);
        };
        Ok(Some(opinion.says_the_same(row.try_get(0)?, row.try_get(1)?)))
    })
    .await
}

/// The five latest, newest first.
///
/// # Errors
///
/// When the database does not answer in time.
pub(super) async fn latest(pool: &Pool) -> anyhow::Result<Vec<Shown>> {
    patiently(async {
        let client: Object = pool.get().await?;
        let latest = client.prepare_cached(LATEST).await?;
        let rows = client.query(&latest, &[]).await?;
        rows.iter()
            .map(|row| Ok(Shown { name: row.try_get(0)?, text: row.try_get(1)?, created_at: row.try_get(2)? }))
            .collect()
    })
    .await
}

/// Gives up on a database that does not answer.
///
/// # Errors
///
/// Those of `work`, or that it took too long.
pub(super) async fn patiently<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let outcome = tokio::time::timeout(PATIENCE, work).await;
    outcome.with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))?
}
