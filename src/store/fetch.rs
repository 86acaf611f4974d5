//! Fetches by id out of the database, grouped into one statement.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::Error;
use crate::memory::Record;

use super::batch::{Job, Work};
use super::connection::Connections;
use super::row::{columns, record};

const FETCH: &str = concat!("SELECT ", columns!(), " FROM users WHERE id = ANY($1)");

pub(super) struct Fetches(pub(super) Connections);

impl Work for Fetches {
    type Item = Uuid;
    type Answer = Option<Record>;

    async fn run(&self, jobs: Vec<Job<Uuid, Option<Record>>>) {
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.item).collect();
        let people = self.people(&ids).await;
        for job in jobs {
            let answer = people.as_ref().map(|people| people.get(&job.item).cloned()).map_err(Error::clone);
            job.answer(answer);
        }
    }
}

impl Fetches {
    async fn people(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Record>, Error> {
        let rows = self.0.query(FETCH, &[&ids]).await?;
        rows.iter().map(|row| record(row, 0).map(|record| (record.id(), record))).collect()
    }
}
