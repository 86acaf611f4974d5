//! People as one instance remembers them: by id, and by any part of their texts. No input or output happens here.

mod date;
mod dictionary;
mod fold;
mod growing;
mod ids;
mod pages;
mod record;
mod sealed;
mod search;
mod shelf;
mod shelves;
mod sieve;
mod text;

#[cfg(test)]
mod tests;

use uuid::Uuid;

use crate::json::Stored;
use ids::Ids;
pub use record::Record;
pub use search::{MOST_FOUND, Search, Step};
use shelves::{Left, Shelves};

/// Everyone an instance knows of.
#[derive(Default)]
pub struct Memory {
    ids: Ids,
    shelves: Shelves,
}

impl Memory {
    /// Adds a person, unless there is one with this id.
    pub fn add(&mut self, person: &Stored<'_>) {
        if self.contains(person.id) {
            return;
        }
        if let Some(left) = self.shelves.make_room() {
            self.move_in(&left);
        }
        let number = self.shelves.add(person);
        self.ids.insert(person.id, number, |number| self.shelves.id(number));
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
        let Some(number) = self.ids.remove(id, |number| self.shelves.id(number)) else { return false };
        if let Some(left) = self.shelves.remove(number) {
            self.move_in(&left);
        }
        true
    }

    /// Whether there is a person with that id.
    pub fn contains(&self, id: Uuid) -> bool {
        self.number(id).is_some()
    }

    /// The person with that id.
    pub fn get(&self, id: Uuid) -> Option<Record> {
        let (shelf, position) = self.shelves.find(self.number(id)?)?;
        Some(shelf.record(position))
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
        search.advance(&self.shelves)
    }

    /// How many bytes all of it takes from the system.
    pub fn bytes(&self) -> usize {
        self.ids.bytes() + self.shelves.bytes()
    }

    /// How many people there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn number(&self, id: Uuid) -> Option<u32> {
        self.ids.find(id, |number| self.shelves.id(number))
    }

    /// Gives those who live on a shelf that was taken away a place on the one that grows.
    fn move_in(&mut self, left: &Left) {
        for id in left.ids() {
            self.ids.remove(id, |number| left.id(number).or_else(|| self.shelves.id(number)));
        }
        left.lend_each(|person| self.add(person));
    }
}
