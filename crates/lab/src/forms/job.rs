//! What a worker does with an opinion that was queued.

use std::sync::Arc;

use anyhow::bail;
use deadpool_postgres::Pool;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::opinion::Opinion;
use super::store;
use crate::switches::{REFUSE, Switches, WORK};

/// The job of storing an opinion.
#[derive(Deserialize, Serialize)]
pub(super) struct StoreOpinion {
    pub opinion: Opinion,
}

impl TaskHandler for StoreOpinion {
    const IDENTIFIER: &'static str = "store_opinion";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let shelf = context.get_ext::<Shelf>().ok_or("the worker has no database")?;
        shelf.store(&self.opinion).await.map_err(|error| format!("{error:#}"))
    }
}

/// Where the worker puts opinions.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    pool: Pool,
    switches: Arc<Switches>,
}

impl Shelf {
    /// Opinions go to the database behind `pool`, but none that holds the word that is switched.
    pub fn new(pool: Pool, switches: Arc<Switches>) -> Self {
        Self { pool, switches }
    }

    /// Stores an opinion, unless it holds the word that is refused.
    ///
    /// # Errors
    ///
    /// When it is refused, or the database does not commit it in time.
    pub async fn store(&self, opinion: &Opinion) -> anyhow::Result<()> {
        let word = self.switches.text(&REFUSE);
        if !word.is_empty() && opinion.text.contains(&word) {
            bail!("this worker was told to refuse opinions with the word {word}");
        }
        store::insert(&self.pool, opinion, true, self.switches.number(&WORK)).await.map(drop)
    }
}
