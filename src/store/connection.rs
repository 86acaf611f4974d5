//! Long-lived connections, and when a statement is tried again on a new one.

use std::time::{Duration, Instant as Moment};

use deadpool_postgres::{BuildError, Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use futures_util::future::BoxFuture;
use scopeguard::{ScopeGuard, guard};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::config::Config;
use crate::error::Error;

use super::schema::Schema;
use super::session::Database;

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
    database: Database,
    schema: Schema,
    schema_is_there: watch::Sender<bool>,
    /// When whoever is connected was last given up, to look for another host.
    left: watch::Sender<Option<Moment>>,
    patience: Duration,
}

impl Connections {
    /// Sessions with `settings` besides those of all, in the form of PostgreSQL's `options`.
    pub(super) fn new(config: &Config, size: u16, settings: &str) -> Result<Self, PoolError> {
        let database = Database::new(&config.database, config.patience, settings);
        let pool = pool(&database, size)?;
        let schema = Schema::of(config);
        let (schema_is_there, left) = (watch::Sender::new(false), watch::Sender::new(None));
        Ok(Self { pool, database, schema, schema_is_there, left, patience: config.patience })
    }

    /// Other connections to the same database, with settings of their own, that know of the same schema, and
    /// leave a host together.
    pub(super) fn sibling(&self, config: &Config, size: u16, settings: &str) -> Result<Self, PoolError> {
        let (schema_is_there, left) = (self.schema_is_there.clone(), self.left.clone());
        Ok(Self { schema_is_there, left, ..Self::new(config, size, settings)? })
    }

    /// A connection without the pool, as [`connect`].
    ///
    /// # Errors
    ///
    /// What the database or the way to it says.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        self.database.connect().await
    }

    /// How long a host may say nothing before another one is looked for, where there are others.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.database.has_others().then_some(self.patience)
    }

    /// Gives up all connections there are, these and those of siblings, for others to a host that may be another one.
    /// Without other hosts they are as good as any.
    pub(super) fn leave(&self) {
        if self.database.has_others() {
            self.left.send_replace(Some(Moment::now()));
        }
    }

    /// Whether a connection from then is to be given up.
    pub(super) fn is_left(&self, since: Moment) -> bool {
        self.left.borrow().is_some_and(|left| since <= left)
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
        if !self.database.has_others() {
            return self.query_once(sql, parameters).await;
        }
        let mut left = self.left.subscribe();
        tokio::select! {
            outcome = self.query_once(sql, parameters) => outcome,
            _ = left.changed() => Err(Failure::Away("its host was left for another one".into())),
        }
    }

    async fn query_once(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let client = guard(client, |client| self.give_up(client));
        let outcome = client.query(&statement, parameters).await;
        let client = ScopeGuard::into_inner(client);
        match outcome.as_ref().err().and_then(|error| error.code()) {
            // A statement that was prepared for a table with other columns stays unusable.
            Some(&SqlState::FEATURE_NOT_SUPPORTED) => drop(Object::take(client)),
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
                drop(Object::take(client));
                self.leave();
            }
            _ => {}
        }
        Ok(outcome?)
    }

    async fn client(&self) -> Result<Object, Failure> {
        loop {
            let client = self.pool.get().await.map_err(|error| Failure::Away(describe(&error)))?;
            if !self.is_left(Object::metrics(&client).created) {
                return Ok(client);
            }
            drop(Object::take(client));
        }
    }

    /// Nobody waits any more for what runs there.
    fn give_up(&self, client: Object) {
        if self.is_left(Object::metrics(&client).created) {
            drop(Object::take(client));
        } else {
            cancel_in_time(client, self.database.clone());
        }
    }
}

/// Cancels a statement whose end nobody waits for. Its connection is free only after that.
fn cancel_in_time(client: Object, database: Database) {
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        // Fails where the connection is lost, and the statement with it.
        let _ = database.cancel(&client.cancel_token()).await;
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

/// Whether a database that answers with this code may answer better soon: connection exceptions (class 08), a primary that
/// takes no writes any more (25006), a transaction that lost against another (40), too few resources (53), an operator's
/// intervention (57), or a table that somebody is putting back. See appendix A of PostgreSQL's manual.
pub(super) fn passes(code: &SqlState) -> bool {
    is_of_schema(code) || ["08", "25006", "40", "53", "57"].iter().any(|class| code.code().starts_with(class))
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

fn pool(database: &Database, size: u16) -> Result<Pool, PoolError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_connect(tokio_postgres::Config::new(), Connector(database.clone()), recycling);
    Pool::builder(manager).max_size(usize::from(size)).build()
}

struct Connector(Database);

impl Connect for Connector {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(self.0.connect())
    }
}
