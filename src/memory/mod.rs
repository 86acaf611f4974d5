//! People as one instance remembers them: by id, and by any part of their texts. No input or output happens here.

mod fold;
mod record;
mod search;

use std::collections::HashMap;

use uuid::Uuid;

use crate::json::Stored;
use fold::fold_into;
pub use record::Record;
pub use search::{MOST_FOUND, Search, Step};

/// Stands between two folded fields. No UTF-8 text has this byte, so that no term can match across it.
const SEPARATOR: u8 = 0xff;

/// What a person takes besides their texts: the entry, its place in the table of ids, its bits in the sieve, what tables
/// keep free to grow, and what the allocator rounds up. Measured with 600,000 people, as what the process has in memory.
const OVERHEAD: usize = 300;

/// Everyone an instance knows of.
#[derive(Default)]
pub struct Memory {
    people: Vec<Option<Entry>>,
    by_id: HashMap<Uuid, u32>,
    bytes: usize,
}

struct Entry {
    record: Record,
    folded: Box<[u8]>,
}

impl Memory {
    /// Adds a person, unless there is one with this id.
    pub fn add(&mut self, person: &Stored<'_>) {
        let number = self.people.len();
        // 2^32 people would need more memory than an instance may be given.
        let Ok(small) = u32::try_from(number) else { return };
        if *self.by_id.entry(person.id).or_insert(small) != small {
            return;
        }
        let entry = Entry { record: Record::new(person), folded: folded(person) };
        self.bytes += entry.bytes();
        self.people.push(Some(entry));
    }

    /// Adds a person, or replaces the one with this id if anything differs; whether anything changed.
    pub fn put(&mut self, person: &Stored<'_>) -> bool {
        if self.get(person.id).is_some_and(|known| known == Record::new(person)) {
            return false;
        }
        self.remove(person.id);
        self.add(person);
        true
    }

    /// Removes the person with that id; whether there was one.
    pub fn remove(&mut self, id: Uuid) -> bool {
        let number = self.by_id.remove(&id);
        let entry = number.and_then(|number| self.people.get_mut(number as usize)).and_then(Option::take);
        self.bytes -= entry.as_ref().map_or(0, Entry::bytes);
        entry.is_some()
    }

    /// Whether there is a person with that id.
    pub fn contains(&self, id: Uuid) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The person with that id.
    pub fn get(&self, id: Uuid) -> Option<Record> {
        let number = *self.by_id.get(&id)?;
        self.people.get(number as usize)?.as_ref().map(|entry| entry.record.clone())
    }

    /// All of a search at once; see [`Search`].
    pub fn search(&self, term: &str) -> Vec<Record> {
        let mut search = Search::new(term);
        while self.advance(&mut search) == Step::More {}
        search.found()
    }

    /// Does a bounded piece of a search. People may come, change and go between two pieces: who is there from the first to
    /// the last is found if the term is in their texts all the while, and nobody is found twice.
    pub fn advance(&self, search: &mut Search) -> Step {
        let people = self.people.iter().skip(search.next).take(search::PIECE);
        for entry in people.flatten() {
            if search.is_full() {
                return Step::Done;
            }
            if search.term.is_in(&entry.folded) {
                search.take(&entry.record);
            }
        }
        search.next += search::PIECE;
        if search.next < self.people.len() { Step::More } else { Step::Done }
    }

    /// How many bytes all of it takes from the system.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many people there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        self.record.len() + self.folded.len() + OVERHEAD
    }
}

fn folded(person: &Stored<'_>) -> Box<[u8]> {
    let mut texts = Vec::with_capacity(256);
    fold_into(&mut texts, person.nickname);
    texts.push(SEPARATOR);
    fold_into(&mut texts, person.fullname);
    for element in person.stack.iter().flatten().flatten() {
        texts.push(SEPARATOR);
        fold_into(&mut texts, element);
    }
    texts.into()
}
