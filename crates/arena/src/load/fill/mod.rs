//! The first people of a seed, stored straight into a database.

mod progress;

use std::collections::HashSet;
use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context;
use postgres::Client;
use postgres::error::SqlState;
use uuid::Uuid;

use self::progress::Progress;
use super::payloads::random::Random;
use super::payloads::{self, Person};
use crate::exit;

/// More than a stack of this kind will ever hold; what is remembered of so many nicknames takes 0.6 GB.
pub const MOST: u64 = 100_000_000;

/// The seed whose people fill a table unless told otherwise. It is not [`payloads::SEED`]: whoever loads a stack that holds
/// the people of a bout's own rows sees each of them refused.
pub const SEED: u64 = 1;

/// Seconds that one batch takes are few, and an interruption waits for its end.
const BATCH: usize = 50_000;

/// How often a batch is tried again because somebody else stored one of its people meanwhile.
const CLASHES: u32 = 3;

/// Nicknames that are asked for at once.
const QUESTION: usize = 50_000;

/// People start at the seed, their ids at the seed XOR this.
const IDS_STREAM: u64 = 0x0069_6473;

/// What it took until the first people of a seed were there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// People who were stored.
    pub stored: u64,
    /// People whose nickname somebody had already: they themselves, or others.
    pub there: u64,
}

impl Filled {
    /// People who were dealt with.
    pub fn people(&self) -> u64 {
        self.stored + self.there
    }
}

/// Stores the first `count` people of `seed` whose nicknames nobody has, touches nobody who is there, and leaves the table
/// as one that has been there for long. Says on standard error how it goes.
///
/// # Errors
///
/// The database refuses, or the user wants an end. What was stored until then stays.
pub fn fill(client: &mut Client, seed: u64, count: u64) -> anyhow::Result<Filled> {
    let filled = store(client, seed, count)?;
    if filled.stored > 0 {
        // A count reads the index alone from then on, and neither vacuum nor a checkpoint comes in the midst of a load.
        client.batch_execute("VACUUM (ANALYZE) users").context("vacuum")?;
        client.batch_execute("CHECKPOINT").context("checkpoint")?;
    }
    Ok(filled)
}

fn store(client: &mut Client, seed: u64, count: u64) -> anyhow::Result<Filled> {
    let mut table = Table { is_empty: !holds_anybody(client)?, client };
    let mut filled = Filled::default();
    let mut progress = Progress::new(count)?;
    std::thread::scope(|scope| {
        // The next batch is made while the database, held to its share of a processor, stores the one before.
        let (sender, batches) = sync_channel(1);
        scope.spawn(move || make_batches(seed, count, &sender));
        for batch in batches {
            exit::fail_if_interrupted()?;
            let stored = table.add(&batch).context("storing people")?;
            filled.stored += stored;
            filled.there += batch.len() as u64 - stored;
            progress.show(filled.people());
        }
        Ok(filled)
    })
}

/// Sends the first `count` people of `seed`, until nobody wants them any more.
fn make_batches(seed: u64, count: u64, sender: &SyncSender<Vec<Row>>) {
    let mut people = rows(seed).take(usize::try_from(count).unwrap_or(usize::MAX));
    loop {
        let mut batch: Vec<Row> = people.by_ref().take(BATCH).collect();
        // Neighbours in an index are stored one after the other, which spares the database a sixth. In the order of their
        // nicknames they would be neighbours in the table too, as nobody is whom a server stored.
        batch.sort_unstable_by_key(|row| row.id);
        if batch.is_empty() || sender.send(batch).is_err() {
            return;
        }
    }
}

/// Which of `nicknames` somebody has.
///
/// # Errors
///
/// The database does not answer.
pub fn taken<'a>(
    client: &mut Client,
    nicknames: impl IntoIterator<Item = &'a str>,
) -> Result<HashSet<String>, postgres::Error> {
    let nicknames: Vec<&str> = nicknames.into_iter().collect();
    let mut transaction = client.transaction()?;
    // Each is looked up in the index, however many the planner takes there to be.
    transaction.batch_execute("SET LOCAL enable_seqscan = off")?;
    let mut taken = HashSet::new();
    for some in nicknames.chunks(QUESTION) {
        for row in transaction.query("SELECT nickname FROM users WHERE nickname = ANY($1)", &[&some])? {
            taken.insert(row.try_get(0)?);
        }
    }
    Ok(taken)
}

/// A person as a row of the table.
struct Row {
    id: Uuid,
    nickname: String,
    /// In the text format of `COPY`.
    line: String,
}

impl Row {
    fn new((person, id): (Person, Uuid)) -> Self {
        let Person { nickname, fullname, dob, stack, .. } = person;
        let dob = dob.trim_matches('"');
        let stack = match stack.strip_prefix('[').and_then(|names| names.strip_suffix(']')) {
            Some(names) => format!("{{{names}}}"),
            None => r"\N".to_owned(),
        };
        let line = format!("{id}\t{nickname}\t{fullname}\t{dob}\t{stack}\n");
        Self { id, nickname, line }
    }
}

/// The people of a seed without end, each with the id that it always has.
fn rows(seed: u64) -> impl Iterator<Item = Row> {
    let mut random = Random::new(seed ^ IDS_STREAM);
    let ids = std::iter::repeat_with(move || id(&mut random));
    payloads::stored(payloads::people(seed)).zip(ids).map(Row::new)
}

fn id(random: &mut Random) -> Uuid {
    let bits = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

fn holds_anybody(client: &mut Client) -> anyhow::Result<bool> {
    let row = client.query_one("SELECT EXISTS (SELECT FROM users)", &[]).context("looking who is there")?;
    Ok(row.try_get(0)?)
}

struct Table<'a> {
    client: &'a mut Client,
    /// Whether nobody was there at first, as far as is known.
    is_empty: bool,
}

impl Table<'_> {
    /// Stores those of the batch whose nicknames nobody has, and says how many.
    fn add(&mut self, batch: &[Row]) -> anyhow::Result<u64> {
        for _ in 0..CLASHES {
            match self.try_to_add(batch) {
                Err(error) if is_clash(&error) => self.is_empty = false,
                added => return added,
            }
        }
        self.try_to_add(batch)
    }

    fn try_to_add(&mut self, batch: &[Row]) -> anyhow::Result<u64> {
        if self.is_empty {
            return copy(self.client, batch.iter());
        }
        let taken = taken(self.client, batch.iter().map(|row| row.nickname.as_str()))?;
        copy(self.client, batch.iter().filter(|row| !taken.contains(&row.nickname)))
    }
}

fn copy<'a>(client: &mut Client, rows: impl Iterator<Item = &'a Row>) -> anyhow::Result<u64> {
    let mut table = client.copy_in("COPY users (id, nickname, fullname, dob, stack) FROM STDIN")?;
    for row in rows {
        table.write_all(row.line.as_bytes())?;
    }
    Ok(table.finish()?)
}

/// Whether somebody came between the question who is there and the answer to it.
fn is_clash(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<postgres::Error>().and_then(postgres::Error::code);
    code == Some(&SqlState::UNIQUE_VIOLATION)
}
