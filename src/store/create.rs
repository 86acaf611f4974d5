//! Creates, grouped into one statement and one commit.

use std::collections::HashSet;
use std::sync::Arc;

use prometheus::Histogram;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::Error;
use crate::json::Stored;
use crate::person::Person;

use super::batch::{Job, Work};
use super::connection::{Connections, Failure};
use super::date::Date;
use super::held::Held;
use super::knowledge::Knowledge;

/// The values as they are: a group of one needs no list, and is most of them until the load is high.
const INSERT_ONE: &str = "INSERT INTO users (id, nickname, fullname, dob, stack) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id";

const INSERT: &str = "INSERT INTO users (id, nickname, fullname, dob, stack) \
    SELECT id, nickname, fullname, dob, stack::text[] \
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::text[]) AS new (id, nickname, fullname, dob, stack) \
    ON CONFLICT DO NOTHING RETURNING id";

/// Who can be seen may be on no standby yet, where the wait for that was cut short. So whoever is found leaves a record in the
/// log behind their own, and the look's commit comes back when the standbys have that one, as any commit does. Who is not
/// found leaves none, and the commit then has nothing to wait for.
const WHICH_ARE_THERE: &str = "SELECT id, pg_logical_emit_message(true, 'peleja', '') FROM users WHERE id = ANY($1)";

/// Settings of a session that stores groups. An instance that stores the same nickname has its commit done in less; who
/// takes longer is somebody else, and all others in the group wait.
pub(super) const GROUP_SETTINGS: &str = "-c enable_seqscan=off -c lock_timeout=50ms";

/// Settings of a session that stores the people of a group one by one, to find out which of them holds it up.
pub(super) const SINGLE_SETTINGS: &str = "-c enable_seqscan=off -c lock_timeout=2ms";

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
    stack: Option<Vec<String>>,
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
            stack: person.stack.as_deref().map(owned),
        }
    }

    pub(super) fn nickname(&self) -> &str {
        &self.nickname
    }

    /// As the memory takes one.
    fn stored(&self) -> Stored<'_> {
        Stored {
            id: self.id,
            nickname: &self.nickname,
            fullname: &self.fullname,
            dob: &self.dob,
            stack: self.stack.as_ref().map(|stack| stack.iter().map(|element| Some(element.as_str())).collect()),
        }
    }
}

/// PostgreSQL's text form of an array: arrays of arrays of different lengths cannot be sent. See "Array Input and Output
/// Syntax" in PostgreSQL's manual.
fn array_literal(elements: &[String]) -> String {
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

/// A create that somebody waits for.
pub(super) type CreateJob = Job<NewPerson, Created>;

/// Stores groups, and falls back on one by one.
pub(super) struct Creates {
    pub(super) groups: Storing,
    pub(super) singles: Storing,
    pub(super) held: Held,
    /// Is told how many people each group has.
    pub(super) sizes: Histogram,
}

impl Work for Creates {
    type Item = NewPerson;
    type Answer = Created;

    async fn run(&self, jobs: Vec<CreateJob>) {
        let mut jobs: Vec<CreateJob> = jobs.into_iter().filter_map(|job| self.held.join(job)).collect();
        if jobs.is_empty() {
            return;
        }
        self.sizes.observe(jobs.len() as f64);
        // Two instances that insert the same nicknames in different orders would wait for each other.
        jobs.sort_unstable_by(|a, b| a.item.nickname.cmp(&b.item.nickname));
        let people: Vec<&NewPerson> = jobs.iter().map(|job| &job.item).collect();
        match self.groups.store(&people).await {
            Ok(answers) => jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer)),
            Err(Failure::Held | Failure::Refused(_)) if jobs.len() > 1 => self.store_each(jobs).await,
            Err(failure) => jobs.into_iter().for_each(|job| self.answer_failed(job, &failure)),
        }
    }
}

impl Creates {
    /// Somebody in the group must not take the others down, or have them wait.
    async fn store_each(&self, jobs: Vec<CreateJob>) {
        for job in jobs {
            match self.singles.store_one(&job.item).await {
                Ok(answer) => job.answer(answer),
                Err(failure) => self.answer_failed(job, &failure),
            }
        }
    }

    fn answer_failed(&self, job: CreateJob, failure: &Failure) {
        match failure {
            Failure::Held => self.held.wait(job),
            failure => job.answer(Err(failure.into())),
        }
    }
}

/// Stores people on connections of one kind.
pub(super) struct Storing {
    pub(super) connections: Connections,
    pub(super) knowledge: Arc<Knowledge>,
}

impl Storing {
    /// Stores all that can be stored, and says of each what became of it.
    ///
    /// Whoever was not inserted either lost the nickname to somebody, or is there already: after a connection that was
    /// lost in mid-commit, or an instance that died and left its request to this one. A second look, which sees all
    /// that was committed since and waits until standbys have it, tells which. Where it fails, nothing is known of those
    /// whom it was for, and of them alone.
    ///
    /// # Errors
    ///
    /// For all of them together, and then none is stored, or nobody knows.
    pub(super) async fn store(&self, people: &[&NewPerson]) -> Result<Vec<Result<Created, Error>>, Failure> {
        let era = self.knowledge.era();
        let inserted = id_set(&self.insert(people).await?);
        let rest: Vec<Uuid> = people.iter().map(|person| person.id).filter(|id| !inserted.contains(id)).collect();
        let there = self.which_are_there(&rest).await;
        let answers: Vec<_> = people.iter().map(|person| outcome(person.id, &inserted, &there)).collect();
        let stored = people.iter().zip(&answers).filter(|(_, answer)| **answer == Ok(Created::Stored));
        self.knowledge.add(era, stored.map(|(person, _)| person.stored()));
        Ok(answers)
    }

    /// The same with one person.
    ///
    /// # Errors
    ///
    /// As [`Self::store`].
    pub(super) async fn store_one(&self, person: &NewPerson) -> Result<Result<Created, Error>, Failure> {
        let answers = self.store(&[person]).await?;
        Ok(answers.into_iter().next().unwrap_or(Err(Error::Internal)))
    }

    async fn insert(&self, people: &[&NewPerson]) -> Result<Vec<Row>, Failure> {
        let dates: Vec<Option<Date>> = people.iter().map(|person| Date::parse(&person.dob)).collect();
        if let ([NewPerson { id, nickname, fullname, stack, .. }], [dob]) = (people, &dates[..]) {
            return self.connections.query(INSERT_ONE, &[id, nickname, fullname, dob, stack]).await;
        }
        let ids: Vec<Uuid> = people.iter().map(|person| person.id).collect();
        let nicknames: Vec<&str> = people.iter().map(|person| person.nickname.as_str()).collect();
        let fullnames: Vec<&str> = people.iter().map(|person| person.fullname.as_str()).collect();
        let stacks: Vec<Option<String>> =
            people.iter().map(|person| person.stack.as_deref().map(array_literal)).collect();
        self.connections.query(INSERT, &[&ids, &nicknames, &fullnames, &dates, &stacks]).await
    }

    async fn which_are_there(&self, ids: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        Ok(id_set(&self.connections.query(WHICH_ARE_THERE, &[&ids]).await?))
    }
}

fn outcome(id: Uuid, inserted: &HashSet<Uuid>, there: &Result<HashSet<Uuid>, Error>) -> Result<Created, Error> {
    if inserted.contains(&id) {
        return Ok(Created::Stored);
    }
    match there {
        Ok(there) if there.contains(&id) => Ok(Created::Stored),
        Ok(_) => Ok(Created::NicknameTaken),
        Err(error) => Err(error.clone()),
    }
}

fn id_set(rows: &[Row]) -> HashSet<Uuid> {
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_quote_everything() {
        let elements = ["a", "", "NULL", r#"q"\{},"#].map(str::to_owned);
        assert_eq!(array_literal(&elements), r#"{"a","","NULL","q\"\\{},"}"#);
    }

    #[test]
    fn who_came_back_from_the_insert_is_stored_whatever_the_second_look_says() {
        let [inserted, there, taken] = [1, 2, 3].map(Uuid::from_u128);
        let set = |id| HashSet::from([id]);
        let look = Ok(set(there));
        let outcomes = [inserted, there, taken].map(|id| outcome(id, &set(inserted), &look));
        assert_eq!(outcomes, [Ok(Created::Stored), Ok(Created::Stored), Ok(Created::NicknameTaken)]);
        let failed = Err(Error::Unavailable);
        let outcomes = [inserted, there].map(|id| outcome(id, &set(inserted), &failed));
        assert_eq!(outcomes, [Ok(Created::Stored), Err(Error::Unavailable)]);
    }
}
