//! All SQL, the few connections that carry it, and what is known without asking.
//!
//! Every wait here ends: a request's after the configured patience, whatever the database does.

mod batch;
mod connection;
mod create;
mod date;
mod fetch;
mod follow;
mod held;
mod knowledge;
mod pace;
mod row;
mod schema;
mod session;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use connection::PoolError;
pub use create::{Created, NewPerson};
use futures_util::future::{Either, select};
use prometheus::Histogram;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use crate::memory::{Memory, Record, Search, Step};
use batch::Batcher;
use connection::Connections;
use create::{Creates, Storing};
use fetch::Fetches;
use follow::Follower;
use held::Held;
use knowledge::Knowledge;
use row::{columns, record};

/// Reads the whole table. Most people are sorted out by all of their texts at once, which takes a fraction of the time;
/// characters of one byte need nothing more than to be lowered.
const SEARCH: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM users, LATERAL ( \
        SELECT concat_ws(E'\\n', nickname, fullname, array_to_string(stack, E'\\n')) AS texts OFFSET 0) AS joined \
    WHERE CASE WHEN strpos( \
            CASE WHEN octet_length(texts) = char_length(texts) THEN lower(texts COLLATE \"C\") ELSE fold(texts) END, \
            (SELECT fold($1))) > 0 \
        THEN strpos(fold(nickname), fold($1)) > 0 OR strpos(fold(fullname), fold($1)) > 0 \
            OR EXISTS (SELECT FROM unnest(stack) AS element WHERE strpos(fold(element), fold($1)) > 0) \
        END LIMIT 50"
);

const COUNT: &str = "SELECT count(*) FROM users";

/// Settings of a session that finds people by their ids.
const BY_INDEX: &str = "-c enable_seqscan=off";

/// Settings of a session that reads the table.
const WHOLE_TABLE: &str = "";

/// Connections for nicknames that another client holds.
const PATIENT: u16 = 4;

/// A look at the table that takes longer has much to read; what can be told without it, is.
const LOOK: Duration = Duration::from_millis(50);

/// How long everybody waits for a memory that is read or catches up, before the whole table is read for one request.
const CATCH_UP: Duration = Duration::from_millis(250);

/// On so many instances nginx tries a search that finds everyone still being read (`proxy_next_upstream_tries`).
const TRIES: u32 = 3;

/// Everything stored.
pub struct Store {
    creates: Batcher<NewPerson, Created>,
    fetches: Batcher<Uuid, Option<Record>>,
    quick: Connections,
    slow: Connections,
    counts: Connections,
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
        let quick = Connections::new(config, config.readers, BY_INDEX)?;
        let sibling = |size, settings| quick.sibling(config, size, settings);
        tokio::spawn(quick.clone().apply_schema());
        let batch = usize::from(config.batch);
        let queue = config.queue as usize;
        let knowledge = Arc::new(Knowledge::new((config.memory as usize) << 20));
        let storing = |size, settings| {
            let connections = sibling(size, settings)?;
            Ok(Storing { connections, knowledge: knowledge.clone() })
        };
        let creates = Creates {
            groups: storing(config.writers, create::GROUP_SETTINGS)?,
            singles: storing(config.writers, create::SINGLE_SETTINGS)?,
            held: Held::new(storing(PATIENT, held::SETTINGS)?, queue),
            sizes: groups,
        };
        let slow = sibling(config.readers, WHOLE_TABLE)?;
        Ok(Self {
            creates: Batcher::start(creates, config.writers, batch, queue),
            fetches: Batcher::start(Fetches(quick.clone()), config.readers, batch, queue),
            follower: Follower::start(sibling(1, follow::SETTINGS)?, slow.clone(), knowledge.clone()),
            knowledge,
            counts: sibling(1, WHOLE_TABLE)?,
            quick,
            slow,
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
    /// [`Error::Unavailable`], [`Error::Overloaded`] or [`Error::Internal`].
    pub async fn fetch(&self, id: Uuid) -> Result<Option<Record>, Error> {
        let remembered = || self.knowledge.look_if_fresh(|memory| memory.get(id));
        let known = remembered();
        if let Some(Some(person)) = known {
            return Ok(Some(person));
        }
        self.in_time(async {
            if known.is_some()
                && timeout(LOOK, self.follower.catch_up()).await.is_ok()
                && let Some(known) = remembered()
            {
                return Ok(known);
            }
            self.fetches.submit(id).await
        })
        .await
    }

    /// At most 50 people with the term in their nickname, fullname or one element of their stack, without regard to
    /// case.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Internal`], and [`Error::NotYet`] after a third of the patience where everyone is
    /// still being read: another instance may know them, and has the rest.
    pub async fn search(&self, term: &str) -> Result<Vec<Record>, Error> {
        // No text that PostgreSQL stores has it, and it takes none that does.
        if term.contains('\0') {
            return Ok(Vec::new());
        }
        let mut found = pin!(self.find(term));
        match timeout(self.patience / TRIES, found.as_mut()).await {
            Ok(found) => found,
            Err(_) if self.knowledge.is_reading() => Err(Error::NotYet),
            Err(_) => timeout(self.patience / TRIES * (TRIES - 1), found).await.unwrap_or(Err(Error::Unavailable)),
        }
    }

    async fn find(&self, term: &str) -> Result<Vec<Record>, Error> {
        if self.knowledge.gave_up() {
            return self.search_table(term).await;
        }
        let known = pin!(self.search_memory(term));
        let read = pin!(async {
            sleep(CATCH_UP).await;
            self.search_table(term).await
        });
        match select(known, read).await {
            Either::Left((Some(found), _)) => Ok(found),
            Either::Left((None, read)) => read.await,
            Either::Right((Ok(found), _)) => Ok(found),
            Either::Right((Err(error), known)) => known.await.ok_or(error),
        }
    }

    /// `None` where people are too many to remember.
    async fn search_memory(&self, term: &str) -> Option<Vec<Record>> {
        loop {
            self.follower.catch_up().await;
            if self.knowledge.gave_up() {
                return None;
            }
            let edition = self.knowledge.edition();
            let mut search = Search::new(term);
            while let Some(step) = self.knowledge.advance(edition, &mut search) {
                match step {
                    Step::Done => return Some(search.found()),
                    Step::More => yield_now().await,
                }
            }
        }
    }

    async fn search_table(&self, term: &str) -> Result<Vec<Record>, Error> {
        let rows = self.slow.query(SEARCH, &[&term]).await?;
        rows.iter().map(|row| record(row, 0)).collect()
    }

    /// How many people there are.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Internal`].
    pub async fn count(&self) -> Result<i64, Error> {
        self.in_time(async {
            let remembered = || self.knowledge.look_if_fresh(Memory::len);
            if remembered().is_some()
                && timeout(CATCH_UP, self.follower.catch_up()).await.is_ok()
                && let Some(people) = remembered()
            {
                return i64::try_from(people).map_err(|_| Error::Internal);
            }
            let rows = self.counts.query(COUNT, &[]).await?;
            rows.first().and_then(|row| row.try_get(0).ok()).ok_or(Error::Internal)
        })
        .await
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
        match timeout(PATIENCE, self.quick.query("SELECT 1", &[])).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::Unavailable),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.patience, work).await.unwrap_or(Err(Error::Unavailable))
    }
}
