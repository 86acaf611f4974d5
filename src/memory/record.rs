//! A person on the way to an answer.

use uuid::Uuid;

use crate::json::{self, Stored};
use crate::vocabulary::Vocabulary;

/// One person: the values as JSON, ready to be written in either vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    id: Uuid,
    values: Vec<u8>,
    /// Where each value ends, in the order of [`crate::person::Field::ALL`].
    ends: [usize; 4],
}

impl Record {
    /// Everything of a person that an answer shows.
    pub fn new(person: &Stored<'_>) -> Self {
        let mut values = Vec::with_capacity(256);
        let ends = json::write_values(&mut values, person);
        Self { id: person.id, values, ends }
    }

    /// The same in either vocabulary.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Appends the person as compact JSON.
    pub fn write(&self, out: &mut Vec<u8>, vocabulary: &Vocabulary) {
        let [nickname, fullname, dob, stack] = self.ends;
        let all = &self.values;
        let values = [&all[..nickname], &all[nickname..fullname], &all[fullname..dob], &all[dob..stack]];
        json::write_object(out, self.id, values, vocabulary);
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}
