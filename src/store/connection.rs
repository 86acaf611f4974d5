//! Long-lived connections: how they are set up, when a statement is tried again on a new one.

use std::time::Duration;

use deadpool_postgres::{BuildError, Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use crate::config::Config;
use crate::error::Error;

/// Why a pool could not be built.
pub type PoolError = BuildError;

const SCHEMA: &str = include_str!("../../sql/schema.sql");

/// Between two tries to reach a database that is away.
const PAUSE: Duration = Duration::from_millis(50);

/// A pool of connections, and whether the schema is there yet.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    schema: watch::Sender<bool>,
    patience: Duration,
}

impl Connections {
    pub(super) fn new(config: &Config, size: u16) -> Result<Self, PoolError> {
        Ok(Self { pool: pool(config, size)?, schema: watch::Sender::new(false), patience: config.patience })
    }

    /// Other connections to the same database, that know of the same schema.
    pub(super) fn sibling(&self, config: &Config, size: u16) -> Result<Self, PoolError> {
        Ok(Self { pool: pool(config, size)?, ..self.clone() })
    }

    /// Applies the schema as soon as the database lets it, for as long as that takes.
    pub(super) async fn apply_schema(self) {
        let mut said = String::new();
        while let Err(error) = self.try_schema().await {
            // Once for each reason: a database that starts says the same thing many times.
            if said != error {
                eprintln!("peleja: waiting for the database: {error}");
                said = error;
            }
            sleep(PAUSE).await;
        }
        eprintln!("peleja: ready");
        self.schema.send_replace(true);
    }

    async fn try_schema(&self) -> Result<(), String> {
        let client = self.pool.get().await.map_err(|error| describe(&error))?;
        // The lock ends with the transaction; its key is the word `peleja` in ASCII.
        let script = format!("BEGIN; SELECT pg_advisory_xact_lock({}); {SCHEMA} COMMIT;", 0x70_65_6c_65_6a_61_u64);
        let outcome = client.batch_execute(&script).await;
        if outcome.is_err() {
            // Its transaction may still be open.
            drop(Object::take(client));
        }
        outcome.map_err(|error| describe(&error))
    }

    /// Runs a statement, prepared once a connection. A connection that is lost is replaced and the statement tried
    /// again, within the patience of a request: it must do no harm twice.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] where the database stayed away, [`Error::Internal`] where it refused the statement.
    pub(super) async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let deadline = Instant::now() + self.patience;
        self.wait_for_schema().await?;
        loop {
            let error = match self.try_query(sql, parameters).await {
                Ok(rows) => return Ok(rows),
                Err(Failure::Refused(error)) => {
                    eprintln!("peleja: the database refused: {error}");
                    return Err(Error::Internal);
                }
                Err(Failure::TooSlow) => return Err(Error::Unavailable),
                Err(Failure::Away(error)) => error,
            };
            if Instant::now() + PAUSE >= deadline {
                eprintln!("peleja: the database is away: {error}");
                return Err(Error::Unavailable);
            }
            sleep(PAUSE).await;
        }
    }

    async fn wait_for_schema(&self) -> Result<(), Error> {
        if *self.schema.borrow() {
            return Ok(());
        }
        self.schema.subscribe().wait_for(|applied| *applied).await.map(drop).map_err(|_| Error::Unavailable)
    }

    async fn try_query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let client = self.pool.get().await.map_err(|error| Failure::Away(describe(&error)))?;
        let statement = client.prepare_cached(sql).await.map_err(Failure::from)?;
        client.query(&statement, parameters).await.map_err(Failure::from)
    }
}

enum Failure {
    /// The database did not take the statement, or nobody knows: another try may help.
    Away(String),
    /// The database took the statement and found fault with it.
    Refused(String),
    /// The database gave the statement up after a request's patience.
    TooSlow,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = describe(&error);
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) => Self::TooSlow,
            Some(code) if !passes(code) => Self::Refused(text),
            _ => Self::Away(text),
        }
    }
}

/// Whether a database that answers with this code may answer better soon: connection exceptions (class 08), a
/// transaction that lost against another (40), too few resources (53), an operator's intervention (57). See appendix A
/// of PostgreSQL's manual.
fn passes(code: &SqlState) -> bool {
    ["08", "40", "53", "57"].iter().any(|class| code.code().starts_with(class))
}

fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn pool(config: &Config, size: u16) -> Result<Pool, PoolError> {
    let mut database = config.database.clone();
    database
        .application_name("peleja")
        .connect_timeout(config.patience)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(config.patience)
        .options(session_options(config));
    let manager = Manager::from_config(database, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager).max_size(usize::from(size)).build()
}

/// One plan for each statement, made once: the trigram index wherever a condition can use it (the planner, which
/// expects the 50 hits of a search early, would rather read the table), never a compilation to machine code (it takes
/// longer than any statement here).
fn session_options(config: &Config) -> String {
    let options = config.database.get_options().unwrap_or_default();
    let patience = config.patience.as_millis();
    format!(
        "{options} -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off -c statement_timeout={patience}"
    )
}
