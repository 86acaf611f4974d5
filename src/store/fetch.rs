//! Fetches by id, grouped into one statement.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::Error;

use super::batch::Work;
use super::connection::Connections;
use super::row::PersonRow;

const FETCH: &str = "SELECT id, nickname, fullname, dob::text, stack FROM users WHERE id = ANY($1)";

pub(super) struct Fetches(pub(super) Connections);

impl Work for Fetches {
    type Item = Uuid;
    type Answer = Option<PersonRow>;

    async fn run(&self, ids: &[Uuid]) -> Vec<Result<Option<PersonRow>, Error>> {
        match self.0.query(FETCH, &[&ids]).await {
            Ok(rows) => {
                let rows = rows.into_iter().map(PersonRow::from);
                let people: HashMap<_, _> = rows.filter_map(|row| Some((row.id()?, row))).collect();
                ids.iter().map(|id| Ok(people.get(id).cloned())).collect()
            }
            Err(error) => ids.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}
