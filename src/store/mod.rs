//! All SQL, the few connections that carry it, and what is known without asking.
//!
//! Every wait here ends: a request's after the configured patience, whatever the database does.

mod batch;
mod connection;
mod create;
mod fetch;
mod follow;
mod knowledge;
mod pace;
mod row;

use std::sync::Arc;
use std::time::Duration;

pub use connection::PoolError;
pub use create::{Created, NewPerson};
use prometheus::Histogram;
use tokio::time::timeout;
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use crate::memory::{Memory, Record};
use batch::Batcher;
use connection::Connections;
use create::Creates;
use fetch::Fetches;
use follow::Follower;
use knowledge::Knowledge;
use row::{columns, record};

const SEARCH: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM users WHERE strpos(fold(nickname), fold($1)) > 0 OR strpos(fold(fullname), fold($1)) > 0 \
    OR EXISTS (SELECT FROM unnest(stack) AS element WHERE strpos(fold(element), fold($1)) > 0) LIMIT 50"
);

/// Everything stored.
pub struct Store {
    creates: Batcher<NewPerson, Created>,
    fetches: Batcher<Uuid, Option<Record>>,
    reads: Connections,
    knowledge: Arc<Knowledge>,
    follower: Follower,
    patience: Duration,
}

impl Store {
    /// Starts to connect and to apply the schema, and returns at once; requests wait for that as long as they may.
    /// Must be called within a Tokio runtime. `groups` is told the size of each group of creates.
    ///
    /// # Errors
    ///
    /// For a pool that cannot be built from the configuration.
    pub fn open(config: &Config, groups: Histogram) -> Result<Self, PoolError> {
        let reads = Connections::new(config, config.readers)?;
        tokio::spawn(reads.clone().apply_schema());
        let batch = usize::from(config.batch);
        let queue = config.queue as usize;
        let knowledge = Arc::new(Knowledge::new((config.memory as usize) << 20));
        let creates = Creates { connections: reads.sibling(config.writers)?, knowledge: knowledge.clone(), groups };
        Ok(Self {
            creates: Batcher::start(creates, config.writers, batch, queue),
            fetches: Batcher::start(Fetches(reads.clone()), config.readers, batch, queue),
            follower: Follower::start(reads.clone(), knowledge.clone(), queue),
            knowledge,
            reads,
            patience: config.patience,
        })
    }

    /// Whether there is room for one more create: to be asked before anything is done for it.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`].
    pub fn admit_create(&self) -> Result<(), Error> {
        if self.creates.has_room() { Ok(()) } else { Err(Error::Overloaded) }
    }

    /// Stores a person; when this says [`Created::Stored`], the person is on disk and visible to everyone.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`], and then nothing was done; [`Error::Unavailable`], and then it is not known whether the
    /// person is stored.
    pub async fn create(&self, person: NewPerson) -> Result<Created, Error> {
        self.in_time(self.creates.submit(person)).await
    }

    /// The person with that id.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Internal`].
    pub async fn fetch(&self, id: Uuid) -> Result<Option<Record>, Error> {
        let remembered = || self.knowledge.look_if_unchanged(|memory| memory.get(id).cloned());
        let known = remembered();
        if let Some(Some(person)) = known {
            return Ok(Some(person));
        }
        self.in_time(async {
            if known.is_some() {
                self.follower.catch_up().await?;
            }
            match remembered() {
                Some(known) => Ok(known),
                None => self.fetches.submit(id).await,
            }
        })
        .await
    }

    /// At most 50 people with the term in their nickname, fullname or one element of their stack, without regard to
    /// case.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Internal`].
    pub async fn search(&self, term: &str) -> Result<Vec<Record>, Error> {
        // No text that PostgreSQL stores has it, and it takes none that does.
        if term.contains('\0') {
            return Ok(Vec::new());
        }
        self.in_time(async {
            // To wait for everyone to be read takes the database less than to read everyone for this one search.
            if !self.knowledge.gave_up() {
                self.follower.catch_up().await?;
            }
            match self.knowledge.look(|memory| memory.search(term).into_iter().cloned().collect()) {
                Some(found) => Ok(found),
                None => self.search_database(term).await,
            }
        })
        .await
    }

    async fn search_database(&self, term: &str) -> Result<Vec<Record>, Error> {
        let rows = self.reads.query(SEARCH, &[&term]).await?;
        rows.iter().map(|row| record(row, 0)).collect()
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

    /// How many people are remembered; 0 while the database answers instead.
    pub fn remembered(&self) -> usize {
        self.knowledge.look(Memory::len).unwrap_or_default()
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
