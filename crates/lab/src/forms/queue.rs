//! The job queue, which lives in the same PostgreSQL and outlives every process of the lab.
//!
//! An opinion is accepted when its job is committed. A job may run more than once, after a crash for instance; the
//! opinion's id makes the second time do nothing.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::Context;
use deadpool_postgres::Pool;
use graphile_worker::tokio_postgres::TokioPostgresDatabase;
use graphile_worker::{JobKeyMode, JobSpec, WorkerUtils};
use jiff::Timestamp;
use tokio_postgres::Config;

use super::job::StoreOpinion;
use super::opinion::Opinion;
use super::store::{patiently, said_before};

/// Schema of the queue's tables.
const SCHEMA: &str = "graphile_worker";

/// How many dead letters are shown.
pub(super) const SHOWN: usize = 100;

/// A worker that is silent this long is taken for dead, and its jobs go to the others.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// How long a count of the queue's length is trusted.
const COUNT_AGE: Duration = Duration::from_secs(1);

/// A job that has used up its attempts stays in the table and is not tried again: a dead letter.
const STATE: &str = "
    SELECT count(*) FILTER (WHERE attempts < max_attempts AND locked_at IS NULL),
           count(*) FILTER (WHERE locked_at IS NOT NULL),
           count(*) FILTER (WHERE attempts >= max_attempts AND locked_at IS NULL),
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)
               FILTER (WHERE attempts < max_attempts OR locked_at IS NOT NULL)), 0)::float8,
           coalesce((SELECT avg(extract(epoch FROM stored_at - created_at)) * 1000
               FROM (SELECT stored_at, created_at FROM opinions WHERE queued ORDER BY stored_at DESC LIMIT 100) AS recent), 0)::float8
    FROM graphile_worker._private_jobs";

/// What the runs that go on came to: stored opinions, and how long after they were accepted.
const RUNS: &str = "
    SELECT active.name, count(lag), coalesce(avg(lag), 0)::float8,
           coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY lag), 0)::float8,
           coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY lag), 0)::float8
    FROM unnest($1::text[], $2::timestamptz[]) AS active (name, began)
    LEFT JOIN LATERAL (
        SELECT extract(epoch FROM stored_at - created_at) * 1000 AS lag
        FROM opinions WHERE queued AND run = active.name AND created_at >= active.began) AS stored ON true
    GROUP BY active.name";

/// Workers that have shown signs of life of late; each tells its process.
const WORKERS: &str = "
    SELECT coalesce((metadata->>'pid')::bigint, 0) FROM graphile_worker._private_workers
    WHERE last_heartbeat_at > now() - make_interval(secs => $1) ORDER BY started_at";

const DEAD: &str = "
    SELECT id, payload->'opinion'->>'name', payload->'opinion'->>'text', attempts, coalesce(last_error, '')
    FROM graphile_worker._private_jobs
    WHERE attempts >= max_attempts AND locked_at IS NULL
    ORDER BY id LIMIT $1";

/// Without a time, the job would still sit out the pause after its last failure, which may be hours.
const REVIVE: &str = "
    SELECT graphile_worker.reschedule_jobs(array_agg(id), run_at => now(), attempts => 0)
    FROM graphile_worker._private_jobs
    WHERE attempts >= max_attempts AND locked_at IS NULL AND id = coalesce($1, id)";

/// Where accepted opinions wait.
pub(super) struct Queue {
    utils: WorkerUtils,
    pool: Pool,
    capacity: u32,
    max_attempts: i16,
    counted: Mutex<Option<(Instant, i64)>>,
}

/// Why an opinion was not accepted.
#[derive(Debug)]
pub(super) enum NotQueued {
    /// As many jobs as may wait do.
    Full,
    /// The queue does not answer.
    Unreachable(anyhow::Error),
    /// The same form was taken before, and said something else.
    Changed,
}

/// What one run came to so far.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub run: String,
    /// Opinions stored.
    pub count: i64,
    /// Milliseconds from acceptance until stored.
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
}

/// The queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct State {
    /// Jobs that wait for a worker, or for their next attempt.
    pub waiting: i64,
    /// Jobs that a worker has taken.
    pub running: i64,
    /// Jobs that failed too often.
    pub dead: i64,
    /// Age in seconds of the oldest job that is not dead.
    pub oldest: f64,
    /// Mean time in milliseconds from acceptance until stored, over the last 100 queued opinions.
    pub lag: f64,
}

/// A job that failed too often.
pub(super) struct DeadLetter {
    pub id: i64,
    pub name: String,
    pub text: String,
    pub attempts: i16,
    pub error: String,
}

impl Queue {
    /// A queue that takes at most `capacity` jobs and tries each `max_attempts` times.
    pub fn new(pool: Pool, capacity: u32, max_attempts: i16) -> Self {
        let utils = WorkerUtils::new(TokioPostgresDatabase::new(pool.clone()), SCHEMA);
        Self { utils, pool, capacity, max_attempts, counted: Mutex::new(None) }
    }

    /// Accepts an opinion: when it returns, the job is committed. `again` says that its id may have been sent before.
    ///
    /// # Errors
    ///
    /// When the queue is full, does not answer in time, or has taken something else of the same id. If it does not answer,
    /// the job may exist.
    pub async fn enqueue(&self, opinion: Opinion, again: bool) -> Result<(), NotQueued> {
        let length = self.length().await.map_err(NotQueued::Unreachable)?;
        if length >= i64::from(self.capacity) {
            return Err(NotQueued::Full);
        }
        let spec = JobSpec {
            job_key: Some(opinion.id.to_string()),
            // A job of this id that is there already stays as it is.
            job_key_mode: Some(JobKeyMode::UnsafeDedupe),
            max_attempts: Some(self.max_attempts),
            ..JobSpec::default()
        };
        let store = StoreOpinion { opinion: opinion.clone() };
        let added = patiently(async { Ok(self.utils.add_job(store, spec).await?) });
        let job = added.await.map_err(NotQueued::Unreachable)?;
        let queued = &job.payload()["opinion"];
        let of_job = opinion.says_the_same(text(&queued["name"]), text(&queued["text"]));
        // Looked at only now: an earlier job of this id may have been done just before this one was added.
        let stored = if again { said_before(&self.pool, &opinion).await } else { Ok(None) };
        let stored = stored.map_err(NotQueued::Unreachable)?;
        if of_job && stored != Some(false) { Ok(()) } else { Err(NotQueued::Changed) }
    }

    /// What these runs came to, by who sent them and when they began.
    ///
    /// # Errors
    ///
    /// When the database does not answer in time.
    pub async fn stored(&self, names: &[&str], began: &[Timestamp]) -> anyhow::Result<Vec<Stored>> {
        patiently(async {
            let client = self.pool.get().await?;
            let runs = client.prepare_cached(RUNS).await?;
            let rows = client.query(&runs, &[&names, &began]).await?;
            let stored = |row: &tokio_postgres::Row| {
                Ok(Stored {
                    run: row.try_get(0)?,
                    count: row.try_get(1)?,
                    mean: row.try_get(2)?,
                    p50: row.try_get(3)?,
                    p99: row.try_get(4)?,
                })
            };
            rows.iter().map(stored).collect()
        })
        .await
    }

    /// The processes of the workers that are alive.
    ///
    /// # Errors
    ///
    /// When the database does not answer in time.
    pub async fn workers(&self) -> anyhow::Result<Vec<i64>> {
        patiently(async {
            let client = self.pool.get().await?;
            let workers = client.prepare_cached(WORKERS).await?;
            let rows = client.query(&workers, &[&SILENCE.as_secs_f64()]).await?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })
        .await
    }

    /// Forgets every job that no worker has taken, and every opinion that was stored.
    ///
    /// # Errors
    ///
    /// When the database does not answer in time.
    pub async fn empty(&self) -> anyhow::Result<()> {
        let empty = "DELETE FROM graphile_worker._private_jobs WHERE locked_at IS NULL; DELETE FROM opinions";
        patiently(async { Ok(self.pool.get().await?.batch_execute(empty).await?) }).await?;
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// What the pages show.
    ///
    /// # Errors
    ///
    /// When the database does not answer in time.
    pub async fn state(&self) -> anyhow::Result<State> {
        patiently(async {
            let client = self.pool.get().await?;
            let state = client.prepare_cached(STATE).await?;
            let row = client.query_one(&state, &[]).await?;
            Ok(State {
                waiting: row.try_get(0)?,
                running: row.try_get(1)?,
                dead: row.try_get(2)?,
                oldest: row.try_get(3)?,
                lag: row.try_get(4)?,
            })
        })
        .await
    }

    /// The oldest dead letters, at most [`SHOWN`].
    ///
    /// # Errors
    ///
    /// When the database does not answer in time.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        patiently(async {
            let client = self.pool.get().await?;
            let rows = client.query(DEAD, &[&(SHOWN as i64)]).await?;
            let letter = |row: &tokio_postgres::Row| {
                Ok(DeadLetter {
                    id: row.try_get(0)?,
                    name: row.try_get(1)?,
                    text: row.try_get(2)?,
                    attempts: row.try_get(3)?,
                    error: plain(row.try_get(4)?),
                })
            };
            rows.iter().map(letter).collect()
        })
        .await
    }

    /// Gives the dead letter `id`, or all of them, their attempts again, the first at once. Other jobs stay as they are.
    ///
    /// # Errors
    ///
    /// When the database does not answer in time.
    pub async fn retry(&self, id: Option<i64>) -> anyhow::Result<()> {
        patiently(async { Ok(self.pool.get().await?.execute(REVIVE, &[&id]).await?) }).await.map(drop)
    }

    /// Jobs in the queue, counted once a second at most.
    async fn length(&self) -> anyhow::Result<i64> {
        if let Some((at, length)) = *self.counted.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < COUNT_AGE
        {
            return Ok(length);
        }
        let length = patiently(async {
            let client = self.pool.get().await?;
            let row = client.query_one("SELECT count(*) FROM graphile_worker._private_jobs", &[]).await?;
            Ok(row.try_get(0)?)
        })
        .await?;
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), length));
        Ok(length)
    }
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a job failed with, without the wrapping that the queue's library keeps it in, which is `TaskError("\"...\"")`.
fn plain(error: &str) -> String {
    let quoted = error.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let text = |quoted: &str| serde_json::from_str::<String>(quoted).ok();
    let Some(once) = quoted.and_then(text) else {
        return error.to_owned();
    };
    text(&once).unwrap_or(once)
}

/// Brings the queue's tables up to date.
///
/// # Errors
///
/// When the database does not answer, or refuses.
pub(crate) async fn migrate(config: &Config) -> anyhow::Result<()> {
    let database = database(config, 1)?;
    WorkerUtils::new(database, SCHEMA).migrate().await.context("migration of the job queue")
}

/// A database for the queue's own use, which hears of new jobs at once.
pub(super) fn database(config: &Config, connections: usize) -> anyhow::Result<TokioPostgresDatabase> {
    Ok(TokioPostgresDatabase::from_config(config.clone(), connections)?)
}

/// Makes sure that no job stays with a worker that lost it.
///
/// # Errors
///
/// When the database does not answer.
pub(super) async fn has_stuck_jobs(client: &tokio_postgres::Client) -> anyhow::Result<bool> {
    let stuck = "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs WHERE locked_at < now() - interval '30 s')";
    Ok(patiently(async { Ok(client.query_one(stuck, &[]).await?) }).await?.try_get(0)?)
}

/// Whether jobs have been due for a while and nobody has taken any.
///
/// # Errors
///
/// When the database does not answer.
pub(super) async fn stands_still(client: &tokio_postgres::Client) -> anyhow::Result<bool> {
    let still = "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs
            WHERE attempts < max_attempts AND run_at < now() - interval '2 s')
        AND NOT EXISTS (SELECT FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL)";
    Ok(patiently(async { Ok(client.query_one(still, &[]).await?) }).await?.try_get(0)?)
}

/// Whether a worker has shown signs of life of late.
///
/// # Errors
///
/// When the database does not answer, or was never prepared.
pub(crate) async fn has_worker(client: &tokio_postgres::Client) -> anyhow::Result<bool> {
    let lives = "SELECT EXISTS (SELECT FROM graphile_worker._private_workers
        WHERE last_heartbeat_at > now() - make_interval(secs => $1))";
    let silence = SILENCE.as_secs_f64();
    Ok(patiently(async { Ok(client.query_one(lives, &[&silence]).await?) }).await?.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn errors_are_told_without_their_wrapping() {
        for (error, text) in [
            ("TaskError(\"the word \\\"a\\\" is refused\")", "the word \"a\" is refused"),
            ("TaskError(\"\\\"refused\\\"\")", "refused"),
            ("TaskAborted", "TaskAborted"),
            ("db error (closed)", "db error (closed)"),
            ("", ""),
        ] {
            assert_eq!(plain(error), text);
        }
    }
}
