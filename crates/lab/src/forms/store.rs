//! The opinions in the database.

use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::{Object, Pool};
use jiff::Timestamp;

use super::opinion::Opinion;

/// How long a request waits for the database before it is told so.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const INSERT: &str = "INSERT INTO opinions (id, created_at, name, text, queued) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (id) DO NOTHING";

const LATEST: &str = "SELECT name, text, created_at FROM opinions ORDER BY created_at DESC, id DESC LIMIT 5";

/// An opinion as the pages show it.
pub(super) struct Shown {
    pub name: String,
    pub text: String,
    pub created_at: Timestamp,
}

/// Stores an opinion; storing it again changes nothing.
///
/// # Errors
///
/// When the database does not commit it in time. It may then be stored or not.
pub(super) async fn insert(pool: &Pool, opinion: &Opinion, queued: bool) -> anyhow::Result<()> {
    patiently(async {
        let client = pool.get().await?;
        let insert = client.prepare_cached(INSERT).await?;
        let Opinion { id, created_at, name, text } = opinion;
        client.execute(&insert, &[id, created_at, name, text, &queued]).await?;
        Ok(())
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
