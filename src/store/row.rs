//! A person as the database returns one.

use tokio_postgres::Row;

use crate::error::Error;
use crate::json::Stored;
use crate::memory::Record;

/// What a statement selects to have a row that [`record`] reads. Another client may have stored a stack of several
/// dimensions, which PostgreSQL takes for the same type; its elements then come one after the other.
macro_rules! columns {
    () => {
        "id, nickname, fullname, dob::text, \
        CASE WHEN array_ndims(stack) > 1 THEN ARRAY(SELECT unnest(stack)) ELSE stack END"
    };
}
pub(super) use columns;

/// The person in a row whose columns from `first` on are [`columns`].
///
/// # Errors
///
/// [`Error::Internal`] for a row with other columns.
pub(super) fn record(row: &Row, first: usize) -> Result<Record, Error> {
    person(row, first).map(|person| Record::new(&person))
}

/// The same, borrowed from the row.
///
/// # Errors
///
/// [`Error::Internal`] for a row with other columns.
pub(super) fn person(row: &Row, first: usize) -> Result<Stored<'_>, Error> {
    stored(row, first).map_err(|error| {
        eprintln!("peleja: a row that is no person: {error}");
        Error::Internal
    })
}

fn stored(row: &Row, first: usize) -> Result<Stored<'_>, tokio_postgres::Error> {
    Ok(Stored {
        id: row.try_get(first)?,
        nickname: row.try_get(first + 1)?,
        fullname: row.try_get(first + 2)?,
        dob: row.try_get(first + 3)?,
        stack: row.try_get(first + 4)?,
    })
}
