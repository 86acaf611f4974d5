//! Creates, grouped into one statement and one commit.

use std::collections::HashSet;
use std::sync::Arc;

use prometheus::Histogram;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::Error;
use crate::json::Stored;
use crate::person::Person;

use super::batch::Work;
use super::connection::Connections;
use super::knowledge::Knowledge;

/// The values as they are: a group of one needs no list, and is most of them until the load is high.
const INSERT_ONE: &str = "INSERT INTO users (id, nickname, fullname, dob, stack) \
    VALUES ($1, $2, $3, $4::text::date, $5::text::text[]) ON CONFLICT DO NOTHING RETURNING id";

const INSERT: &str = "INSERT INTO users (id, nickname, fullname, dob, stack) \
    SELECT id, nickname, fullname, dob::date, stack::text[] \
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) AS new (id, nickname, fullname, dob, stack) \
    ON CONFLICT DO NOTHING RETURNING id";

const WHICH_ARE_THERE: &str = "SELECT id FROM users WHERE id = ANY($1)";

/// What became of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Committed.
    Stored,
    /// Somebody else has the nickname.
    NicknameTaken,
}

/// A person on the way into the database.
#[derive(Debug)]
pub struct NewPerson {
    id: Uuid,
    nickname: String,
    fullname: String,
    dob: String,
    /// PostgreSQL's text form of an array: arrays of arrays of different lengths cannot be sent.
    stack: Option<String>,
    /// The same, to be remembered once stored.
    elements: Option<Vec<String>>,
}

impl NewPerson {
    /// A person under a new id. To store the same person under the same id again changes nothing.
    pub fn new(id: Uuid, person: &Person<'_>) -> Self {
        let owned = |stack: &[&str]| stack.iter().map(|element| (*element).to_owned()).collect();
        Self {
            id,
            nickname: person.nickname.to_owned(),
            fullname: person.fullname.to_owned(),
            dob: person.dob.to_owned(),
            stack: person.stack.as_deref().map(array_literal),
            elements: person.stack.as_deref().map(owned),
        }
    }

    fn stored(&self) -> Stored<'_> {
        Stored {
            id: self.id,
            nickname: &self.nickname,
            fullname: &self.fullname,
            dob: &self.dob,
            stack: self.elements.as_ref().map(|stack| stack.iter().map(|element| Some(element.as_str())).collect()),
        }
    }
}

/// See "Array Input and Output Syntax" in PostgreSQL's manual.
fn array_literal(elements: &[&str]) -> String {
    let mut literal = String::with_capacity(2 + elements.iter().map(|element| element.len() + 3).sum::<usize>());
    literal.push('{');
    for (index, element) in elements.iter().enumerate() {
        literal.push_str(if index == 0 { "\"" } else { ",\"" });
        for character in element.chars() {
            if matches!(character, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(character);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

pub(super) struct Creates {
    pub(super) connections: Connections,
    pub(super) knowledge: Arc<Knowledge>,
    /// Is told how many people each group has.
    pub(super) groups: Histogram,
}

impl Work for Creates {
    type Item = NewPerson;
    type Answer = Created;

    async fn run(&self, people: Vec<NewPerson>) -> Vec<Result<Created, Error>> {
        self.groups.observe(people.len() as f64);
        let era = self.knowledge.era();
        let mut sorted: Vec<&NewPerson> = people.iter().collect();
        // Two instances that insert the same nicknames in different orders would wait for each other.
        sorted.sort_unstable_by(|a, b| a.nickname.cmp(&b.nickname));
        let answers: Vec<_> = match self.store(&sorted).await {
            Ok(stored) => people.iter().map(|person| Ok(outcome(&stored, person))).collect(),
            Err(Error::Internal) if people.len() > 1 => self.store_each(&people).await,
            Err(error) => people.iter().map(|_| Err(error.clone())).collect(),
        };
        let stored = people.iter().zip(&answers).filter(|(_, answer)| **answer == Ok(Created::Stored));
        self.knowledge.add(era, stored.map(|(person, _)| person.stored()));
        answers
    }
}

impl Creates {
    /// The database refused the group: somebody in it must not take the others down.
    async fn store_each(&self, people: &[NewPerson]) -> Vec<Result<Created, Error>> {
        let mut answers = Vec::with_capacity(people.len());
        for person in people {
            let stored = self.store(&[person]).await;
            answers.push(stored.map(|stored| outcome(&stored, person)));
        }
        answers
    }

    /// Stores all that can be stored, and returns the ids of those who are there afterwards.
    ///
    /// Whoever was not inserted either lost the nickname to somebody, or is there already: after a connection that was
    /// lost in mid-commit, or an instance that died and left its request to this one. A second look, which sees all
    /// that was committed since, tells which.
    async fn store(&self, people: &[&NewPerson]) -> Result<HashSet<Uuid>, Error> {
        let mut stored = id_set(&self.insert(people).await?);
        if stored.len() < people.len() {
            let rest = people.iter().map(|person| person.id).filter(|id| !stored.contains(id)).collect::<Vec<_>>();
            stored.extend(id_set(&self.connections.query(WHICH_ARE_THERE, &[&rest]).await?));
        }
        Ok(stored)
    }

    async fn insert(&self, people: &[&NewPerson]) -> Result<Vec<Row>, Error> {
        if let [NewPerson { id, nickname, fullname, dob, stack, .. }] = people {
            return self.connections.query(INSERT_ONE, &[id, nickname, fullname, dob, stack]).await;
        }
        let ids: Vec<Uuid> = people.iter().map(|person| person.id).collect();
        let nicknames: Vec<&str> = people.iter().map(|person| person.nickname.as_str()).collect();
        let fullnames: Vec<&str> = people.iter().map(|person| person.fullname.as_str()).collect();
        let dobs: Vec<&str> = people.iter().map(|person| person.dob.as_str()).collect();
        let stacks: Vec<Option<&str>> = people.iter().map(|person| person.stack.as_deref()).collect();
        self.connections.query(INSERT, &[&ids, &nicknames, &fullnames, &dobs, &stacks]).await
    }
}

fn outcome(stored: &HashSet<Uuid>, person: &NewPerson) -> Created {
    if stored.contains(&person.id) { Created::Stored } else { Created::NicknameTaken }
}

fn id_set(rows: &[Row]) -> HashSet<Uuid> {
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_quote_everything() {
        assert_eq!(array_literal(&["a", "", "NULL", r#"q"\{},"#]), r#"{"a","","NULL","q\"\\{},"}"#);
    }
}
