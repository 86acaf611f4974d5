//! What a form asks for, and the rules for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the form says to an empty opinion.
pub(super) const EMPTY: &str = "Your opinion must have at least one character!";

/// Longest opinion that the form lets one type, in UTF-16 code units, as browsers count.
pub(super) const LONGEST_OPINION: usize = 10_000;

/// The same for the name.
pub(super) const LONGEST_NAME: usize = 200;

/// An opinion that was accepted. From here on it must be stored exactly once.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Opinion {
    /// Made when the opinion is accepted; storing the same one twice leaves one row.
    pub id: Uuid,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Who says it.
    pub name: String,
    /// What is said.
    pub text: String,
}

/// What somebody typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Draft {
    pub opinion: String,
    pub name: String,
}

/// When an opinion is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    AtOnce,
    Queued,
}

/// Why a draft was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Refusal {
    /// The field that breaks a rule; empty where it is not the draft that is wrong.
    pub field: &'static str,
    pub error: &'static str,
}

impl Draft {
    /// Accepts the draft.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks a rule.
    pub fn accept(self) -> Result<Opinion, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let name = if self.name.is_empty() { "Anonymous".into() } else { self.name };
        Ok(Opinion { id: Uuid::now_v7(), created_at: Timestamp::now(), name, text: self.opinion })
    }

    /// What is wrong, if anything is.
    pub fn refusal(&self) -> Option<Refusal> {
        let unstorable = "must not contain the character U+0000";
        if self.opinion.is_empty() {
            return Some(Refusal { field: "opinion", error: EMPTY });
        }
        if self.opinion.contains('\0') {
            return Some(Refusal { field: "opinion", error: unstorable });
        }
        self.name.contains('\0').then_some(Refusal { field: "name", error: unstorable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(opinion: &str, name: &str) -> Draft {
        Draft { opinion: opinion.into(), name: name.into() }
    }

    #[test]
    fn accepts_or_names_the_field() {
        for (opinion, name, refused) in [
            ("x", "", None),
            (" ", "Ana", None),
            ("🙂", "🙂", None),
            ("", "Ana", Some("opinion")),
            ("a\0b", "", Some("opinion")),
            ("a", "\0", Some("name")),
        ] {
            assert_eq!(
                draft(opinion, name).accept().err().map(|refusal| refusal.field),
                refused,
                "{opinion:?} {name:?}"
            );
        }
    }

    #[test]
    fn nobody_is_called_anonymous() {
        assert_eq!(draft("x", "").accept().expect("valid").name, "Anonymous");
        assert_eq!(draft("x", "Ana").accept().expect("valid").name, "Ana");
    }
}
