//! Whom a correct server stores of the event's people.

use std::collections::HashSet;

use super::Person;

/// Letters that a key has room for.
const KEY: usize = 10;

/// Those of `rows` whom a correct server stores that began without people: the valid ones whose nickname nobody before
/// them has, in order.
///
/// Of nicknames with more than ten letters none is remembered, which keeps this small over millions of rows: that two of
/// them are the same comes up once in 600 million streams of five million people.
pub fn stored(rows: impl Iterator<Item = Person>) -> impl Iterator<Item = Person> {
    let mut taken = HashSet::new();
    rows.filter(move |person| person.status == 201 && key(&person.nickname).is_none_or(|key| taken.insert(key)))
}

/// What no other nickname of so few letters has. The low six bits of a letter are never 0, and another letter's are
/// others.
fn key(nickname: &str) -> Option<u64> {
    let letters = nickname.as_bytes();
    (letters.len() <= KEY).then(|| letters.iter().fold(0, |key, letter| key << 6 | u64::from(letter & 0x3f)))
}

#[cfg(test)]
mod tests {
    use super::super::people;
    use super::*;

    #[test]
    fn a_nickname_is_stored_once() {
        let rows = 300_000;
        let mut taken = HashSet::new();
        let expected: Vec<String> = people(5)
            .take(rows)
            .filter(|person| person.status == 201 && taken.insert(person.nickname.clone()))
            .map(|person| person.nickname)
            .collect();
        assert!(stored(people(5).take(rows)).map(|person| person.nickname).eq(expected));
    }

    #[test]
    fn keys_tell_nicknames_apart() {
        let letters = (b'a'..=b'z').chain(b'A'..=b'Z').map(|letter| char::from(letter).to_string());
        let keys: HashSet<Option<u64>> = letters.chain(["aa".into(), "Aa".into()]).map(|name| key(&name)).collect();
        assert_eq!(keys.len(), 54);
        assert_ne!(key("zzzzzzzzzz"), key("Zzzzzzzzzz"));
        assert_eq!(key("zzzzzzzzzzz"), None);
    }
}
