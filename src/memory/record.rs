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
        let texts = [person.nickname, person.fullname, person.dob].map(str::as_bytes);
        let stack = person.stack.as_ref().map(|stack| stack.iter().map(|element| element.map(str::as_bytes)));
        Self::from_texts(person.id, texts, |out| json::write_stack(out, stack))
    }

    /// The same out of nickname, fullname and date of birth, which are UTF-8, and one that appends the stack as JSON.
    pub(super) fn from_texts(id: Uuid, texts: [&[u8]; 3], write_stack: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut values = Vec::with_capacity(ROOM);
        let ends = json::write_values(&mut values, texts, write_stack);
        Self { id, values, ends }
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
}

/// Enough for nearly everyone's values.
const ROOM: usize = 384;
