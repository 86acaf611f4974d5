//! People as one instance remembers them: by id, and by any part of their texts. No input or output happens here.

mod fold;
mod sieve;

use std::collections::HashMap;

use memchr::memmem::Finder;
use uuid::Uuid;

use crate::json::{self, Stored};
use crate::vocabulary::Vocabulary;
use fold::fold_into;
use sieve::{BLOCK, Sieve};

/// The most people that a search finds.
pub const MOST_FOUND: usize = 50;

/// Stands between two folded fields. No UTF-8 text has this byte, so that no term can match across it.
const SEPARATOR: u8 = 0xff;

/// What a person takes besides their texts: the entry, its place in the table of ids, its bits in the sieve, what tables
/// keep free to grow, and what the allocator rounds up. Measured with 600,000 people, as what the process has in memory.
const OVERHEAD: usize = 300;

/// Everyone an instance knows of.
#[derive(Default)]
pub struct Memory {
    people: Vec<Record>,
    by_id: HashMap<Uuid, u32>,
    sieve: Sieve,
    bytes: usize,
}

impl Memory {
    /// Adds a person, unless there is one with this id.
    pub fn add(&mut self, person: Record) {
        let number = self.people.len();
        // 2^32 people would need more memory than an instance may be given.
        let Ok(small) = u32::try_from(number) else { return };
        if *self.by_id.entry(person.id).or_insert(small) != small {
            return;
        }
        self.sieve.add(number, person.folded());
        self.bytes += person.texts.len() + OVERHEAD;
        self.people.push(person);
    }

    /// The person with that id.
    pub fn get(&self, id: Uuid) -> Option<&Record> {
        self.people.get(*self.by_id.get(&id)? as usize)
    }

    /// At most [`MOST_FOUND`] people with the term in their nickname, fullname or one element of their stack, without
    /// regard to case.
    pub fn search(&self, term: &str) -> Vec<&Record> {
        let mut folded = Vec::with_capacity(term.len());
        fold_into(&mut folded, term);
        let finder = Finder::new(&folded);
        self.sieve
            .blocks(&folded)
            .flat_map(|block| self.people.iter().skip(block * BLOCK).take(BLOCK))
            .filter(|person| finder.find(person.folded()).is_some())
            .take(MOST_FOUND)
            .collect()
    }

    /// About how many bytes all of it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many people there are.
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }
}

/// One person: the values as JSON, ready to be written in either vocabulary, and behind them the folded texts.
#[derive(Clone, Debug)]
pub struct Record {
    id: Uuid,
    texts: Box<[u8]>,
    /// Where each value ends in `texts`, in the order of [`crate::person::Field::ALL`].
    ends: [u32; 4],
}

impl Record {
    /// Everything of a person that an answer or a search looks at.
    pub fn new(person: &Stored<'_>) -> Self {
        let mut texts = Vec::with_capacity(512);
        let ends = json::write_values(&mut texts, person).map(|end| u32::try_from(end).unwrap_or(u32::MAX));
        fold_into(&mut texts, person.nickname);
        texts.push(SEPARATOR);
        fold_into(&mut texts, person.fullname);
        for element in person.stack.iter().flatten().flatten() {
            texts.push(SEPARATOR);
            fold_into(&mut texts, element);
        }
        Self { id: person.id, texts: texts.into(), ends }
    }

    /// The same in either vocabulary.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Appends the person as compact JSON.
    pub fn write(&self, out: &mut Vec<u8>, vocabulary: &Vocabulary) {
        let [nickname, fullname, dob, stack] = self.ends.map(|end| end as usize);
        let texts = &self.texts;
        let values = [&texts[..nickname], &texts[nickname..fullname], &texts[fullname..dob], &texts[dob..stack]];
        json::write_object(out, self.id, values, vocabulary);
    }

    fn folded(&self) -> &[u8] {
        &self.texts[self.ends[3] as usize..]
    }
}
