//! Long-lived connections: how they are set up, when a statement is tried again on a new one.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{BuildError, Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use futures_util::future::BoxFuture;
use scopeguard::{ScopeGuard, guard};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::config::Host;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Client, NoTls, Row};

use crate::config::Config;
use crate::error::Error;
use crate::socket::Stream;

use super::schema::Schema;

/// Why a pool could not be built.
pub type PoolError = BuildError;

/// Between two tries to reach a database that is away.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// Between two tries to get a lock that somebody holds.
const PAUSE_FOR_LOCK: Duration = Duration::from_millis(5);

/// How long a table that is gone is left to whoever puts a dump back and makes it himself.
const RESTORING: Duration = Duration::from_secs(5);

/// A pool of connections, and whether the schema is there yet.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    database: tokio_postgres::Config,
    schema: Schema,
    schema_is_there: watch::Sender<bool>,
    patience: Duration,
}

impl Connections {
    /// Sessions with `settings` besides those of all, in the form of PostgreSQL's `options`.
    pub(super) fn new(config: &Config, size: u16, settings: &str) -> Result<Self, PoolError> {
        let database = session(&config.database, config.patience, settings);
        let pool = pool(&database, size)?;
        let schema = Schema::of(config);
        Ok(Self { pool, database, schema, schema_is_there: watch::Sender::new(false), patience: config.patience })
    }

    /// Other connections to the same database, with settings of their own, that know of the same schema.
    pub(super) fn sibling(&self, config: &Config, size: u16, settings: &str) -> Result<Self, PoolError> {
        Ok(Self { schema_is_there: self.schema_is_there.clone(), ..Self::new(config, size, settings)? })
    }

    /// A connection without the pool, as [`connect`].
    ///
    /// # Errors
    ///
    /// What the database or the way to it says.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        connect(&self.database).await
    }

    /// Applies the schema as soon as the database lets it, for as long as that takes.
    pub(super) async fn apply_schema(self) {
        let mut said = String::new();
        while let Err(error) = self.schema.apply().await {
            // Once for each reason: a database that starts says the same thing many times.
            if said != error {
                eprintln!("peleja: waiting for the database: {error}");
                said = error;
            }
            sleep(PAUSE).await;
        }
        eprintln!("peleja: ready");
        self.schema_is_there.send_replace(true);
    }

    /// Waits for a table that somebody dropped to come back, and makes it in the end. One that comes back without the rights
    /// of the instance's role gets them at once: until it is whole, requests are answered out of it.
    pub(super) async fn restore_schema(&self) {
        let until = Instant::now() + RESTORING;
        let mut has_rights = false;
        while Instant::now() < until {
            if self.schema.is_there().await.unwrap_or(false) {
                return;
            }
            has_rights = has_rights || self.schema.restore_rights().await.is_ok();
            sleep(PAUSE).await;
        }
        self.clone().apply_schema().await;
    }

    /// Runs a statement, prepared once a connection. A connection that is lost is replaced and the statement tried
    /// again, within the patience of a request: it must do no harm twice. Who gives up waiting for this has the statement
    /// cancelled.
    ///
    /// # Errors
    ///
    /// Why it cannot be done, or not in time.
    pub(super) async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let deadline = Instant::now() + self.patience;
        self.schema_applied().await;
        loop {
            let failure = match self.try_query(sql, parameters).await {
                Ok(rows) => return Ok(rows),
                Err(failure) => failure,
            };
            let pause = match &failure {
                Failure::Away(_) => PAUSE,
                Failure::Locked => PAUSE_FOR_LOCK,
                Failure::Held | Failure::TooSlow => return Err(failure),
                Failure::Refused(error) => {
                    eprintln!("peleja: the database refused: {error}");
                    return Err(failure);
                }
            };
            if Instant::now() + pause >= deadline {
                if let Failure::Away(error) = &failure {
                    eprintln!("peleja: the database is away: {error}");
                }
                return Err(failure);
            }
            sleep(pause).await;
        }
    }

    /// Waits until the schema is there, for as long as that takes.
    pub(super) async fn schema_applied(&self) {
        if !*self.schema_is_there.borrow() {
            // Fails only without a sender, and this is one.
            let _ = self.schema_is_there.subscribe().wait_for(|applied| *applied).await;
        }
    }

    async fn try_query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let client = self.pool.get().await.map_err(|error| Failure::Away(describe(&error)))?;
        let statement = client.prepare_cached(sql).await?;
        let client = guard(client, |client| cancel_in_time(client, self.database.clone()));
        let outcome = client.query(&statement, parameters).await;
        let client = ScopeGuard::into_inner(client);
        if let Err(error) = &outcome
            && error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
        {
            // A statement that was prepared for a table with other columns stays unusable.
            drop(Object::take(client));
        }
        Ok(outcome?)
    }
}

/// Cancels a statement whose end nobody waits for. Its connection is free only after that.
fn cancel_in_time(client: Object, database: tokio_postgres::Config) {
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        // Fails where the connection is lost, and the statement with it.
        let _ = cancel(&database, &client.cancel_token()).await;
        // A cancellation that comes late must hit this and not what somebody else runs next.
        let _ = client.simple_query("").await;
    });
}

/// Why a statement did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database did not take the statement, or nobody knows: another try may help.
    Away(String),
    /// Somebody holds a lock on the table: another try may help.
    Locked,
    /// Somebody has a row open that decides whether this one may be stored.
    Held,
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
            // Only a wait for another transaction's row says where it came to that.
            Some(&SqlState::LOCK_NOT_AVAILABLE) => match error.as_db_error().and_then(DbError::where_) {
                Some(_) => Self::Held,
                None => Self::Locked,
            },
            Some(code) if !passes(code) => Self::Refused(text),
            _ => Self::Away(text),
        }
    }
}

impl From<&Failure> for Error {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(_) => Self::Internal,
            Failure::Away(_) | Failure::Locked | Failure::Held | Failure::TooSlow => Self::Unavailable,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::from(&failure)
    }
}

/// Whether a database that answers with this code may answer better soon: connection exceptions (class 08), a
/// transaction that lost against another (40), too few resources (53), an operator's intervention (57), or a table that
/// somebody is putting back. See appendix A of PostgreSQL's manual.
pub(super) fn passes(code: &SqlState) -> bool {
    is_of_schema(code) || ["08", "40", "53", "57"].iter().any(|class| code.code().starts_with(class))
}

/// Whether the table or a column is not there, or is another one than when the statement was prepared.
pub(super) fn is_of_schema(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::FEATURE_NOT_SUPPORTED,
    ]
    .contains(code)
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
        Box::pin(async move { connect(&database).await })
    }
}

/// A connection, and what moves its bytes until its client is gone.
///
/// # Errors
///
/// What the database or the way to it says.
pub(super) async fn connect(
    database: &tokio_postgres::Config,
) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
    // A socket that cannot be reached this way cannot be reached by the library either, which says why.
    let Some(Ok(stream)) = unix_stream(database) else {
        let (client, connection) = database.connect(NoTls).await?;
        return Ok((client, tokio::spawn(drive(connection))));
    };
    let (client, connection) = database.connect_raw(stream, NoTls).await?;
    Ok((client, tokio::spawn(drive(connection))))
}

/// Until the connection is lost, or its client gone.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    // Whoever has the client hears of the same error.
    let _ = connection.await;
}

async fn cancel(database: &tokio_postgres::Config, token: &CancelToken) -> Result<(), tokio_postgres::Error> {
    match unix_stream(database) {
        Some(Ok(stream)) => token.cancel_query_raw(stream, NoTls).await,
        _ => token.cancel_query(NoTls).await,
    }
}

fn unix_stream(database: &tokio_postgres::Config) -> Option<io::Result<Stream>> {
    unix_socket(database).map(|path| UnixStream::connect(path).and_then(Stream::client))
}

/// The socket of a database that is given by its folder, and by nothing else.
fn unix_socket(database: &tokio_postgres::Config) -> Option<PathBuf> {
    let [Host::Unix(folder)] = database.get_hosts() else { return None };
    let port = database.get_ports().first().copied().unwrap_or(5432);
    Some(folder.join(format!(".s.PGSQL.{port}")))
}

/// One plan for each statement, made once, never compiled to machine code (which takes longer than any statement here),
/// and commits that are flushed before they are acknowledged, whatever was set for the role or the database.
pub(super) fn session(database: &tokio_postgres::Config, patience: Duration, settings: &str) -> tokio_postgres::Config {
    let options = format!(
        "{} -c synchronous_commit=on -c plan_cache_mode=force_generic_plan -c jit=off -c statement_timeout={} {settings}",
        database.get_options().unwrap_or_default(),
        patience.as_millis()
    );
    let mut session = database.clone();
    session
        .application_name("peleja")
        .connect_timeout(patience)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(patience)
        .options(options);
    session
}
