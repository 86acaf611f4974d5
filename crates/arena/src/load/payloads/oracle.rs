//! The rules of the people API once more, independent of every server: what a correct one answers to a create.

use std::collections::{BTreeMap, HashSet};

use serde_json::value::RawValue;

use crate::load::vocabulary::Vocabulary;

const BODY_LIMIT: usize = 16 * 1024;
const NICKNAME_LIMIT: usize = 32;
const FULLNAME_LIMIT: usize = 100;
const STACK_ELEMENT_LIMIT: usize = 32;

/// A correct server that started without people, as far as creates go.
#[derive(Debug)]
pub struct Oracle {
    vocabulary: Vocabulary,
    taken: HashSet<String>,
}

impl Oracle {
    /// A server without people that is spoken to in `vocabulary`.
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self { vocabulary, taken: HashSet::new() }
    }

    /// The status that a create with this body gets, given all that were sent before: 201, 400, 413 or 422.
    pub fn create(&mut self, body: &[u8]) -> u16 {
        match valid_nickname(body, self.vocabulary) {
            Err(status) => status,
            Ok(nickname) => match self.taken.insert(nickname) {
                true => 201,
                false => 422,
            },
        }
    }

    /// How many people the server holds.
    pub fn people(&self) -> u64 {
        self.taken.len() as u64
    }
}

/// The vocabulary in which a body names the nickname, if it is an object that has one.
pub fn vocabulary_of(body: &[u8]) -> Option<Vocabulary> {
    let members = members(body)?;
    [Vocabulary::Users, Vocabulary::Pessoas]
        .into_iter()
        .find(|vocabulary| members.contains_key(vocabulary.person_keys()[0]))
}

/// What one value says about its row.
#[derive(Clone, Copy)]
enum Finding {
    Good,
    /// Refused with 422, unless a later value decides otherwise.
    Wrong,
    /// The first of these settles the status.
    Decides(u16),
}

/// The nickname of a body that keeps every rule for a single row, else the status that refuses it.
fn valid_nickname(body: &[u8], vocabulary: Vocabulary) -> Result<String, u16> {
    if body.len() > BODY_LIMIT {
        return Err(413);
    }
    let members = members(body).ok_or(400_u16)?;
    let [nickname, fullname, dob, stack] = vocabulary.person_keys().map(|key| members.get(key).copied());

    let mut findings = vec![text(nickname, NICKNAME_LIMIT), text(fullname, FULLNAME_LIMIT), date(dob)];
    findings.extend(stack_findings(stack));

    for finding in &findings {
        if let Finding::Decides(status) = finding {
            return Err(*status);
        }
    }
    if findings.iter().any(|finding| matches!(finding, Finding::Wrong)) {
        return Err(422);
    }
    nickname.and_then(string).ok_or(422)
}

/// The members of a body that is one JSON object and nothing else; the last of a duplicated key wins.
///
/// Values stay raw: an unknown key may hold any depth and any number that the grammar allows.
fn members(body: &[u8]) -> Option<BTreeMap<String, &RawValue>> {
    let text = std::str::from_utf8(body).ok()?;
    let members = serde_json::from_str(text).ok()?;
    (!has_lone_surrogate(body)).then_some(members)
}

fn text(value: Option<&RawValue>, limit: usize) -> Finding {
    let Some(value) = value else { return Finding::Wrong };
    if value.get() == "null" {
        return Finding::Decides(422);
    }
    match string(value) {
        None => Finding::Decides(400),
        Some(text) if text.chars().count() > limit || text.contains('\0') => Finding::Wrong,
        Some(_) => Finding::Good,
    }
}

fn date(value: Option<&RawValue>) -> Finding {
    let Some(value) = value else { return Finding::Wrong };
    if value.get() == "null" {
        return Finding::Decides(422);
    }
    match string(value) {
        Some(text) if is_date(&text) => Finding::Good,
        _ => Finding::Decides(400),
    }
}

fn stack_findings(value: Option<&RawValue>) -> Vec<Finding> {
    let Some(value) = value.filter(|value| value.get() != "null") else { return Vec::new() };
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Err(_) => vec![Finding::Decides(400)],
        Ok(elements) if elements.is_empty() => vec![Finding::Wrong],
        Ok(elements) => elements.into_iter().map(|element| text(Some(element), STACK_ELEMENT_LIMIT)).collect(),
    }
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn is_date(text: &str) -> bool {
    let well_formed = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    if !well_formed {
        return false;
    }
    let (Ok(year), Ok(month), Ok(day)) = (text[..4].parse(), text[5..7].parse(), text[8..].parse()) else {
        return false;
    };
    year >= 1 && jiff::civil::Date::new(year, month, day).is_ok()
}

/// Whether valid JSON holds a `\u` escape of half a surrogate pair, in any string at any depth.
fn has_lone_surrogate(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        rest = &rest[at..];
        rest = match unicode_escape(rest) {
            None => &rest[2..],
            Some(0xd800..=0xdbff) => match unicode_escape(&rest[6..]) {
                Some(0xdc00..=0xdfff) => &rest[12..],
                _ => return true,
            },
            Some(0xdc00..=0xdfff) => return true,
            Some(_) => &rest[6..],
        };
    }
    false
}

/// The code unit of the `\uXXXX` that `json` begins with.
fn unicode_escape(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(body: &str) -> u16 {
        Oracle::new(Vocabulary::Users).create(body.as_bytes())
    }

    fn with(member: &str) -> String {
        format!(r#"{{"nickname":"a","fullname":"b","dob":"2000-01-01",{member}}}"#)
    }

    #[test]
    fn remembers_who_is_there() {
        let mut oracle = Oracle::new(Vocabulary::Users);
        let row = with(r#""stack":null"#);
        assert_eq!(oracle.create(row.as_bytes()), 201);
        assert_eq!(oracle.create(row.as_bytes()), 422);
        assert_eq!(oracle.people(), 1);
    }

    #[test]
    fn speaks_both_vocabularies_and_tells_them_apart() {
        let row = br#"{"apelido":"a","nome":"b","nascimento":"2000-01-01"}"#;
        assert_eq!(Oracle::new(Vocabulary::Pessoas).create(row), 201);
        assert_eq!(Oracle::new(Vocabulary::Users).create(row), 422);
        assert_eq!(vocabulary_of(row), Some(Vocabulary::Pessoas));
        assert_eq!(vocabulary_of(br#"{"nickname":1}"#), Some(Vocabulary::Users));
        assert_eq!(vocabulary_of(b"{}"), None);
        assert_eq!(vocabulary_of(b"[]"), None);
    }

    #[test]
    fn ignores_unknown_members_however_deep_or_long() {
        let nested = format!(r#""x":{}{}"#, "[".repeat(7_000), "]".repeat(7_000));
        assert_eq!(status(&with(&nested)), 201);
        assert_eq!(status(&with(&format!(r#""x":{}"#, "9".repeat(10_000)))), 201);
        assert_eq!(status(&with(r#""x":1e999"#)), 201);
        assert_eq!(status(&with(r#""x":"\u0000""#)), 201);
    }

    #[test]
    fn finds_lone_surrogates_wherever_they_are() {
        assert_eq!(status(&with(r#""x":"\ud83d\ude00""#)), 201);
        assert_eq!(status(&with(r#""x":"\\ud83d""#)), 201);
        for member in [r#""x":"\ud83d""#, r#""x":"\ude00\ud83d""#, r#""x":[{"\uD83Da":1}]"#, r#""x":"\ud83d\u0041""#] {
            assert_eq!(status(&with(member)), 400, "{member}");
        }
    }

    #[test]
    fn takes_only_dates_of_the_calendar() {
        for date in ["0001-01-01", "9999-12-31", "2000-02-29", "2004-02-29"] {
            assert!(is_date(date), "{date}");
        }
        for date in
            ["0000-01-01", "1900-02-29", "2001-02-29", "2000-04-31", "2000-1-1", "+200-01-01", "２００0-01-1", ""]
        {
            assert!(!is_date(date), "{date}");
        }
    }

    #[test]
    fn refuses_a_body_over_the_limit_before_reading_it() {
        let body = with(r#""x":1"#);
        let padding = " ".repeat(BODY_LIMIT - body.len());
        assert_eq!(status(&format!("{body}{padding}")), 201);
        assert_eq!(status(&format!("{body}{padding} ")), 413);
    }
}
