//! Fetches by id out of the database, grouped into one statement.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::Error;
use crate::memory::Record;

use super::batch::Work;
use super::connection::Connections;
use super::row::{columns, record};

const FETCH: &str = concat!("SELECT ", columns!(), " FROM users WHERE id = ANY($1)");

pub(super) struct Fetches(pub(super) Connections);

impl Work for Fetches {
    type Item = Uuid;
    type Answer = Option<Record>;

    async fn run(&self, ids: Vec<Uuid>) -> Vec<Result<Option<Record>, Error>> {
        match self.people(&ids).await {
            Ok(people) => ids.iter().map(|id| Ok(people.get(id).cloned())).collect(),
            Err(error) => ids.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

impl Fetches {
    async fn people(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Record>, Error> {
        let rows = self.0.query(FETCH, &[&ids]).await?;
        rows.iter().map(|row| record(row, 0).map(|record| (record.id(), record))).collect()
    }
}
