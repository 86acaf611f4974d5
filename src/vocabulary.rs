//! The two vocabularies in which the one API speaks: English, and the event's own Portuguese.

use crate::person::Field;

/// The words of one vocabulary. A request is answered in the vocabulary of its path.
#[derive(Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Path of the collection, without a slash at either end.
    pub collection: &'static str,
    /// Path of the count, without a slash at either end.
    pub count: &'static str,
    /// Name of the search's query parameter.
    pub term: &'static str,
    /// JSON keys in the order of [`Field::ALL`].
    keys: [&'static str; 4],
}

/// `/users`, `nickname`, ...
pub const ENGLISH: Vocabulary =
    Vocabulary { collection: "users", count: "users-count", term: "q", keys: ["nickname", "fullname", "dob", "stack"] };

/// `/pessoas`, `apelido`, ...: what the event's own load test speaks.
pub const EVENT: Vocabulary = Vocabulary {
    collection: "pessoas",
    count: "contagem-pessoas",
    term: "t",
    keys: ["apelido", "nome", "nascimento", "stack"],
};

/// Every vocabulary.
pub const ALL: [&Vocabulary; 2] = [&ENGLISH, &EVENT];

impl Vocabulary {
    /// The JSON key of a field.
    pub fn key(&self, field: Field) -> &'static str {
        self.keys[field as usize]
    }

    /// The field that a JSON key names, if any.
    pub fn field(&self, key: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| self.key(*field) == key)
    }
}
