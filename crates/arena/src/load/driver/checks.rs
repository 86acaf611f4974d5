//! Whether an answer is the right one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The most people that a search may find.
pub const MOST_HITS: usize = 50;

/// A set of statuses, written `2xx` or `201,400,422`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Whether the status is one of them.
    pub fn contain(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |word: &str| {
            let class = word.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
            match (class, word.parse::<u16>()) {
                (Some(class @ 1..=5), _) => Ok((class * 100, class * 100 + 99)),
                (None, Ok(status @ 100..=599)) => Ok((status, status)),
                _ => Err(format!("{word:?} is not a status such as 201, nor a class such as 2xx")),
            }
        };
        text.split(',').map(str::trim).map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word =
            |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{}xx", first / 100) };
        formatter.write_str(&self.0.iter().map(word).collect::<Vec<_>>().join(","))
    }
}

/// A person as a client sends or receives it, in either vocabulary.
#[derive(Debug, Deserialize)]
pub struct Person<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, alias = "apelido")]
    nickname: Text<'a>,
    #[serde(borrow, alias = "nome")]
    fullname: Text<'a>,
    #[serde(borrow, alias = "nascimento")]
    dob: Text<'a>,
    #[serde(borrow, default)]
    stack: Option<Vec<Text<'a>>>,
}

/// Borrows wherever JSON has no escapes, also as an element of a list.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Person<'a> {
    /// Reads a person from JSON; `None` where it is none.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// A person as a database holds it; `dob` is written `YYYY-MM-DD`.
    pub fn stored(id: String, [nickname, fullname, dob]: [String; 3], stack: Option<Vec<String>>) -> Self {
        let text = |text| Text(Cow::Owned(text));
        let stack = stack.map(|stack| stack.into_iter().map(text).collect());
        let [nickname, fullname, dob] = [nickname, fullname, dob].map(text);
        Self { id: Some(text(id)), nickname, fullname, dob, stack }
    }

    /// The id, which only a server gives.
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref().map(|id| &*id.0)
    }

    /// The nickname.
    pub fn nickname(&self) -> &str {
        &self.nickname.0
    }

    /// The full name.
    pub fn fullname(&self) -> &str {
        &self.fullname.0
    }

    /// Whether all is equal but the id. An absent stack and a null one are the same.
    pub fn same(&self, other: &Person<'_>) -> bool {
        self.nickname == other.nickname
            && self.fullname == other.fullname
            && self.dob == other.dob
            && self.stack == other.stack
    }

    fn matches(&self, term: &Term) -> bool {
        let stack = self.stack.iter().flatten();
        [&self.nickname, &self.fullname].into_iter().chain(stack).any(|text| term.is_in(&text.0))
    }
}

/// A search term, ready to be looked for.
#[derive(Debug)]
pub struct Term {
    lower: String,
    upper: String,
}

impl Term {
    /// The term as a person types it.
    pub fn new(text: &str) -> Self {
        Self { lower: lower(text), upper: upper(text) }
    }

    /// Whether the text contains the term in any case. Two foldings are tried, since Unicode has pairs that only one
    /// of them brings together (`ß` and `ẞ`, `ſ` and `s`).
    fn is_in(&self, text: &str) -> bool {
        lower(text).contains(&self.lower) || upper(text).contains(&self.upper)
    }
}

fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn upper(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).collect()
}

/// What is wrong with the body of a fetch, given the row that was sent and the path that was fetched.
pub fn fetched(body: &[u8], sent: &[u8], path: &[u8]) -> Result<(), &'static str> {
    let person = Person::parse(body).ok_or("answer is not a person")?;
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let id = path.rsplit(|byte| *byte == b'/').find(|segment| !segment.is_empty()).unwrap_or_default();
    if person.id.as_ref().is_none_or(|text| text.0.as_bytes() != id) {
        return Err("answer has another id");
    }
    match Person::parse(sent) {
        Some(sent) if !person.same(&sent) => Err("answer is not what was sent"),
        _ => Ok(()),
    }
}

/// The people that a search found.
///
/// # Errors
///
/// What is wrong with the body.
pub fn found<'a>(body: &'a [u8], term: &Term) -> Result<Vec<Person<'a>>, &'static str> {
    if body == b"[]" {
        return Ok(Vec::new());
    }
    let people: Vec<Person> = serde_json::from_slice(body).map_err(|_| "answer is not a list of people")?;
    if people.len() > MOST_HITS {
        return Err("answer has more than 50 people");
    }
    if !people.iter().all(|person| person.matches(term)) {
        return Err("answer has a person that does not match");
    }
    let ids: Option<HashSet<&str>> = people.iter().map(Person::id).collect();
    match ids.ok_or("answer has a person without an id")?.len() == people.len() {
        true => Ok(people),
        false => Err("answer has a person twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] =
        br#"{"apelido" : "jos\u00e9", "nome" : "J\u00F3se", "nascimento" : "2000-10-01", "stack" : ["C#", "Node"]}"#;

    #[test]
    fn statuses_are_read_and_written() {
        let statuses: Statuses = "2xx, 404".parse().unwrap();
        assert_eq!(statuses.to_string(), "2xx,404");
        assert!([200, 299, 404].iter().all(|status| statuses.contain(*status)));
        assert!([199, 300, 400].iter().all(|status| !statuses.contain(*status)));
        for wrong in ["", "2x", "9xx", "0", "600", "201,", "xx"] {
            assert!(wrong.parse::<Statuses>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fetch_must_return_what_was_sent() {
        let path = b"/users/abc";
        let good = r#"{"id":"abc","nickname":"josé","fullname":"Jóse","dob":"2000-10-01","stack":["C#","Node"]}"#;
        assert_eq!(fetched(good.as_bytes(), SENT, path), Ok(()));
        assert_eq!(fetched(good.as_bytes(), SENT, b"/users/abc/?x"), Ok(()));
        assert_eq!(fetched(good.as_bytes(), SENT, b"/users/abd"), Err("answer has another id"));
        assert_eq!(fetched(&good.as_bytes()[1..], SENT, path), Err("answer is not a person"));
        for (from, to) in
            [("josé", "jose"), ("Jóse", "J"), ("10-01", "10-02"), (r#","Node""#, ""), (r#"["C#","Node"]"#, "null")]
        {
            let wrong = good.replace(from, to);
            assert_eq!(fetched(wrong.as_bytes(), SENT, path), Err("answer is not what was sent"), "{wrong}");
        }
    }

    #[test]
    fn an_absent_stack_and_a_null_one_are_the_same() {
        let sent = br#"{"nickname":"a","fullname":"b","dob":"2000-10-01","x":[1,{}]}"#;
        let body = br#"{"id":"1","nickname":"a","fullname":"b","dob":"2000-10-01","stack":null}"#;
        assert_eq!(fetched(body, sent, b"/users/1"), Ok(()));
    }

    #[test]
    fn a_search_finds_only_what_matches() {
        let with_id = |id: &str| {
            format!(r#"{{"id":{id},"nickname":"bar","fullname":"Foo ÀB","dob":"2000-10-01","stack":["Erlang"]}}"#)
        };
        let hit = with_id("\"1\"");
        let found = |body: &[u8], term: &Term| found(body, term).map(|people| people.len());
        for term in ["BA", "o à", "LANG", ""] {
            assert_eq!(found(format!("[{hit}]").as_bytes(), &Term::new(term)), Ok(1), "{term}");
        }
        for term in ["barfoo", "o a", "2000", "x"] {
            assert!(found(format!("[{hit}]").as_bytes(), &Term::new(term)).is_err(), "{term}");
        }
        assert_eq!(found(b"[]", &Term::new("x")), Ok(0));
        assert_eq!(found(b"[ ]", &Term::new("x")), Ok(0));
        assert_eq!(found(b"{}", &Term::new("x")), Err("answer is not a list of people"));
        let many =
            |count| format!("[{}]", (0..count).map(|id| with_id(&format!("\"{id}\""))).collect::<Vec<_>>().join(","));
        assert_eq!(found(many(50).as_bytes(), &Term::new("foo")), Ok(50));
        assert_eq!(found(many(51).as_bytes(), &Term::new("foo")), Err("answer has more than 50 people"));
        let twice = format!("[{hit},{hit}]");
        assert_eq!(found(twice.as_bytes(), &Term::new("foo")), Err("answer has a person twice"));
        let nobody = format!("[{}]", with_id("null"));
        assert_eq!(found(nobody.as_bytes(), &Term::new("foo")), Err("answer has a person without an id"));
    }

    #[test]
    fn case_is_that_of_unicode() {
        assert!(Term::new("ΟΔΟΣ").is_in("οδος"));
        assert!(Term::new("straße").is_in("STRASSE"));
        assert!(Term::new("É").is_in("café"));
        assert!(!Term::new("e").is_in("É"));
    }
}
