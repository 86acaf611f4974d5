//! The two vocabularies of the people API: paths, search parameter and JSON keys.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// In which words the people API is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Vocabulary {
    /// English: `/users`, `nickname`.
    #[default]
    Users,
    /// The event's own: `/pessoas`, `apelido`.
    Pessoas,
}

impl Vocabulary {
    /// The name by which flags and documents know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Pessoas => "pessoas",
        }
    }

    /// The path that creates and searches; a person is at this path, a slash and the id.
    pub fn people_path(self) -> &'static str {
        match self {
            Self::Users => "/users",
            Self::Pessoas => "/pessoas",
        }
    }

    /// The path that counts people.
    pub fn count_path(self) -> &'static str {
        match self {
            Self::Users => "/users-count",
            Self::Pessoas => "/contagem-pessoas",
        }
    }

    /// The query parameter that holds the search term.
    pub fn search_parameter(self) -> &'static str {
        match self {
            Self::Users => "q",
            Self::Pessoas => "t",
        }
    }

    /// The keys of a person in the order nickname, fullname, dob, stack.
    pub fn person_keys(self) -> [&'static str; 4] {
        match self {
            Self::Users => ["nickname", "fullname", "dob", "stack"],
            Self::Pessoas => ["apelido", "nome", "nascimento", "stack"],
        }
    }
}
