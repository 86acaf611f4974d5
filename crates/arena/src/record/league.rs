//! The document of a league: which entries fought, how often, and what came of each bout.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::record::keep::keep;

/// The version of this document's shape. Raised when a reader of the old shape would misread the new one.
pub const SCHEMA: u32 = 1;

/// A league, whether it is over or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct League {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Unique and sortable by time.
    pub id: String,
    /// What was asked for, by which an interrupted league is found again.
    pub asked: String,
    /// Entries, in the order in which they were given.
    pub entries: Vec<String>,
    /// How often each fights.
    pub rounds: u32,
    /// The bouts so far.
    pub bouts: Vec<Bout>,
    /// The entries from first to last, once all bouts are over.
    pub ranking: Vec<String>,
}

/// One entry's bout in one round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bout {
    /// The entry's name.
    pub entry: String,
    /// The round, from 1.
    pub round: u32,
    /// The run's id, where there was a bout to judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl League {
    /// Whether an entry's bout in a round is over.
    pub fn has(&self, entry: &str, round: u32) -> bool {
        self.bouts.iter().any(|bout| bout.entry == entry && bout.round == round)
    }

    /// Writes the document into a folder, and says where. A reader sees the old one or the new one.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        keep(self, folder, &self.id)
    }

    /// The latest league in a folder that was asked for in the same words and is not over.
    pub fn unfinished(folder: &Path, asked: &str) -> Option<Self> {
        let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let leagues = files.filter_map(|path| serde_json::from_str::<Self>(&fs::read_to_string(path).ok()?).ok());
        let open =
            leagues.filter(|league| league.schema == SCHEMA && league.asked == asked && league.ranking.is_empty());
        open.max_by(|a, b| a.id.cmp(&b.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_league_is_found_again_and_one_that_is_over_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let league = |id: &str, ranking: &[&str]| League {
            schema: SCHEMA,
            id: id.into(),
            asked: "a b".into(),
            entries: vec!["a".into(), "b".into()],
            rounds: 1,
            bouts: vec![Bout { entry: "a".into(), round: 1, run: Some("1".into()), reason: None }],
            ranking: ranking.iter().map(|name| (*name).to_owned()).collect(),
        };
        for league in [league("1", &[]), league("2", &[]), league("3", &["a", "b"])] {
            league.save(folder.path()).unwrap();
        }
        assert_eq!(League::unfinished(folder.path(), "a b"), Some(league("2", &[])));
        assert_eq!(League::unfinished(folder.path(), "a"), None);
        assert!(league("2", &[]).has("a", 1) && !league("2", &[]).has("b", 1) && !league("2", &[]).has("a", 2));
    }
}
