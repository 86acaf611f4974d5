//! A task per request: while the database works, the thread does something else.

use std::sync::Arc;

use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;

use super::store::{INSERT, Side, Store, Unavailable, WAIT, delay};
use crate::database::Database;
use crate::switches::Switches;

/// Stores with the asynchronous driver.
pub(super) struct NonBlocking {
    pool: Pool,
    switches: Arc<Switches>,
}

impl NonBlocking {
    /// Connects as needed; every query takes as much longer as is switched.
    ///
    /// # Errors
    ///
    /// When the pool cannot be built.
    pub fn new(database: &Database, switches: Arc<Switches>) -> anyhow::Result<Self> {
        Ok(Self { pool: database.pool(WAIT)?, switches })
    }

    async fn insert_soon(&self, name: &str) -> Result<(), Unavailable> {
        let client = self.pool.get().await.map_err(Unavailable::new)?;
        let insert = client.prepare_cached(INSERT).await.map_err(Unavailable::new)?;
        client.execute(&insert, &[&name, &delay(&self.switches)]).await.map_err(Unavailable::new)?;
        Ok(())
    }
}

impl Store for NonBlocking {
    fn side(&self) -> Side {
        Side::NonBlocking
    }

    fn insert(&self, name: String) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move { self.insert_soon(&name).await })
    }

    fn ping(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
