//! The lab's database: one step that prepares it, and the pools over it.

use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};
use tokio_util::sync::CancellationToken;

use crate::connection::connect;
use crate::forms::queue;

/// Everything the lab stores, made where it is missing and otherwise left alone.
const SCHEMA: &str = include_str!("schema.sql");

/// Any number, as long as all processes of the lab use the same.
const LOCK: i64 = 0x6c61_6221;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

/// Where the database is.
#[derive(clap::Args, Clone, Debug)]
pub struct Database {
    /// PostgreSQL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE; the database is created where it is missing
    #[arg(long, env = "LAB_DATABASE_URL", hide_env_values = true, default_value = "postgres://postgres:rinha@localhost:5432/lab", value_parser = parse_url)]
    pub database_url: Config,

    /// Connections in the pool. Fewer make requests wait for one; more than PostgreSQL's max_connections make them fail
    #[arg(long, env = "LAB_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub connections: u32,
}

impl Database {
    /// A pool that opens connections as needed, and waits at most `wait` for a free one.
    ///
    /// # Errors
    ///
    /// When the pool cannot be built.
    pub fn pool(&self, wait: Duration) -> anyhow::Result<Pool> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.database_url.clone(), NoTls, fast);
        Pool::builder(manager)
            .max_size(self.connections as usize)
            .wait_timeout(Some(wait))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .context("cannot build the connection pool")
    }

    /// Prepares the database in the background, again and again until it answers.
    pub fn prepare(&self, name: &'static str, shutdown: CancellationToken) {
        let config = self.database_url.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(prepare_until_done(name, &config)).await;
        });
    }
}

/// Creates the database, its tables and the job queue where they are missing; wipes nothing.
///
/// # Errors
///
/// When PostgreSQL does not answer, or refuses.
pub async fn init(config: &Config) -> anyhow::Result<()> {
    let client = match connect(config).await {
        Err(error) if is_missing(&error) => {
            create(config).await?;
            connect(config).await?
        }
        other => other?,
    };
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    client.batch_execute(SCHEMA).await.context("cannot create the tables")?;
    queue::migrate(config).await.context("cannot prepare the job queue")
}

/// Waits until the database is prepared.
pub async fn prepare_until_done(name: &str, config: &Config) {
    let mut told = false;
    while let Err(error) = init(config).await {
        if !told {
            eprintln!("{name}: the database is not ready yet, trying on: {error:#}");
            told = true;
        }
        tokio::time::sleep(RETRY).await;
    }
    if told {
        eprintln!("{name}: the database is ready");
    }
}

async fn create(config: &Config) -> anyhow::Result<()> {
    let name = config.get_dbname().unwrap_or("lab").to_owned();
    let mut maintenance = config.clone();
    maintenance.dbname("postgres");
    let client = connect(&maintenance).await?;
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    match client.batch_execute(&format!("CREATE DATABASE {quoted}")).await {
        Err(error) if !exists_already(&error) => Err(error).with_context(|| format!("cannot create database {name}")),
        _ => Ok(()),
    }
}

fn is_missing(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_CATALOG_NAME)
}

/// Two that create it at once may also collide in the catalog.
fn exists_already(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION))
}

fn parse_url(url: &str) -> Result<Config, String> {
    let mut config: Config =
        url.parse().map_err(|error: tokio_postgres::Error| match std::error::Error::source(&error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        })?;
    if config.get_hosts().is_empty() {
        return Err("it names no host".into());
    }
    if config.get_dbname().is_none() {
        config.dbname("lab");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    config.application_name("lab");
    Ok(config)
}
