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
    /// The form's, or made when the opinion is accepted; storing the same one twice leaves one row.
    pub id: Uuid,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Who says it.
    pub name: String,
    /// What is said.
    pub text: String,
    /// Whose run it belongs to; empty where nobody is named.
    #[serde(default)]
    pub run: String,
}

impl Opinion {
    /// Whether somebody says the same in both.
    pub fn says_the_same(&self, name: &str, text: &str) -> bool {
        (self.name.as_str(), self.text.as_str()) == (name, text)
    }
}

/// What somebody typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Draft {
    pub opinion: String,
    pub name: String,
    /// What the form was given when it was made, so that sending it twice stores it once.
    pub id: String,
}

/// When an opinion is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    AtOnce,
    Queued,
}

impl Way {
    /// Its name in the keys of runs.
    pub const fn side(self) -> &'static str {
        match self {
            Self::AtOnce => "at-once",
            Self::Queued => "queued",
        }
    }
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
    pub fn accept(self, run: &str) -> Result<Opinion, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let id = if self.id.is_empty() { Ok(Uuid::now_v7()) } else { Uuid::parse_str(&self.id) };
        let id = id.map_err(|_| Refusal { field: "id", error: "must be a UUID" })?;
        let name = if self.name.is_empty() { "Anonymous".into() } else { self.name };
        Ok(Opinion { id, created_at: Timestamp::now(), name, text: self.opinion, run: run.to_owned() })
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
        if self.name.contains('\0') {
            return Some(Refusal { field: "name", error: unstorable });
        }
        if length(&self.opinion) > LONGEST_OPINION {
            return Some(Refusal { field: "opinion", error: "must have at most 10,000 characters" });
        }
        (length(&self.name) > LONGEST_NAME)
            .then_some(Refusal { field: "name", error: "must have at most 200 characters" })
    }
}

/// Length as browsers count it, in UTF-16 code units; a line break is one, though it is sent as two characters.
fn length(text: &str) -> usize {
    text.encode_utf16().count() - text.matches("\r\n").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(opinion: &str, name: &str) -> Draft {
        Draft { opinion: opinion.into(), name: name.into(), id: String::new() }
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
            (&"🙂".repeat(5_000), "", None),
            (&"x\r\n".repeat(5_000), "", None),
            (&"x".repeat(10_001), "", Some("opinion")),
            ("a", &"x".repeat(201), Some("name")),
        ] {
            assert_eq!(
                draft(opinion, name).accept("").err().map(|refusal| refusal.field),
                refused,
                "{opinion:?} {name:?}"
            );
        }
    }

    #[test]
    fn keeps_the_form_s_id() {
        let id = Uuid::now_v7().to_string();
        let with = |id: &str| Draft { id: id.into(), ..draft("x", "") }.accept("");
        assert_eq!(with(&id).expect("valid").id.to_string(), id);
        assert_eq!(with("12").expect_err("no UUID").field, "id");
    }

    #[test]
    fn nobody_is_called_anonymous() {
        assert_eq!(draft("x", "").accept("").expect("valid").name, "Anonymous");
        assert_eq!(draft("x", "Ana").accept("").expect("valid").name, "Ana");
    }
}
