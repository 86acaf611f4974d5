//! All SQL, and the few connections that carry it.
//!
//! Every wait here ends: a request's after the configured patience, whatever the database does.

mod batch;
mod connection;
mod create;
mod fetch;
mod row;
mod sweep;

use std::time::Duration;

pub use connection::PoolError;
pub use create::{Created, NewPerson};
pub use row::PersonRow;
use tokio::time::timeout;
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use batch::Batcher;
use connection::Connections;
use create::Creates;
use fetch::Fetches;

/// What stands between two fields in the column `search`, see `sql/schema.sql`.
const SEPARATOR: char = '\u{1f}';

/// Everything stored.
pub struct Store {
    creates: Batcher<NewPerson, Created>,
    fetches: Batcher<Uuid, Option<PersonRow>>,
    reads: Connections,
    patience: Duration,
}

impl Store {
    /// Starts to connect and to apply the schema, and returns at once; requests wait for that as long as they may.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// For a pool that cannot be built from the configuration.
    pub fn open(config: &Config) -> Result<Self, PoolError> {
        let reads = Connections::new(config, config.searchers)?;
        tokio::spawn(reads.clone().apply_schema());
        tokio::spawn(sweep::sweep(reads.sibling(config, 1)?));
        let batch = usize::from(config.batch);
        let queue = config.queue as usize;
        let creates = Creates(reads.sibling(config, config.writers)?);
        let fetches = Fetches(reads.sibling(config, config.fetchers)?);
        Ok(Self {
            creates: Batcher::start(creates, config.writers, batch, queue),
            fetches: Batcher::start(fetches, config.fetchers, batch, queue),
            reads,
            patience: config.patience,
        })
    }

    /// Stores a person; when this says [`Created::Stored`], the person is on disk and visible to everyone.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], and then it is not known whether the person is stored.
    pub async fn create(&self, person: NewPerson) -> Result<Created, Error> {
        self.in_time(self.creates.submit(person)).await
    }

    /// The person with that id.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Internal`].
    pub async fn fetch(&self, id: Uuid) -> Result<Option<PersonRow>, Error> {
        self.in_time(self.fetches.submit(id)).await
    }

    /// At most 50 people with the term in their nickname, fullname or one element of their stack.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Internal`].
    pub async fn search(&self, term: &str) -> Result<Vec<PersonRow>, Error> {
        if term.contains('\0') {
            return Ok(Vec::new());
        }
        let (sql, parameter) = search_statement(term);
        let rows = self.in_time(self.reads.query(sql, &[&parameter])).await?;
        Ok(rows.into_iter().map(PersonRow::from).collect())
    }

    /// How many people there are.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Internal`].
    pub async fn count(&self) -> Result<i64, Error> {
        let rows = self.in_time(self.reads.query("SELECT count(*) FROM users", &[])).await?;
        rows.first().and_then(|row| row.try_get(0).ok()).ok_or(Error::Internal)
    }

    /// Succeeds if the schema is applied and the database answers.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`].
    pub async fn ready(&self) -> Result<(), Error> {
        const PATIENCE: Duration = Duration::from_secs(1);
        match timeout(PATIENCE, self.reads.query("SELECT 1", &[])).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::Unavailable),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.patience, work).await.unwrap_or(Err(Error::Unavailable))
    }
}

/// The statement for a term, and its parameter.
///
/// A trigram index finds nothing to look up in a term without three letters or digits in a row, and would be read from
/// end to end: such a term is sought row by row instead, and mostly found soon.
fn search_statement(term: &str) -> (&'static str, String) {
    const BY_INDEX: &str = "SELECT id, nickname, fullname, dob::text, stack FROM users \
        WHERE search LIKE '%' || fold($1) || '%' LIMIT 50";
    const BY_SCAN: &str = "SELECT id, nickname, fullname, dob::text, stack FROM users \
        WHERE strpos(search, fold($1)) > 0 LIMIT 50";
    const BY_FIELD: &str = "SELECT id, nickname, fullname, dob::text, stack FROM users \
        WHERE strpos(fold(nickname), fold($1)) > 0 OR strpos(fold(fullname), fold($1)) > 0 \
        OR EXISTS (SELECT FROM unnest(stack) AS element WHERE strpos(fold(element), fold($1)) > 0) LIMIT 50";
    if term.contains(SEPARATOR) {
        return (BY_FIELD, term.to_owned());
    }
    let longest_word =
        term.split(|character: char| !character.is_alphanumeric()).map(|word| word.chars().count()).max();
    if longest_word < Some(3) {
        return (BY_SCAN, term.to_owned());
    }
    (BY_INDEX, escape_like(term))
}

fn escape_like(term: &str) -> String {
    let mut escaped = String::with_capacity(term.len());
    for character in term.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_plain_characters() {
        assert_eq!(escape_like(r"50%_\o"), r"50\%\_\\o");
    }

    #[test]
    fn only_terms_with_trigrams_use_the_index() {
        for term in ["abc", "a bcd", "é日本", "%abc"] {
            assert!(search_statement(term).0.contains("LIKE"), "{term}");
        }
        for term in ["a", "ab", "a b c", "ab_cd", "%%%"] {
            assert!(search_statement(term).0.contains("strpos(search"), "{term}");
        }
        assert!(search_statement("abc\u{1f}").0.contains("unnest"));
    }
}
