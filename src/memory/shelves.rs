//! Everyone, on shelves: one that grows, and those that are sealed.
//!
//! A person's number is that of the shelf's place times [`SHELF`], plus the position on it.

use uuid::Uuid;

use super::growing::Growing;
use super::sealed::Sealed;
use super::shelf::{SHELF, Shelf};
use super::sieve::{RACK, Rack};
use crate::json::Stored;

#[derive(Default)]
pub(super) struct Shelves {
    /// By place; empty places are taken again.
    sealed: Vec<Option<Sealed>>,
    /// Those of the sealed shelves, [`RACK`] in each.
    racks: Vec<Option<Rack>>,
    growing: Growing,
    /// Where the growing one will stand.
    place: usize,
    /// How often a shelf was sealed.
    age: u64,
    /// What the sealed ones and the racks take.
    bytes: usize,
}

/// A shelf that was taken away for having more dead than living; these want a new place.
pub(super) struct Left {
    sealed: Sealed,
    place: usize,
}

impl Left {
    /// Those of the living.
    pub(super) fn ids(&self) -> impl Iterator<Item = Uuid> {
        let shelf = self.sealed.shelf();
        shelf.living.positions().map(move |position| shelf.ids[position])
    }

    /// The id of whoever had the number, if it was on this shelf.
    pub(super) fn id(&self, number: u32) -> Option<Uuid> {
        let (place, position) = place(number);
        if place == self.place { self.sealed.ids().get(position).copied() } else { None }
    }

    /// Lends each of the living.
    pub(super) fn lend_each(&self, mut take: impl FnMut(&Stored<'_>)) {
        let shelf = self.sealed.shelf();
        shelf.living.positions().for_each(|position| shelf.lend(position, &mut take));
    }
}

impl Shelves {
    /// Makes sure that somebody can be added.
    #[must_use]
    pub(super) fn make_room(&mut self) -> Option<Left> {
        if !self.growing.is_full() {
            return None;
        }
        self.age += 1;
        let sealed = Sealed::new(self.growing.shelf(), self.age);
        let left = if sealed.is_mostly_dead() {
            Some(Left { sealed, place: self.place })
        } else {
            self.put(sealed);
            None
        };
        self.growing.clear();
        left
    }

    /// Adds a person where there is room, and returns the number.
    pub(super) fn add(&mut self, person: &Stored<'_>) -> u32 {
        number(self.place, self.growing.add(person))
    }

    /// Takes away somebody who is there; afterwards perhaps a whole shelf.
    #[must_use]
    pub(super) fn remove(&mut self, number: u32) -> Option<Left> {
        let (place, position) = place(number);
        if place == self.place {
            self.growing.remove(position);
            return None;
        }
        let slot = self.sealed.get_mut(place)?;
        let sealed = slot.as_mut()?;
        sealed.remove(position);
        if !sealed.is_mostly_dead() {
            return None;
        }
        self.bytes -= sealed.bytes();
        let sealed = slot.take()?;
        self.drop_rack_if_empty(place / RACK);
        Some(Left { sealed, place })
    }

    /// The shelf of a person, and their position.
    pub(super) fn find(&self, number: u32) -> Option<(Shelf<'_>, usize)> {
        let (place, position) = place(number);
        let shelf = if place == self.place { self.growing.shelf() } else { self.sealed(place)?.shelf() };
        Some((shelf, position))
    }

    /// The id of a person.
    pub(super) fn id(&self, number: u32) -> Option<Uuid> {
        let (place, position) = place(number);
        let ids = if place == self.place { self.growing.ids() } else { self.sealed(place)?.ids() };
        ids.get(position).copied()
    }

    pub(super) fn growing(&self) -> &Growing {
        &self.growing
    }

    pub(super) fn sealed(&self, place: usize) -> Option<&Sealed> {
        self.sealed.get(place)?.as_ref()
    }

    /// The rack with the shelf of that place.
    pub(super) fn rack(&self, place: usize) -> Option<&Rack> {
        self.racks.get(place / RACK)?.as_ref()
    }

    /// One more than the highest place of a sealed shelf.
    pub(super) fn places(&self) -> usize {
        self.sealed.len()
    }

    /// That of the shelf that was sealed last.
    pub(super) fn age(&self) -> u64 {
        self.age
    }

    /// What all of it takes.
    pub(super) fn bytes(&self) -> usize {
        let lists =
            self.sealed.capacity() * size_of::<Option<Sealed>>() + self.racks.capacity() * size_of::<Option<Rack>>();
        self.bytes + lists + self.growing.bytes()
    }

    fn put(&mut self, sealed: Sealed) {
        let (place, rack) = (self.place, self.place / RACK);
        if self.sealed.len() <= place {
            self.sealed.resize_with(place + 1, || None);
            self.racks.resize_with(rack + 1, || None);
        }
        if self.racks[rack].is_none() {
            self.bytes += Rack::BYTES;
        }
        self.racks[rack].get_or_insert_with(Rack::new).put(place % RACK, self.growing.sieve());
        self.bytes += sealed.bytes();
        self.sealed[place] = Some(sealed);
        self.place = self.sealed.iter().position(Option::is_none).unwrap_or(self.sealed.len());
    }

    fn drop_rack_if_empty(&mut self, rack: usize) {
        let mut shelves = self.sealed.iter().skip(rack * RACK).take(RACK);
        if shelves.all(Option::is_none) && self.racks[rack].take().is_some() {
            self.bytes -= Rack::BYTES;
        }
    }
}

/// 2^32 people would take more memory than there is.
fn number(place: usize, position: usize) -> u32 {
    (place * SHELF + position) as u32
}

fn place(number: u32) -> (usize, usize) {
    let number = number as usize;
    (number / SHELF, number % SHELF)
}
