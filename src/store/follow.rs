//! Following the table: learning of everyone whom others stored.
//!
//! Each row says which transaction wrote it, and each look at the table remembers its snapshot, that is, which
//! transactions it saw (see "Transaction ID and Snapshot Information Functions" in PostgreSQL's manual). The next look
//! asks for the rows of all others: every row is seen exactly once, in whatever order transactions commit. What this
//! cannot tell, that a row was changed or deleted, a trigger says over LISTEN, and everything is read anew.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Sleep, sleep};
use tokio_postgres::{AsyncMessage, Client, Error as DatabaseError, Row, Statement};
use uuid::Uuid;

use crate::error::Error;
use crate::memory::Memory;

use super::connection::{AnyConnection, Connections, PAUSE, describe, passes};
use super::knowledge::Knowledge;
use super::row::{columns, record};

/// One row at least, and the snapshot in each.
const LOOK: &str = concat!(
    "SELECT snapshot::text, ",
    columns!(),
    " FROM pg_current_snapshot() AS snapshot LEFT JOIN users \
    ON written >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(written, $1::text::pg_snapshot)"
);

/// The snapshot of somebody who saw nothing at all.
const NOTHING_SEEN: &str = "1:1:";

/// To read everyone takes as long as it takes; whoever waits for it has a patience of their own.
const LISTEN: &str = "SET statement_timeout = 0; LISTEN users_changed";

/// Between two readings of everyone at least: who changes one person often changes the next.
const SETTLE: Duration = Duration::from_millis(100);

/// People who were too many to remember will be so for a while, and to read them all again costs seconds.
const TOO_MANY: Duration = Duration::from_secs(10);

/// Replies to requests that wait for one look.
type Waiting = oneshot::Sender<()>;

/// Asks the one that follows.
pub(super) struct Follower {
    requests: mpsc::Sender<Waiting>,
}

impl Follower {
    /// Starts to follow; must be called within a Tokio runtime. At most `queue` may wait for a look.
    pub(super) fn start(connections: Connections, knowledge: Arc<Knowledge>, queue: usize) -> Self {
        let (requests, receiver) = mpsc::channel(queue);
        tokio::spawn(Following { connections, knowledge, requests: receiver, waiting: Vec::new() }.run());
        Self { requests }
    }

    /// Looks at the table. When this returns, the memory holds all that was committed before, or people are too many.
    /// Whoever asks while a look is under way, or everyone is read anew, waits for the next one, together with all others
    /// who do; while the database is away that is for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`] where too many wait.
    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(reply).map_err(|_| Error::Overloaded)?;
        answer.await.map_err(|_| Error::Unavailable)
    }
}

struct Following {
    connections: Connections,
    knowledge: Arc<Knowledge>,
    requests: mpsc::Receiver<Waiting>,
    waiting: Vec<Waiting>,
}

impl Following {
    async fn run(mut self) {
        while let Err(error) = self.follow().await {
            self.knowledge.forget();
            // A database that is away or starts is nothing to tell: whoever asks it directly does.
            if error.code().is_some_and(|code| !passes(code)) {
                eprintln!("peleja: following the table: {}", describe(&error));
            }
            sleep(PAUSE).await;
        }
    }

    /// Follows on one connection until it is lost, or nobody is left to ask.
    async fn follow(&mut self) -> Result<(), DatabaseError> {
        self.connections.schema_applied().await;
        let table = Table::open(&self.connections, &self.knowledge).await?;
        loop {
            let era = self.knowledge.era();
            let snapshot = self.learn_everyone(&table, era).await?;
            let settle = sleep(if self.knowledge.gave_up() { TOO_MANY } else { SETTLE });
            if self.answer_until_changed(&table, era, snapshot, settle).await?.is_break() {
                return Ok(());
            }
        }
    }

    async fn learn_everyone(&self, table: &Table, era: u64) -> Result<String, DatabaseError> {
        self.knowledge.make_room();
        let mut memory = Memory::default();
        let snapshot = table.look(NOTHING_SEEN, |_, row| {
            // What is too large already is given up in the end, and must not grow on the way there.
            if self.knowledge.has_room(&memory)
                && let Ok(person) = record(row, PERSON)
            {
                memory.add(person);
            }
        });
        let snapshot = snapshot.await?;
        self.knowledge.learn(era, memory);
        Ok(snapshot)
    }

    /// Ends when people were changed since the era, but not before they have settled. Whoever has waited since before that
    /// is answered first: changes without end must not keep everybody waiting.
    async fn answer_until_changed(
        &mut self,
        table: &Table,
        era: u64,
        mut snapshot: String,
        settle: Sleep,
    ) -> Result<ControlFlow<()>, DatabaseError> {
        while let Ok(reply) = self.requests.try_recv() {
            self.waiting.push(reply);
        }
        let settle = pin!(settle);
        loop {
            if !self.waiting.is_empty() {
                snapshot = self.answer_waiting(table, &snapshot).await?;
            }
            if self.knowledge.era() != era {
                settle.await;
                return Ok(ControlFlow::Continue(()));
            }
            tokio::select! {
                () = self.knowledge.changed.notified() => {}
                asked = self.requests.recv_many(&mut self.waiting, MOST_AT_ONCE) => if asked == 0 {
                    return Ok(ControlFlow::Break(()));
                },
            }
        }
    }

    async fn answer_waiting(&mut self, table: &Table, snapshot: &str) -> Result<String, DatabaseError> {
        let snapshot = match self.knowledge.gave_up() {
            true => snapshot.to_owned(),
            false => table.look(snapshot, |id, row| self.learn_one(id, row)).await?,
        };
        for reply in self.waiting.drain(..) {
            // Who has given up does not listen.
            let _ = reply.send(());
        }
        Ok(snapshot)
    }

    fn learn_one(&self, id: Uuid, row: &Row) {
        // Most are this instance's own.
        if self.knowledge.look(|memory| memory.get(id).is_some()) == Some(false)
            && let Ok(person) = record(row, PERSON)
        {
            self.knowledge.learn_one(person);
        }
    }
}

/// Replies that one look serves; more wait for the next.
const MOST_AT_ONCE: usize = 4096;

/// A connection that looks at the table, and hears of changes.
struct Table {
    client: Client,
    look: Statement,
}

/// Where a row of [`LOOK`] has its person.
const PERSON: usize = 1;

impl Table {
    async fn open(connections: &Connections, knowledge: &Arc<Knowledge>) -> Result<Self, DatabaseError> {
        let (client, connection) = connections.connect().await?;
        tokio::spawn(listen(connection, knowledge.clone()));
        client.batch_execute(LISTEN).await?;
        let look = client.prepare(LOOK).await?;
        Ok(Self { client, look })
    }

    /// Shows every person whom a snapshot did not see, with the id, and returns the snapshot that saw them.
    async fn look(&self, seen: &str, mut show: impl FnMut(Uuid, &Row)) -> Result<String, DatabaseError> {
        let mut rows = pin!(self.client.query_raw(&self.look, [seen]).await?);
        let mut snapshot = None;
        while let Some(row) = rows.try_next().await? {
            if let Some(id) = row.try_get(PERSON)? {
                show(id, &row);
            }
            if snapshot.is_none() {
                snapshot = Some(row.try_get(0)?);
            }
        }
        Ok(snapshot.unwrap_or_else(|| seen.to_owned()))
    }
}

/// Passes on what the table's trigger says: somebody was changed or deleted. Forgets everyone when the connection is lost:
/// what happens then goes unheard, and after a crash PostgreSQL gives out numbers of transactions again.
async fn listen(mut connection: AnyConnection, knowledge: Arc<Knowledge>) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(_) = message {
            knowledge.change();
        }
    }
    knowledge.forget();
}
