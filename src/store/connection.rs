//! Long-lived connections: how they are set up, when a statement is tried again on a new one.

use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::{BuildError, Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Socket};

use crate::config::Config;
use crate::error::Error;
use crate::socket::Stream;

/// Why a pool could not be built.
pub type PoolError = BuildError;

const SCHEMA: &str = include_str!("../../sql/schema.sql");

/// The comment that the table bears once this very schema is applied, and the one that it bears.
const MARKS: &str = "SELECT 'peleja: schema ' || encode(sha256(convert_to($1::text, 'UTF8')), 'hex'), \
    obj_description(to_regclass('users'), 'pg_class')";

/// Between two tries to reach a database that is away.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A pool of connections, and whether the schema is there yet.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    database: tokio_postgres::Config,
    schema: watch::Sender<bool>,
    patience: Duration,
}

impl Connections {
    pub(super) fn new(config: &Config, size: u16) -> Result<Self, PoolError> {
        let database = database(config);
        let pool = pool(&database, size)?;
        Ok(Self { pool, database, schema: watch::Sender::new(false), patience: config.patience })
    }

    /// Other connections to the same database, that know of the same schema.
    pub(super) fn sibling(&self, size: u16) -> Result<Self, PoolError> {
        Ok(Self { pool: pool(&self.database, size)?, ..self.clone() })
    }

    /// A connection without the pool.
    ///
    /// # Errors
    ///
    /// What the database or the way to it says.
    pub(super) async fn connect(&self) -> Result<(Client, AnyConnection), tokio_postgres::Error> {
        connect(&self.database).await
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

    /// Leaves a schema alone that is there: to apply it again would wait for whoever has changes open, and all creates
    /// would wait behind it.
    async fn try_schema(&self) -> Result<(), String> {
        let client = self.pool.get().await.map_err(|error| describe(&error))?;
        let marks = client.query_one(MARKS, &[&SCHEMA]).await.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let (wanted, found): (String, Option<String>) = marks.map_err(|error| describe(&error))?;
        if found.as_ref() == Some(&wanted) {
            return Ok(());
        }
        // The lock ends with the transaction; its key is the word `peleja` in ASCII.
        let script = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({}); {SCHEMA} COMMENT ON TABLE users IS '{wanted}'; COMMIT;",
            0x70_65_6c_65_6a_61_u64
        );
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
        self.schema_applied().await;
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

    /// Waits until the schema is there, for as long as that takes.
    pub(super) async fn schema_applied(&self) {
        if !*self.schema.borrow() {
            // Fails only without a sender, and this is one.
            let _ = self.schema.subscribe().wait_for(|applied| *applied).await;
        }
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
pub(super) fn passes(code: &SqlState) -> bool {
    ["08", "40", "53", "57"].iter().any(|class| code.code().starts_with(class))
}

pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
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

fn pool(database: &tokio_postgres::Config, size: u16) -> Result<Pool, PoolError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_connect(database.clone(), Connector, recycling);
    Pool::builder(manager).max_size(usize::from(size)).build()
}

struct Connector;

impl Connect for Connector {
    fn connect(
        &self,
        database: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let database = database.clone();
        Box::pin(async move {
            let (client, mut connection) = connect(&database).await?;
            let driver =
                async move { while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {} };
            Ok((client, tokio::spawn(driver)))
        })
    }
}

/// What moves a connection's bytes.
pub(super) enum AnyConnection {
    /// Over our own kind of Unix socket.
    Unix(Connection<Stream, NoTlsStream>),
    /// Over TCP.
    Tcp(Connection<Socket, NoTlsStream>),
}

impl AnyConnection {
    /// Moves on; see [`Connection::poll_message`].
    pub(super) fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<AsyncMessage, tokio_postgres::Error>>> {
        match self {
            Self::Unix(connection) => connection.poll_message(context),
            Self::Tcp(connection) => connection.poll_message(context),
        }
    }
}

async fn connect(database: &tokio_postgres::Config) -> Result<(Client, AnyConnection), tokio_postgres::Error> {
    // A socket that cannot be reached this way cannot be reached by the library either, which says why.
    let Some(Ok(stream)) = unix_socket(database).map(|path| UnixStream::connect(path).and_then(Stream::client)) else {
        let (client, connection) = database.connect(NoTls).await?;
        return Ok((client, AnyConnection::Tcp(connection)));
    };
    let (client, connection) = database.connect_raw(stream, NoTls).await?;
    Ok((client, AnyConnection::Unix(connection)))
}

/// The socket of a database that is given by its folder, and by nothing else.
fn unix_socket(database: &tokio_postgres::Config) -> Option<PathBuf> {
    let [Host::Unix(folder)] = database.get_hosts() else { return None };
    let port = database.get_ports().first().copied().unwrap_or(5432);
    Some(folder.join(format!(".s.PGSQL.{port}")))
}

fn database(config: &Config) -> tokio_postgres::Config {
    let mut database = config.database.clone();
    database
        .application_name("peleja")
        .connect_timeout(config.patience)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(config.patience)
        .options(session_options(config));
    database
}

/// One plan for each statement, made once: an index wherever a condition can use one (the planner cannot know how few
/// rows a snapshot leaves, and would rather read the table), never a compilation to machine code (it takes longer than
/// any statement here), and dates as `YYYY-MM-DD`, whatever the database's default.
fn session_options(config: &Config) -> String {
    let options = config.database.get_options().unwrap_or_default();
    let patience = config.patience.as_millis();
    format!(
        "{options} -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off -c datestyle=ISO -c statement_timeout={patience}"
    )
}
