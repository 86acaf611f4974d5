//! Settings that can be switched while the lab runs. Those of several processes stand in the database, where each looks
//! once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio_postgres::{Client, Config};

use crate::connection::connect;

/// Time between two looks at the database.
const LOOK: Duration = Duration::from_secs(1);

/// Milliseconds that every query takes longer.
pub const QUERY_DELAY: Kind =
    Kind { name: "query_delay", label: "Every query takes longer by", unit: "ms", most: Some(60_000) };

/// Milliseconds of work that storing an opinion takes.
pub const WORK: Kind = Kind { name: "work", label: "Storing an opinion takes work of", unit: "ms", most: Some(60_000) };

/// A word that workers refuse.
pub const REFUSE: Kind = Kind { name: "refuse", label: "Workers refuse opinions with the word", unit: "", most: None };

/// Most uses of a resource at once.
pub const LIMIT: Kind = Kind { name: "limit", label: "At most so many uses at once", unit: "", most: Some(1_000_000) };

/// What can be switched.
#[derive(Debug)]
pub struct Kind {
    /// As in the environment, without `LAB_` and in small letters.
    pub name: &'static str,
    /// What it does.
    pub label: &'static str,
    /// How a number is meant.
    pub unit: &'static str,
    /// The highest number; none for a text. 0 and an empty text mean that it is off.
    most: Option<u32>,
}

/// A setting as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Which.
    pub name: &'static str,
    /// What it is; empty where it is off.
    pub value: String,
    /// What it was when the process began.
    pub started: String,
    #[serde(skip)]
    pub(crate) kind: &'static Kind,
}

/// The settings of one process.
#[derive(Debug)]
pub struct Switches {
    started: Vec<(&'static Kind, String)>,
    switched: Mutex<BTreeMap<String, String>>,
}

impl Switches {
    /// Settings as the process was told them at its start.
    pub fn new(started: impl IntoIterator<Item = (&'static Kind, String)>) -> Arc<Self> {
        let started = started.into_iter().map(|(kind, value)| (kind, kind.plain(&value).unwrap_or_default()));
        Arc::new(Self { started: started.collect(), switched: Mutex::default() })
    }

    /// Every setting.
    pub fn all(&self) -> Vec<Setting> {
        let setting = |(kind, started): &(&'static Kind, String)| Setting {
            name: kind.name,
            value: self.text(kind),
            started: started.clone(),
            kind,
        };
        self.started.iter().map(setting).collect()
    }

    /// What a setting is; empty where it is off.
    pub fn text(&self, kind: &Kind) -> String {
        let switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner);
        let started = || self.started.iter().find(|(known, _)| known.name == kind.name).map(|(_, value)| value.clone());
        switched.get(kind.name).cloned().or_else(started).unwrap_or_default()
    }

    /// The same as a number; 0 where it is off.
    pub fn number(&self, kind: &Kind) -> u32 {
        self.text(kind).parse().unwrap_or(0)
    }

    /// Reads what somebody wants a setting to be.
    ///
    /// # Errors
    ///
    /// Says why it cannot be that.
    pub fn read(&self, name: &str, value: &str) -> Result<(&'static Kind, String), String> {
        let kind = self.started.iter().map(|(kind, _)| *kind).find(|kind| kind.name == name);
        let kind = kind.ok_or_else(|| format!("there is no setting {name} here"))?;
        Ok((kind, kind.plain(value)?))
    }

    /// Switches a setting of this process alone.
    pub fn set(&self, kind: &Kind, value: String) {
        self.switched.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.name.to_owned(), value);
    }

    /// Makes all settings what they were at the start.
    pub fn forget(&self) {
        self.switched.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Switches a setting of every process that has it.
    ///
    /// # Errors
    ///
    /// When the database does not take it.
    pub async fn share(&self, client: &Client, kind: &Kind, value: String) -> anyhow::Result<()> {
        let insert = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2";
        client.execute(insert, &[&kind.name, &value]).await?;
        self.set(kind, value);
        Ok(())
    }

    /// Makes the settings of every process that has the same what they were at its start.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn forget_everywhere(&self, client: &Client) -> anyhow::Result<()> {
        let names: Vec<&str> = self.started.iter().map(|(kind, _)| kind.name).collect();
        client.execute("DELETE FROM settings WHERE name = ANY($1)", &[&names]).await?;
        self.forget();
        Ok(())
    }

    /// Follows what others switch, for good. While the database is away, everything stays as it was.
    pub async fn follow(self: Arc<Self>, config: Config) {
        loop {
            if let Ok(client) = connect(&config).await {
                while self.look(&client).await.is_ok() {
                    tokio::time::sleep(LOOK).await;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let rows = client.query("SELECT name, value FROM settings", &[]).await?;
        let found = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let found: BTreeMap<String, String> = found.collect::<Result<_, tokio_postgres::Error>>()?;
        *self.switched.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }
}

impl Kind {
    fn plain(&self, value: &str) -> Result<String, String> {
        let value = value.trim();
        let Some(most) = self.most else {
            return if value.len() <= 100 { Ok(value.to_owned()) } else { Err(format!("{}: too long", self.name)) };
        };
        if value.is_empty() || value == "0" {
            return Ok(String::new());
        }
        match value.parse::<u32>() {
            Ok(number) if number <= most => Ok(number.to_string()),
            _ => Err(format!("{}: must be a whole number up to {most}", self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_it_was_until_it_is_switched() {
        let switches = Switches::new([(&WORK, "20".to_owned()), (&REFUSE, String::new())]);
        assert_eq!((switches.number(&WORK), switches.text(&REFUSE)), (20, String::new()));
        let (kind, value) = switches.read("work", " 0 ").expect("valid");
        switches.set(kind, value);
        assert_eq!(switches.number(&WORK), 0);
        switches.forget();
        assert_eq!(switches.number(&WORK), 20);
    }

    #[test]
    fn refuses_what_it_cannot_be() {
        let switches = Switches::new([(&WORK, String::new())]);
        for (name, value, says) in
            [("work", "x", "whole number"), ("work", "60001", "60000"), ("limit", "5", "no setting")]
        {
            assert!(switches.read(name, value).is_err_and(|error| error.contains(says)), "{name} {value}");
        }
    }
}
