//! The shelf that people are added to.

use uuid::Uuid;

use super::date;
use super::dictionary::Dictionary;
use super::fold::fold_into;
use super::shelf::{Codes, Facts, Living, MOST_CODED, SHELF, Shelf, Stack};
use super::sieve::{BLOCK, Sieve};
use super::text::Texts;
use crate::json::Stored;

/// A shelf with as many bytes of texts is full, however few people they are of: it is read in one go.
const MOST_TEXT: usize = 4 << 20;

/// As many as codes can name.
const MOST_WORDS: usize = 256;

/// In bytes; what is longer is hardly in more than one stack.
const LONGEST_WORD: usize = 128;

/// A shelf, and what it needs to grow.
#[derive(Default)]
pub(super) struct Growing {
    ids: Vec<Uuid>,
    facts: Vec<u32>,
    ends: Vec<u32>,
    codes_from: Vec<u32>,
    words: Dictionary,
    dates: Dictionary,
    texts: Texts,
    codes: Vec<u8>,
    living: Living,
    sieve: Sieve,
    /// Codes whose words the sieve knows of the last block.
    entered: Codes,
    folded: Vec<u8>,
}

impl Growing {
    /// Adds a person, and returns their position.
    pub(super) fn add(&mut self, person: &Stored<'_>) -> usize {
        let position = self.ids.len();
        let block = position / BLOCK;
        if position.is_multiple_of(BLOCK) {
            self.codes_from.push(small(self.codes.len()));
            self.entered.clear();
        }
        self.ids.push(person.id);
        self.add_text(block, Some(person.nickname));
        self.add_text(block, Some(person.fullname));
        let stack = self.add_stack(block, person.stack.as_deref());
        self.texts.finish();
        self.ends.push(small(self.texts.as_bytes().len()));
        let date = self.add_date(person.dob);
        self.facts.push(Facts::new(date, stack).0);
        self.living.insert(position);
        position
    }

    /// Takes away somebody who is there.
    pub(super) fn remove(&mut self, position: usize) {
        self.living.remove(position);
    }

    pub(super) fn is_full(&self) -> bool {
        self.ids.len() == SHELF || self.texts.as_bytes().len() >= MOST_TEXT
    }

    pub(super) fn shelf(&self) -> Shelf<'_> {
        Shelf {
            ids: &self.ids,
            facts: &self.facts,
            ends: &self.ends,
            codes_from: &self.codes_from,
            pairs: self.sieve.pairs(),
            words: self.words.entries(),
            dates: self.dates.entries(),
            texts: self.texts.as_bytes(),
            codes: &self.codes,
            living: &self.living,
        }
    }

    pub(super) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    pub(super) fn sieve(&self) -> &Sieve {
        &self.sieve
    }

    /// Makes an empty shelf of it, with all the room that it has.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.facts.clear();
        self.ends.clear();
        self.codes_from.clear();
        self.words.clear();
        self.dates.clear();
        self.texts.clear();
        self.codes.clear();
        self.living = Living::default();
        self.sieve.clear();
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.facts.capacity() + self.ends.capacity() + self.codes_from.capacity();
        Sieve::BYTES
            + self.ids.capacity() * size_of::<Uuid>()
            + numbers * size_of::<u32>()
            + self.words.capacity()
            + self.dates.capacity()
            + self.texts.capacity()
            + self.codes.capacity()
            + self.folded.capacity()
    }

    fn add_text(&mut self, block: usize, text: Option<&str>) {
        let folded = self.texts.push(text);
        self.sieve.enter(block, folded);
    }

    fn add_stack(&mut self, block: usize, stack: Option<&[Option<&str>]>) -> Stack {
        let Some(stack) = stack else { return Stack::Null };
        if self.add_codes(block, stack) {
            return Stack::Coded(stack.len());
        }
        stack.iter().for_each(|element| self.add_text(block, *element));
        Stack::Spelled
    }

    /// Adds a stack in codes, if each of its elements has one.
    fn add_codes(&mut self, block: usize, stack: &[Option<&str>]) -> bool {
        if stack.len() > MOST_CODED {
            return false;
        }
        let before = self.codes.len();
        for element in stack {
            let Some(code) = self.code(*element) else {
                self.codes.truncate(before);
                return false;
            };
            self.codes.push(code);
        }
        for (code, element) in self.codes[before..].iter().zip(stack) {
            if self.entered.insert(*code) {
                self.folded.clear();
                fold_into(&mut self.folded, element.unwrap_or_default());
                self.sieve.enter(block, &self.folded);
            }
        }
        true
    }

    fn code(&mut self, element: Option<&str>) -> Option<u8> {
        let fits = element.is_none_or(|element| element.len() <= LONGEST_WORD);
        let place = fits.then(|| self.words.place(element, MOST_WORDS)).flatten()?;
        u8::try_from(place).ok()
    }

    fn add_date(&mut self, date: &str) -> u32 {
        // There is room for one that nobody else on the shelf has.
        date::pack(date).unwrap_or_else(|| date::PLAIN + self.dates.place(Some(date), SHELF).unwrap_or_default())
    }
}

/// What a full shelf has is far below 2^32 bytes, and one person's texts are: PostgreSQL has no larger ones.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
