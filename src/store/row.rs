//! A person as the database returned it.

use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::Error;
use crate::json::Stored;

/// A row with the columns `id, nickname, fullname, dob::text, stack`. Cheap to clone.
#[derive(Clone)]
pub struct PersonRow(Arc<Row>);

impl From<Row> for PersonRow {
    fn from(row: Row) -> Self {
        Self(Arc::new(row))
    }
}

impl PersonRow {
    /// The person, borrowed from the row.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] for a row with other columns.
    pub fn view(&self) -> Result<Stored<'_>, Error> {
        self.read().map_err(|error| {
            eprintln!("peleja: a row that is no person: {error}");
            Error::Internal
        })
    }

    pub(super) fn id(&self) -> Option<Uuid> {
        self.0.try_get(0).ok()
    }

    fn read(&self) -> Result<Stored<'_>, tokio_postgres::Error> {
        let row = &self.0;
        Ok(Stored {
            id: row.try_get(0)?,
            nickname: row.try_get(1)?,
            fullname: row.try_get(2)?,
            dob: row.try_get(3)?,
            stack: row.try_get(4)?,
        })
    }
}
