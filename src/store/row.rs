//! A person as the database returns one.

use std::error::Error as StdError;

use fallible_iterator::FallibleIterator;
use postgres_protocol::types::array_from_sql;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Kind, Type, accepts};

use crate::error::Error;
use crate::json::Stored;
use crate::memory::Record;

use super::date::Date;

/// What a statement selects to have a row that [`with_person`] reads.
macro_rules! columns {
    () => {
        "id, nickname, fullname, dob, stack"
    };
}
pub(super) use columns;

/// The person in a row whose columns from `first` on are [`columns`].
///
/// # Errors
///
/// [`Error::Internal`] for a row with other columns.
pub(super) fn record(row: &Row, first: usize) -> Result<Record, Error> {
    with_person(row, first, Record::new).map_err(|error| {
        eprintln!("peleja: a row that is no person: {error}");
        Error::Internal
    })
}

/// The same, borrowed from the row for as long as `take` runs.
///
/// # Errors
///
/// For a row with other columns.
pub(super) fn with_person<T>(
    row: &Row,
    first: usize,
    take: impl FnOnce(&Stored<'_>) -> T,
) -> Result<T, tokio_postgres::Error> {
    let dob: Date = row.try_get(first + 3)?;
    let stack: Option<Elements<'_>> = row.try_get(first + 4)?;
    Ok(take(&Stored {
        id: row.try_get(first)?,
        nickname: row.try_get(first + 1)?,
        fullname: row.try_get(first + 2)?,
        dob: &dob.to_string(),
        stack: stack.map(|elements| elements.0),
    }))
}

/// An array's elements. Another client may have stored one of several dimensions, which PostgreSQL takes for the same
/// type; its elements then come one after the other.
struct Elements<'a>(Vec<Option<&'a str>>);

impl<'a> FromSql<'a> for Elements<'a> {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let Kind::Array(element) = of.kind() else { return Err("no array".into()) };
        let elements =
            array_from_sql(raw)?.values().map(|value| value.map(|raw| <&str>::from_sql(element, raw)).transpose());
        elements.collect().map(Self)
    }

    accepts!(TEXT_ARRAY, VARCHAR_ARRAY);
}
