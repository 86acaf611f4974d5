//! Creates, grouped into one statement and one commit.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::Error;
use crate::person::Person;

use super::batch::Work;
use super::connection::Connections;

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
}

impl NewPerson {
    /// A person under a new id. To store the same person under the same id again changes nothing.
    pub fn new(id: Uuid, person: &Person<'_>) -> Self {
        Self {
            id,
            nickname: person.nickname.to_owned(),
            fullname: person.fullname.to_owned(),
            dob: person.dob.to_owned(),
            stack: person.stack.as_deref().map(array_literal),
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

pub(super) struct Creates(pub(super) Connections);

impl Work for Creates {
    type Item = NewPerson;
    type Answer = Created;

    async fn run(&self, people: &[NewPerson]) -> Vec<Result<Created, Error>> {
        let mut people: Vec<&NewPerson> = people.iter().collect();
        let order: Vec<Uuid> = people.iter().map(|person| person.id).collect();
        // Two instances that insert the same nicknames in different orders would wait for each other.
        people.sort_unstable_by(|a, b| a.nickname.cmp(&b.nickname));
        match self.store(&people).await {
            Ok(stored) => order.iter().map(|id| Ok(outcome(&stored, id))).collect(),
            Err(Error::Internal) if people.len() > 1 => self.store_each(people, &order).await,
            Err(error) => order.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

impl Creates {
    /// The database refused the group: somebody in it must not take the others down.
    async fn store_each(&self, people: Vec<&NewPerson>, order: &[Uuid]) -> Vec<Result<Created, Error>> {
        let mut answers = HashMap::new();
        for person in people {
            let stored = self.store(&[person]).await;
            answers.insert(person.id, stored.map(|stored| outcome(&stored, &person.id)));
        }
        order.iter().map(|id| answers.remove(id).unwrap_or(Err(Error::Internal))).collect()
    }

    /// Stores all that can be stored, and returns the ids of those who are there afterwards.
    ///
    /// Whoever was not inserted either lost the nickname to somebody, or is there already: after a connection that was
    /// lost in mid-commit, or an instance that died and left its request to this one. A second look, which sees all
    /// that was committed since, tells which.
    async fn store(&self, people: &[&NewPerson]) -> Result<HashSet<Uuid>, Error> {
        let ids: Vec<Uuid> = people.iter().map(|person| person.id).collect();
        let nicknames: Vec<&str> = people.iter().map(|person| person.nickname.as_str()).collect();
        let fullnames: Vec<&str> = people.iter().map(|person| person.fullname.as_str()).collect();
        let dobs: Vec<&str> = people.iter().map(|person| person.dob.as_str()).collect();
        let stacks: Vec<Option<&str>> = people.iter().map(|person| person.stack.as_deref()).collect();

        let inserted = self.0.query(INSERT, &[&ids, &nicknames, &fullnames, &dobs, &stacks]).await?;
        let mut stored = id_set(&inserted);
        if stored.len() < people.len() {
            let rest: Vec<Uuid> = ids.into_iter().filter(|id| !stored.contains(id)).collect();
            stored.extend(id_set(&self.0.query(WHICH_ARE_THERE, &[&rest]).await?));
        }
        Ok(stored)
    }
}

fn outcome(stored: &HashSet<Uuid>, id: &Uuid) -> Created {
    if stored.contains(id) { Created::Stored } else { Created::NicknameTaken }
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
