//! Following the table: learning of everyone whom others stored, changed or took away.
//!
//! Each row says which transaction wrote it, each departure which transaction it happened in, and each look at the table
//! returns its snapshot: which transactions it saw (see "Transaction ID and Snapshot Information Functions" in
//! PostgreSQL's manual). The next look asks for what those have written that it did not see and that have ended since.
//! Everything is seen exactly once, in whatever order transactions commit, and one that stays open costs nothing.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Moment};

use bytes::{Buf, BufMut, BytesMut};
use futures_util::TryStreamExt;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Client, Error as DatabaseError, Row, RowStream, Statement};
use uuid::Uuid;

use crate::memory::Memory;

use super::connection::{Connections, PAUSE, describe, is_of_schema, passes};
use super::knowledge::Knowledge;
use super::row::{columns, with_person};

/// What a look returns first: its snapshot, and which table it looked at (the same name may be another one's by now).
macro_rules! snapshot {
    () => {
        "SELECT pg_current_snapshot() AS snapshot, 'users'::regclass::oid AS relation, NULL::uuid AS id, \
        NULL::varchar AS nickname, NULL::varchar AS fullname, NULL::date AS dob, NULL::text[] AS stack"
    };
}

/// Departures before people: who is gone by one transaction may be there again by a later one.
const NEWS: &str = concat!(
    snapshot!(),
    " UNION ALL SELECT NULL, NULL, id, NULL, NULL, NULL, NULL FROM departed WHERE written >= $1 \
    UNION ALL SELECT NULL, NULL, ",
    columns!(),
    " FROM users WHERE written >= $1"
);

/// The same where the last look left transactions out that were under way: those of them that have ended.
const NEWS_AND_ENDED: &str = concat!(
    "WITH ended AS MATERIALIZED ( \
        SELECT number FROM unnest($2::xid8[]) AS number WHERE pg_visible_in_snapshot(number, pg_current_snapshot())) ",
    snapshot!(),
    " UNION ALL SELECT NULL, NULL, id, NULL, NULL, NULL, NULL FROM departed WHERE written >= $1 \
    UNION ALL SELECT NULL, NULL, late.id, NULL, NULL, NULL, NULL FROM ended, \
        LATERAL (SELECT id FROM departed WHERE written = number OFFSET 0) AS late \
    UNION ALL SELECT NULL, NULL, ",
    columns!(),
    " FROM users WHERE written >= $1 \
    UNION ALL SELECT NULL, NULL, late.* FROM ended, \
        LATERAL (SELECT ",
    columns!(),
    " FROM users WHERE written = number OFFSET 0) AS late"
);

const EVERYONE: &str = concat!(snapshot!(), " UNION ALL SELECT NULL, NULL, ", columns!(), " FROM users");

/// Settings of a session that looks. By index: the planner cannot know how few rows a snapshot leaves, and would rather
/// read the table. To read everyone takes as long as it takes; whoever waits for it has a patience of their own.
pub(super) const SETTINGS: &str = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c statement_timeout=0";

/// Where a row of these has what.
const SNAPSHOT: usize = 0;
const RELATION: usize = 1;
const PERSON: usize = 2;
const NICKNAME: usize = 3;

/// Between two looks at most.
const PULSE: Duration = Duration::from_millis(250);

/// Rows that are read without a pause for anybody else: less than a millisecond's.
const PIECE: usize = 128;

/// Departures older than this are taken out of the table (`forget_old_departures` in `sql/schema.sql`). An instance that
/// has not looked for half as long starts anew.
const OLD: Duration = Duration::from_secs(3_600);

const FORGET_OLD_DEPARTURES: &str = "SELECT forget_old_departures()";

/// Between two times that old departures are taken away, or that people who were too many are counted.
const ROUND: Duration = Duration::from_secs(300);

/// The size of the table that people have who may be too many, in bytes.
const SIZE: &str = "SELECT pg_relation_size('users')";

const COUNT: &str = "SELECT count(*) FROM users";

/// Asks the one that follows.
pub(super) struct Follower {
    shared: Arc<Shared>,
    ended: watch::Receiver<u64>,
}

struct Shared {
    /// Looks that have begun; the number of the last one.
    begun: AtomicU64,
    /// Somebody asks for a look.
    asked: Notify,
}

impl Follower {
    /// Starts to follow; must be called within a Tokio runtime.
    pub(super) fn start(connections: Connections, slow: Connections, knowledge: Arc<Knowledge>) -> Self {
        let shared = Arc::new(Shared { begun: AtomicU64::new(0), asked: Notify::new() });
        let (sender, ended) = watch::channel(0);
        tokio::spawn(Following { connections, slow, knowledge, shared: shared.clone(), ended: sender }.run());
        Self { shared, ended }
    }

    /// Looks at the table. When this returns, the memory holds all that was committed before, or people are too many.
    /// Whoever asks while a look is under way, or everyone is read anew, waits for the next one, together with all others
    /// who do; while the database is away that is for as long as it takes.
    pub(super) async fn catch_up(&self) {
        let next = self.shared.begun.load(Ordering::Acquire) + 1;
        self.shared.asked.notify_one();
        // Fails only without a sender, that is, at the runtime's end.
        let _ = self.ended.clone().wait_for(|ended| *ended >= next).await;
    }
}

struct Following {
    connections: Connections,
    slow: Connections,
    knowledge: Arc<Knowledge>,
    shared: Arc<Shared>,
    /// The number of the last look that ended well.
    ended: watch::Sender<u64>,
}

/// Why a table is not followed any more.
enum End {
    TooMany(usize),
    /// There is another table of that name.
    Replaced,
    /// Departures may have been taken away that this instance has not seen.
    LongAgo,
    /// The host has said nothing for too long, and there are others.
    Silent,
    /// The host was left for another.
    Left,
    Failed(DatabaseError),
}

impl From<DatabaseError> for End {
    fn from(error: DatabaseError) -> Self {
        Self::Failed(error)
    }
}

impl Following {
    async fn run(self) {
        let mut said = String::new();
        loop {
            self.connections.schema_applied().await;
            let Err(end) = self.follow().await;
            if !matches!(end, End::TooMany(_)) {
                self.knowledge.forget();
            }
            match end {
                End::TooMany(people) => self.wait_for_fewer(people).await,
                End::Replaced => self.connections.restore_schema().await,
                End::LongAgo | End::Left => {}
                End::Silent => self.connections.leave(),
                End::Failed(error) => self.mend(&error, &mut said).await,
            }
        }
    }

    async fn mend(&self, error: &DatabaseError, said: &mut String) {
        let text = describe(error);
        match error.code() {
            Some(code) if is_of_schema(code) || *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                self.connections.restore_schema().await;
            }
            // A database that is away or starts is nothing to tell: whoever asks it directly does. Anything else is told
            // once: it comes again with each try.
            Some(code) if !passes(code) && *said != text => {
                eprintln!("peleja: following the table: {text}");
                *said = text;
            }
            _ => {}
        }
        sleep(PAUSE).await;
    }

    /// Follows on one connection for as long as that goes well.
    async fn follow(&self) -> Result<Infallible, End> {
        let connected = Moment::now();
        let (client, driver) = self.connections.connect().await?;
        self.knowledge.begin_to_read();
        let table = self.hear(Table::open(client, driver)).await?;
        let mut began = Instant::now();
        let mut seen = self.learn_everyone(&table).await?;
        let mut round = Instant::now();
        loop {
            let _ = timeout(PULSE, self.shared.asked.notified()).await;
            if self.connections.is_left(connected) {
                return Err(End::Left);
            }
            if began.elapsed() > OLD / 2 {
                return Err(End::LongAgo);
            }
            began = Instant::now();
            let relation = seen.relation;
            seen = self.look(&table, &seen).await?;
            if seen.relation != relation {
                return Err(End::Replaced);
            }
            if round.elapsed() > ROUND {
                round = Instant::now();
                let slow = self.slow.clone();
                // Whatever keeps it from happening will not do so the next time.
                tokio::spawn(async move { slow.query(FORGET_OLD_DEPARTURES, &[]).await });
            }
        }
    }

    /// What the host answers. One that says nothing for longer than a request may take is as good as gone where there are
    /// others; where there are none, it is waited for.
    async fn hear<T>(&self, answer: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, End> {
        match self.connections.silence() {
            Some(silence) => Ok(timeout(silence, answer).await.map_err(|_| End::Silent)??),
            None => Ok(answer.await?),
        }
    }

    /// Reads everyone, unless they are too many.
    async fn learn_everyone(&self, table: &Table) -> Result<Seen, End> {
        let (began, number) = self.begin();
        let mut memory = Memory::default();
        let mut rows = pin!(self.hear(table.client.query_raw(&table.everyone, NO_PARAMETERS)).await?);
        let seen = Seen::of(self.hear(rows.try_next()).await?)?;
        let mut count = 0;
        while let Some(row) = self.hear(rows.try_next()).await? {
            with_person(&row, PERSON, |person| memory.add(person))?;
            count += 1;
            if count % PIECE == 0 {
                // Given up in time: what is too large must not grow any further.
                if !self.knowledge.has_room(&memory) {
                    break;
                }
                yield_now().await;
            }
        }
        let people = memory.len();
        self.knowledge.learn(began, memory);
        self.end(number, seen, people)
    }

    /// Learns what is new since then.
    async fn look(&self, table: &Table, seen: &Seen) -> Result<Seen, End> {
        let (began, number) = self.begin();
        let people = self.knowledge.look(Memory::len).unwrap_or_default();
        let mut rows = pin!(self.hear(table.news(seen)).await?);
        let seen = Seen::of(self.hear(rows.try_next()).await?)?;
        let mut count = 0;
        while let Some(row) = self.hear(rows.try_next()).await? {
            self.learn(&row)?;
            count += 1;
            if count % PIECE == 0 {
                if self.knowledge.gave_up() {
                    break;
                }
                yield_now().await;
            }
        }
        self.knowledge.looked(began);
        self.end(number, seen, people + count)
    }

    fn begin(&self) -> (Instant, u64) {
        (Instant::now(), self.shared.begun.fetch_add(1, Ordering::AcqRel) + 1)
    }

    fn end(&self, number: u64, seen: Seen, people: usize) -> Result<Seen, End> {
        self.ended.send_replace(number);
        if self.knowledge.gave_up() { Err(End::TooMany(people)) } else { Ok(seen) }
    }

    fn learn(&self, row: &Row) -> Result<(), DatabaseError> {
        let nickname: Option<&str> = row.try_get(NICKNAME)?;
        match nickname {
            Some(_) => with_person(row, PERSON, |person| self.knowledge.put(person)),
            None => row.try_get(PERSON).map(|id: Option<Uuid>| self.knowledge.remove(id)),
        }
    }

    /// Until people may be few enough to be remembered again: the table has shrunk, or so has their number, or it is gone.
    async fn wait_for_fewer(&self, people: usize) {
        let Some(size) = figure(&self.connections, SIZE).await else { return };
        let mut round = Instant::now();
        loop {
            // Whoever asked for a look in between goes to the database.
            let (_, number) = self.begin();
            self.ended.send_replace(number);
            sleep(PULSE).await;
            match figure(&self.connections, SIZE).await {
                Some(now) if !is_much_smaller(now, size) => {}
                _ => return,
            }
            if round.elapsed() > ROUND {
                round = Instant::now();
                let then = i64::try_from(people).unwrap_or(i64::MAX);
                if figure(&self.slow, COUNT).await.is_some_and(|now| is_much_smaller(now, then)) {
                    return;
                }
            }
        }
    }
}

/// By a tenth.
fn is_much_smaller(now: i64, then: i64) -> bool {
    now < then / 10 * 9
}

async fn figure(connections: &Connections, sql: &str) -> Option<i64> {
    connections.query(sql, &[]).await.ok()?.first()?.try_get(0).ok()
}

const NO_PARAMETERS: [&(dyn ToSql + Sync); 0] = [];

/// A connection that looks at the table.
struct Table {
    client: Client,
    driver: JoinHandle<()>,
    news: Statement,
    news_and_ended: Statement,
    everyone: Statement,
}

impl Table {
    async fn open(client: Client, driver: JoinHandle<()>) -> Result<Self, DatabaseError> {
        let news = client.prepare(NEWS).await?;
        let news_and_ended = client.prepare(NEWS_AND_ENDED).await?;
        let everyone = client.prepare(EVERYONE).await?;
        Ok(Self { client, driver, news, news_and_ended, everyone })
    }

    async fn news(&self, seen: &Seen) -> Result<RowStream, DatabaseError> {
        let Snapshot { next, under_way } = &seen.snapshot;
        if under_way.is_empty() {
            return self.client.query_raw(&self.news, [next as &(dyn ToSql + Sync)]).await;
        }
        self.client.query_raw(&self.news_and_ended, [next as &(dyn ToSql + Sync), under_way]).await
    }
}

impl Drop for Table {
    /// Rows that are still to come are not read.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What a look saw.
struct Seen {
    snapshot: Snapshot,
    /// The table's object identifier.
    relation: u32,
}

impl Seen {
    fn of(first: Option<Row>) -> Result<Self, DatabaseError> {
        // Without any row, nothing was seen: the next look asks for everything.
        let Some(row) = first else { return Ok(Self { snapshot: Snapshot::default(), relation: 0 }) };
        Ok(Self { snapshot: row.try_get(SNAPSHOT)?, relation: row.try_get(RELATION)? })
    }
}

/// PostgreSQL's `pg_snapshot`: all transactions had ended whose numbers are below the next one to be given out, but for
/// those under way.
#[derive(Debug, Default, PartialEq)]
struct Snapshot {
    next: Transaction,
    under_way: Vec<Transaction>,
}

/// A transaction's number, PostgreSQL's `xid8`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Transaction(u64);

impl<'a> FromSql<'a> for Snapshot {
    /// What `pg_snapshot_send` makes: how many are under way, the first of those, the next to come, and each under way.
    fn from_sql(_: &Type, mut raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let count = raw.try_get_u32()?;
        let _first_under_way = raw.try_get_u64()?;
        let next = Transaction(raw.try_get_u64()?);
        let under_way = (0..count).map(|_| raw.try_get_u64().map(Transaction)).collect::<Result<_, _>>()?;
        Ok(Self { next, under_way })
    }

    accepts!(PG_SNAPSHOT);
}

impl ToSql for Transaction {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_u64(self.0);
        Ok(IsNull::No)
    }

    accepts!(XID8);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_as_postgresql_sends_it() {
        let sent = [
            &2_u32.to_be_bytes()[..],
            &7_u64.to_be_bytes(),
            &12_u64.to_be_bytes(),
            &7_u64.to_be_bytes(),
            &9_u64.to_be_bytes(),
        ];
        let snapshot = Snapshot::from_sql(&Type::PG_SNAPSHOT, &sent.concat()).unwrap();
        assert_eq!(snapshot, Snapshot { next: Transaction(12), under_way: vec![Transaction(7), Transaction(9)] });
        assert!(Snapshot::from_sql(&Type::PG_SNAPSHOT, &sent[..4].concat()).is_err());
    }
}
