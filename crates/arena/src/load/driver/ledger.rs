//! What became of each create, as far as whoever sent it can know.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::rules::is_overload;

/// What became of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody knows: it was not answered, or by a server that had too much to do.
    Unknown,
    /// It was answered with 201, and the person has this id, where the answer told one.
    Acknowledged(Option<Id>),
    /// It was refused.
    Refused,
}

/// The fingerprint of an id, which is all that can be kept of a million of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u64);

impl Id {
    /// That of an id.
    pub fn new(id: &str) -> Self {
        Self::of_bytes(id.as_bytes())
    }

    /// That of the id that a person's path ends with.
    fn in_path(path: &[u8]) -> Option<Self> {
        path.rsplit(|byte| *byte == b'/').find(|segment| !segment.is_empty()).map(Self::of_bytes)
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The fates of all creates, by their number.
#[derive(Debug, Default)]
pub struct Ledger {
    fates: Vec<Fate>,
}

impl Ledger {
    /// Opens the next create and gives it its number, counted from 0.
    pub fn open(&mut self) -> u64 {
        self.fates.push(Fate::Unknown);
        self.fates.len() as u64 - 1
    }

    /// Keeps what a create was answered; `path` is where its person is.
    pub fn settle(&mut self, number: u64, status: u16, path: Option<&[u8]>) {
        let fate = match status {
            201 => Fate::Acknowledged(path.and_then(Id::in_path)),
            status if is_overload(status) => Fate::Unknown,
            _ => Fate::Refused,
        };
        if let Some(create) = usize::try_from(number).ok().and_then(|number| self.fates.get_mut(number)) {
            *create = fate;
        }
    }

    /// Creates that took a row.
    pub fn creates(&self) -> u64 {
        self.fates.len() as u64
    }

    /// The fates in the order of their numbers.
    pub fn fates(&self) -> impl Iterator<Item = Fate> + '_ {
        self.fates.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_is_unknown_until_it_is_answered_and_known_to_all_who_ask_for_its_id() {
        let mut ledger = Ledger::default();
        for _ in 0..5 {
            ledger.open();
        }
        ledger.settle(0, 201, Some(b"/users/a-1"));
        ledger.settle(1, 201, Some(b"/users/a-1/"));
        ledger.settle(2, 422, None);
        ledger.settle(3, 503, None);
        let fates: Vec<Fate> = ledger.fates().collect();
        let known = Fate::Acknowledged(Some(Id::new("a-1")));
        assert_eq!(fates, [known, known, Fate::Refused, Fate::Unknown, Fate::Unknown]);
    }
}
