//! Everybody whom a load sent, by nickname, with what became of them.

use std::collections::HashMap;
use std::fmt;

use super::checks::Person;
use super::feed::{Expected, Feed};
use super::ledger::{Fate, Id};

/// Those whose rows are valid: nobody else may be there because of the load.
#[derive(Debug, Default)]
pub struct Roll<'a> {
    members: HashMap<String, Member<'a>>,
    /// Whether nobody else may be there at all.
    is_complete: bool,
}

/// Who bears one nickname.
#[derive(Debug, Default)]
struct Member<'a> {
    /// Different people may bear it; a right server stores one of them.
    people: Vec<Person<'a>>,
    /// One for each 201.
    acknowledged: Vec<Option<Id>>,
    unknown: bool,
    refused: bool,
}

impl Member<'_> {
    /// Whether a create of it was answered with 201.
    fn is_acknowledged(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    /// Whether all creates of it were refused.
    fn is_refused(&self) -> bool {
        self.refused && !self.unknown && !self.is_acknowledged()
    }

    /// Whether nobody knows if it was stored.
    fn is_unknown(&self) -> bool {
        self.unknown && !self.is_acknowledged()
    }

    /// How to look for whoever was answered with 201: by the longer name, or by the only one that is certain where several
    /// people bore the nickname.
    fn sought(&self) -> Option<Sought<'_>> {
        let person = self.people.first().filter(|_| self.is_acknowledged())?;
        let (nickname, fullname) = (person.nickname(), person.fullname());
        let is_certain = self.people.len() == 1;
        let name = if is_certain && fullname.len() > nickname.len() { fullname } else { nickname };
        // A search for a blank term is none.
        (!name.trim().is_empty()).then_some(Sought { nickname, name })
    }
}

/// Somebody who must be found.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// Who it is.
    pub nickname: &'a str,
    /// The name to look for.
    pub name: &'a str,
}

/// What the answers to all creates say when they are laid side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// Nicknames that were sent in a valid row.
    pub sent: u64,
    /// Nicknames that a create was answered 201 for.
    pub acknowledged: u64,
    /// 201s for a nickname that had one already.
    pub doubled: u64,
    /// Nicknames whose every create was refused.
    pub refused: u64,
    /// Nicknames of which nobody knows whether they were stored.
    pub unknown: u64,
}

impl<'a> Roll<'a> {
    /// Calls the roll of the creates that were sent, given their fates in order. `is_complete` says that nobody was there
    /// before.
    pub fn call(feed: &'a Feed, fates: impl Iterator<Item = Fate>, is_complete: bool) -> Self {
        let mut roll = Self { members: HashMap::new(), is_complete };
        for (create, fate) in (0..).zip(fates) {
            if let Expected::Created | Expected::CreatedOrTaken = feed.expected(create) {
                roll.enter(feed, create, fate);
            }
        }
        roll
    }

    fn enter(&mut self, feed: &'a Feed, create: u64, fate: Fate) {
        let Some(person) = Person::parse(feed.payload(create)) else { return };
        let member = self.members.entry(person.nickname().to_owned()).or_default();
        match fate {
            Fate::Acknowledged(id) => member.acknowledged.push(id),
            Fate::Refused => member.refused = true,
            Fate::Unknown => member.unknown = true,
        }
        // Rows that come round again bring nobody new.
        if create < feed.rows() {
            member.people.push(person);
        }
    }

    /// What the answers say together.
    pub fn tally(&self) -> Tallied {
        let count = |is: fn(&Member<'a>) -> bool| self.members.values().filter(|member| is(member)).count() as u64;
        let seen: usize = self.members.values().map(|member| member.acknowledged.len()).sum();
        let acknowledged = count(Member::is_acknowledged);
        Tallied {
            sent: self.members.len() as u64,
            acknowledged,
            doubled: seen as u64 - acknowledged,
            refused: count(Member::is_refused),
            unknown: count(Member::is_unknown),
        }
    }

    /// At most `most` of those who must be found, spread over all of them, in the same order each time.
    pub fn sample(&self, most: usize) -> Vec<Sought<'_>> {
        let mut sought: Vec<Sought<'_>> = self.members.values().filter_map(Member::sought).collect();
        sought.sort_unstable_by_key(|person| person.nickname);
        let step = sought.len().div_ceil(most).max(1);
        sought.into_iter().step_by(step).collect()
    }

    /// Keeps that somebody is stored, where the answers to creates are not known.
    pub fn find(&mut self, person: &Person<'_>) {
        if let Some(member) = self.members.get_mut(person.nickname()) {
            member.acknowledged.push(person.id().map(Id::new));
        }
    }

    /// Whether somebody whom a server shows is one whom the load sent, or may be.
    ///
    /// # Errors
    ///
    /// What is wrong with the person.
    pub fn know(&self, person: &Person<'_>) -> Result<Known, Wrong> {
        let Some(member) = self.members.get(person.nickname()) else {
            return if self.is_complete { Err(Wrong::Unsent) } else { Ok(Known::Stranger) };
        };
        let id = person.id().map(Id::new);
        let is_theirs = member.acknowledged.iter().any(|known| known.is_none() || *known == id);
        if !member.is_acknowledged() && !self.is_complete {
            return Ok(Known::Stranger);
        }
        if member.is_refused() {
            return Err(Wrong::Refused);
        }
        if member.is_acknowledged() && !is_theirs {
            return Err(Wrong::OtherId);
        }
        match member.people.iter().any(|sent| sent.same(person)) {
            true => Ok(Known::Member),
            false => Err(Wrong::Changed),
        }
    }
}

/// What is wrong with a person whom a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// No valid row bears the nickname.
    Unsent,
    /// Every create of the nickname was refused.
    Refused,
    /// The create was answered with another id.
    OtherId,
    /// No row with the nickname says the same.
    Changed,
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unsent => "whom nobody sent",
            Self::Refused => "who was refused",
            Self::OtherId => "under another id than the create was answered with",
            Self::Changed => "who is not as was sent",
        })
    }
}

/// Whom a server showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Somebody whom the load sent.
    Member,
    /// Somebody who may have been there before.
    Stranger,
}
