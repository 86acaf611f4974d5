//! Creates of every kind that the event never sent, each with the status that the contract gives it.
//!
//! First come all tables, one oddity at a time, then combinations without end. What a row must get follows from how it
//! was made, not from [`super::Oracle`]; a test holds the two against each other.

mod field;
mod twist;

use std::collections::HashSet;

use super::Person;
use crate::load::payloads::random::Random;
use crate::load::vocabulary::Vocabulary;
use field::{DOB, Effect, FULLNAME, Field, NICKNAME, STACK, Value};
use twist::{NOT_OBJECTS, Twist};

/// A create and the status it must get, when sent after all the cases before it to a server that held nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardCase {
    /// What is special about it. Not unique.
    pub name: String,
    /// The request's body; not always UTF-8.
    pub body: Vec<u8>,
    /// 201, 400, 413 or 422.
    pub status: u16,
}

/// The cases that `seed` stands for, without end.
///
/// Their statuses suppose a server without people that answers one case after the other: a nickname that an earlier
/// case took is a duplicate.
pub fn hard_cases(vocabulary: Vocabulary, seed: u64) -> impl Iterator<Item = HardCase> {
    let mut maker =
        Maker { vocabulary, random: Random::new(seed ^ HARD_STREAM), taken: HashSet::new(), takers: Vec::new() };
    let tables = maker.tables();
    let pools = [NICKNAME, FULLNAME, DOB, STACK].map(field::variants);
    let twists = twist::variants(vocabulary);
    let mut event = super::people(seed);
    let combinations = std::iter::from_fn(move || {
        if maker.random.once_in(4) {
            return event.next().map(|person| maker.event(&person));
        }
        Some(maker.combination(&pools, &twists))
    });
    tables.into_iter().chain(combinations)
}

/// Keeps this stream apart from those of the event's rows and terms.
const HARD_STREAM: u64 = 0x6861_7264;
const BODY_LIMIT: usize = 16 * 1024;

struct Maker {
    vocabulary: Vocabulary,
    random: Random,
    taken: HashSet<String>,
    /// The same nicknames in order, to pick from.
    takers: Vec<String>,
}

impl Maker {
    fn tables(&mut self) -> Vec<HardCase> {
        let mut cases = Vec::new();
        for at in [NICKNAME, FULLNAME, DOB, STACK] {
            for field in field::variants(at) {
                cases.push(self.case(vec![(at, field)], &[]));
            }
        }
        for changes in field::decisions() {
            cases.push(self.case(changes, &[]));
        }
        for twist in twist::variants(self.vocabulary) {
            cases.push(self.case(Vec::new(), &[twist]));
        }
        cases.extend(self.lookalikes());
        cases.extend(self.cuts());
        cases.extend(NOT_OBJECTS.iter().map(|(name, body)| HardCase {
            name: format!("body {name}"),
            body: body.to_vec(),
            status: 400,
        }));
        cases.push(HardCase { name: "body {}".to_owned(), body: b"{}".to_vec(), status: 422 });
        cases
    }

    /// Nicknames that only look like another, each sent more than once, escaped in different ways.
    fn lookalikes(&mut self) -> Vec<HardCase> {
        ["çé/Zz", "c\u{327}e\u{301}/Zz", "ÇÉ/Zz", "çé/zz", "çé/Zz ", " çé/Zz"]
            .into_iter()
            .flat_map(|nickname| std::iter::repeat_n(nickname, 3))
            .map(|nickname| self.case(vec![(NICKNAME, Field::good(nickname))], &[]))
            .collect()
    }

    /// Valid bodies that end too early.
    fn cuts(&mut self) -> Vec<HardCase> {
        (1..=8)
            .map(|eighths| {
                let fields = self.base();
                let mut body = self.render(&fields, &[]);
                body.truncate((body.len() - 1) * eighths / 8);
                HardCase { name: format!("body cut after {} bytes", body.len()), body, status: 400 }
            })
            .collect()
    }

    fn event(&mut self, person: &Person) -> HardCase {
        let status = match person.status {
            201 => self.take(&person.nickname),
            refused => refused,
        };
        HardCase { name: "event".to_owned(), body: person.json(self.vocabulary).into_bytes(), status }
    }

    fn combination(&mut self, pools: &[Vec<Field>; 4], all_twists: &[Twist]) -> HardCase {
        let mut changes = Vec::new();
        for (at, pool) in pools.iter().enumerate() {
            if self.random.once_in(3) {
                changes.push((at, self.random.pick(pool).clone()));
            }
        }
        if self.random.once_in(8) && !self.takers.is_empty() {
            let nickname = self.random.pick(&self.takers);
            changes.push((NICKNAME, Field::good(nickname)));
        }
        let mut twists: Vec<Twist> = Vec::new();
        for _ in 0..*self.random.pick(&[0, 0, 0, 1, 1, 2, 3]) {
            let twist = self.random.pick(all_twists);
            // Two wrongs can make a right: an open brace and one brace too many.
            if !twist.malformed || twists.iter().all(|other| !other.malformed) {
                twists.push(twist.clone());
            }
        }
        self.case(changes, &twists)
    }

    /// An ordinary person with some fields replaced, sent with `twists`.
    fn case(&mut self, changes: Vec<(usize, Field)>, twists: &[Twist]) -> HardCase {
        let mut fields = self.base();
        let mut names = Vec::new();
        for (at, field) in changes {
            names.push(format!("{} {}", self.vocabulary.person_keys()[at], field.name));
            fields[at] = field;
        }
        // A copy of a key that is left out would be no copy.
        let twists: Vec<&Twist> =
            twists.iter().filter(|twist| twist.copy_of.is_none_or(|at| !fields[at].is_missing())).collect();
        names.extend(twists.iter().map(|twist| twist.name.clone()));

        let body = self.render(&fields, &twists);
        let status = if body.len() > BODY_LIMIT {
            413
        } else if twists.iter().any(|twist| twist.malformed) {
            400
        } else {
            self.settle(&fields)
        };
        HardCase { name: names.join(", "), body, status }
    }

    /// Valid fields, with a nickname that nobody else gets.
    fn base(&mut self) -> [Field; 4] {
        let nickname: String = (0..24).map(|_| char::from(b'a' + self.random.below(26) as u8)).collect();
        [Field::good(&nickname), Field::good("Ana de Souza"), Field::good("1990-05-17"), Field::list(&["Rust", "SQL"])]
    }

    /// The status of a well-formed row: the first value that decides, else anything wrong, else the nickname.
    fn settle(&mut self, fields: &[Field; 4]) -> u16 {
        let effects = || fields.iter().flat_map(|field| &field.effects);
        for effect in effects() {
            match effect {
                Effect::Null => return 422,
                Effect::Mistyped => return 400,
                Effect::Good | Effect::Wrong => {}
            }
        }
        match &fields[NICKNAME].value {
            Value::Text(nickname) if effects().all(|effect| *effect == Effect::Good) => self.take(&nickname.clone()),
            _ => 422,
        }
    }

    fn take(&mut self, nickname: &str) -> u16 {
        if !self.taken.insert(nickname.to_owned()) {
            return 422;
        }
        self.takers.push(nickname.to_owned());
        201
    }

    fn render(&mut self, fields: &[Field; 4], twists: &[&Twist]) -> Vec<u8> {
        let mut members: Vec<Vec<u8>> = Vec::new();
        for (key, field) in self.vocabulary.person_keys().into_iter().zip(fields) {
            if let Some(json) = field.value.json(&mut self.random) {
                let key = field::quote(key, &mut self.random);
                members.push(format!("{key}:{json}").into_bytes());
            }
        }
        if self.random.once_in(3) {
            self.random.shuffle(&mut members);
        }
        // In front, so that a member of the same key that follows wins.
        for member in twists.iter().filter_map(|twist| twist.member.as_ref()) {
            members.insert(0, member.clone());
        }

        let mut body = twists.iter().flat_map(|twist| twist.prefix).copied().collect();
        self.render_object(&members, &mut body);
        body.extend(twists.iter().flat_map(|twist| twist.suffix));
        let size = twists.iter().filter_map(|twist| twist.size).max();
        body.resize(body.len().max(size.unwrap_or(0)), b' ');
        body
    }

    fn render_object(&mut self, members: &[Vec<u8>], body: &mut Vec<u8>) {
        let spaces: &[&str] = if self.random.once_in(4) { &["", " ", "\n  ", "\r\n\t"] } else { &[""] };
        body.push(b'{');
        for (at, member) in members.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend(self.random.pick(spaces).bytes());
            body.extend(member);
            body.extend(self.random.pick(spaces).bytes());
        }
        body.push(b'}');
    }
}
