//! A task per request: while the database works, the thread does something else.

use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;

use super::store::{INSERT, Side, Store, Unavailable, WAIT};
use crate::database::Database;

/// Stores with the asynchronous driver.
pub(super) struct NonBlocking {
    pool: Pool,
    delay: f64,
}

impl NonBlocking {
    /// Connects as needed; `delay` is added to every query.
    ///
    /// # Errors
    ///
    /// When the pool cannot be built.
    pub fn new(database: &Database, delay: Duration) -> anyhow::Result<Self> {
        Ok(Self { pool: database.pool(WAIT)?, delay: delay.as_secs_f64() })
    }

    async fn insert_soon(&self, name: &str) -> Result<(), Unavailable> {
        let client = self.pool.get().await.map_err(Unavailable::new)?;
        let insert = client.prepare_cached(INSERT).await.map_err(Unavailable::new)?;
        client.execute(&insert, &[&name, &self.delay]).await.map_err(Unavailable::new)?;
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
