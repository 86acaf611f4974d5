//! A thread per request: it waits for a connection, then for the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use postgres::{Client, NoTls, Statement};
use r2d2::{ManageConnection, Pool};
use tokio::task::spawn_blocking;

use super::store::{INSERT, Side, Store, Unavailable, WAIT, delay};
use crate::database::Database;
use crate::switches::Switches;

/// A connection that was idle this long is tried before it is used: nothing told it that the database is gone.
const IDLE: Duration = Duration::from_secs(1);

/// Stores with the blocking driver.
#[derive(Clone)]
pub(super) struct Blocking {
    pool: Pool<Manager>,
    switches: Arc<Switches>,
}

impl Blocking {
    /// Connects as needed; every query takes as much longer as is switched.
    pub fn new(database: &Database, switches: Arc<Switches>) -> Self {
        let manager = Manager { config: database.database_url.clone().into() };
        let pool = Pool::builder()
            .max_size(database.connections)
            .min_idle(Some(0))
            .connection_timeout(WAIT)
            .test_on_check_out(true)
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(manager);
        Self { pool, switches }
    }

    fn insert_now(&self, name: &str) -> Result<(), Unavailable> {
        let mut connection = self.pool.get().map_err(Unavailable::new)?;
        let Connection { client, insert, used } = &mut *connection;
        client.execute(&*insert, &[&name, &delay(&self.switches)]).map_err(Unavailable::new)?;
        *used = Instant::now();
        Ok(())
    }
}

impl Store for Blocking {
    fn side(&self) -> Side {
        Side::Blocking
    }

    fn insert(&self, name: String) -> BoxFuture<'_, Result<(), Unavailable>> {
        let store = self.clone();
        Box::pin(async move { spawn_blocking(move || store.insert_now(&name)).await.map_err(Unavailable::new)? })
    }

    fn ping(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Only a server that stops refuses the task, and then nobody waits for the answer.
            let _ = spawn_blocking(|| ()).await;
        })
    }
}

struct Manager {
    config: postgres::Config,
}

struct Connection {
    client: Client,
    insert: Statement,
    used: Instant,
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = postgres::Error;

    fn connect(&self) -> Result<Connection, postgres::Error> {
        let mut client = self.config.connect(NoTls)?;
        let insert = client.prepare(INSERT)?;
        Ok(Connection { client, insert, used: Instant::now() })
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), postgres::Error> {
        if connection.used.elapsed() < IDLE {
            return Ok(());
        }
        connection.client.is_valid(Duration::from_secs(1))
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.client.is_closed()
    }
}

/// Ends the connections on a thread that may block, as their driver needs.
pub(super) async fn close(store: Arc<Blocking>) {
    // The pool is gone either way.
    let _ = spawn_blocking(move || drop(store)).await;
}
