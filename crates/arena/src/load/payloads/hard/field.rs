//! The values that a field of a create can have, and what each does to the status.

use crate::load::payloads::random::Random;

pub const NICKNAME: usize = 0;
pub const FULLNAME: usize = 1;
pub const DOB: usize = 2;
pub const STACK: usize = 3;

const NICKNAME_LIMIT: usize = 32;
const FULLNAME_LIMIT: usize = 100;
const STACK_ELEMENT_LIMIT: usize = 32;

/// What a value does to its row's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Good,
    /// 422, unless another value decides.
    Wrong,
    /// 422, if it is the first to decide.
    Null,
    /// 400, if it is the first to decide.
    Mistyped,
}

/// A value before it is JSON, so that a string can be escaped in a different way each time.
#[derive(Clone, Debug)]
pub enum Value {
    /// The key is left out.
    Missing,
    /// JSON as it stands.
    Json(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
}

/// The value of one field, with its effects in the order in which a server meets them.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub value: Value,
    pub effects: Vec<Effect>,
}

/// Everything that the field at `at` can be, one oddity at a time.
pub fn variants(at: usize) -> Vec<Field> {
    match at {
        NICKNAME => strings(NICKNAME_LIMIT),
        FULLNAME => strings(FULLNAME_LIMIT),
        DOB => dobs(),
        _ => stacks(),
    }
}

/// The contract's examples of values that decide before others.
pub fn decisions() -> Vec<Vec<(usize, Field)>> {
    let long = || Field::text("a".repeat(NICKNAME_LIMIT + 1), Effect::Wrong);
    let null = || Field::json("null", Effect::Null);
    let number = || Field::json("1", Effect::Mistyped);
    let bad_dob = || Field::text("12-12-2000", Effect::Mistyped);
    let null_then_number = || Field {
        name: "[null, 1]".to_owned(),
        value: Value::List(vec![Value::Json("null".to_owned()), Value::Json("1".to_owned())]),
        effects: vec![Effect::Null, Effect::Mistyped],
    };
    vec![
        vec![(NICKNAME, null()), (FULLNAME, number())],
        vec![(NICKNAME, long()), (FULLNAME, number())],
        vec![(NICKNAME, Field::missing()), (FULLNAME, number())],
        vec![(NICKNAME, number()), (FULLNAME, null())],
        vec![(NICKNAME, long()), (DOB, bad_dob())],
        vec![(NICKNAME, null()), (DOB, bad_dob())],
        vec![(DOB, null()), (STACK, number())],
        vec![(DOB, bad_dob()), (STACK, null_then_number())],
        vec![(FULLNAME, Field::missing()), (STACK, null_then_number())],
    ]
}

/// `text` as a JSON string: as short as can be, wholly in `\u` escapes, or a mixture of all ways to write a character.
pub fn quote(text: &str, random: &mut Random) -> String {
    let escaped_in_8 = *random.pick(&[0, 0, 0, 0, 1, 4, 8]);
    let mut json = String::from("\"");
    for character in text.chars() {
        if random.below(8) < escaped_in_8 {
            push_code_units(&mut json, character, random);
        } else {
            push_short(&mut json, character, random);
        }
    }
    json.push('"');
    json
}

impl Field {
    /// A string that is as it should be.
    pub fn good(text: &str) -> Self {
        Self::text(text, Effect::Good)
    }

    /// A string.
    pub fn text(text: impl Into<String>, effect: Effect) -> Self {
        let text = text.into();
        Self { name: shown(&text), value: Value::Text(text), effects: vec![effect] }
    }

    /// JSON as it stands.
    pub fn json(json: impl Into<String>, effect: Effect) -> Self {
        let json = json.into();
        Self { name: json.chars().take(SHOWN).collect(), value: Value::Json(json), effects: vec![effect] }
    }

    /// A valid list of strings.
    pub fn list(texts: &[&str]) -> Self {
        let elements = texts.iter().map(|text| Self::good(text)).collect();
        Self::elements(elements)
    }

    /// Whether the key is left out.
    pub fn is_missing(&self) -> bool {
        matches!(self.value, Value::Missing)
    }

    fn elements(elements: Vec<Self>) -> Self {
        let names: Vec<&str> = elements.iter().take(3).map(|element| element.name.as_str()).collect();
        Self {
            name: format!("[{}]", names.join(", ")),
            effects: elements.iter().flat_map(|element| element.effects.clone()).collect(),
            value: Value::List(elements.into_iter().map(|element| element.value).collect()),
        }
    }

    fn missing() -> Self {
        Self { name: "missing".to_owned(), value: Value::Missing, effects: vec![Effect::Wrong] }
    }
}

impl Value {
    /// The value as JSON, or nothing where the key is left out.
    pub fn json(&self, random: &mut Random) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Json(json) => Some(json.clone()),
            Self::Text(text) => Some(quote(text, random)),
            Self::List(elements) => {
                let elements: Vec<String> = elements.iter().filter_map(|element| element.json(random)).collect();
                Some(format!("[{}]", elements.join(",")))
            }
        }
    }
}

fn strings(limit: usize) -> Vec<Field> {
    let mut fields = elements(limit);
    fields.push(Field::missing());
    fields
}

/// What a required string can be, and an element of the stack.
fn elements(limit: usize) -> Vec<Field> {
    let mut fields: Vec<Field> =
        TEXTS.iter().filter(|text| text.chars().count() <= limit).map(|text| Field::good(text)).collect();
    for character in ["a", "é", "語", "😀", "\u{301}", " ", "\\", "\"", "\u{7}"] {
        fields.push(Field::text(character.repeat(limit), Effect::Good));
        fields.push(Field::text(character.repeat(limit + 1), Effect::Wrong));
    }
    fields.push(Field::text("e\u{301}".repeat(limit / 2), Effect::Good));
    fields.push(Field::text(format!("{}e", "e\u{301}".repeat(limit / 2)), Effect::Wrong));
    fields.push(Field::text("a".repeat(4_000), Effect::Wrong));
    for text in ["\0", "a\0", "\0a", "a\0b"] {
        fields.push(Field::text(text, Effect::Wrong));
    }
    fields.push(Field::json("null", Effect::Null));
    fields.extend(NOT_STRINGS.iter().map(|json| Field::json(*json, Effect::Mistyped)));
    fields.extend([130, 3_000].map(|depth| Field::json(nested(depth), Effect::Mistyped)));
    fields
}

fn dobs() -> Vec<Field> {
    let mut fields: Vec<Field> = DATES.iter().map(|date| Field::good(date)).collect();
    fields.extend(NOT_DATES.iter().map(|text| Field::text(*text, Effect::Mistyped)));
    fields.extend(NOT_STRINGS.iter().map(|json| Field::json(*json, Effect::Mistyped)));
    fields.push(Field::json("null", Effect::Null));
    fields.push(Field::missing());
    fields
}

fn stacks() -> Vec<Field> {
    let mut fields: Vec<Field> =
        elements(STACK_ELEMENT_LIMIT).into_iter().map(|element| Field::elements(vec![element])).collect();
    let of = |json: &str, effects: &[Effect]| Field { effects: effects.to_vec(), ..Field::json(json, Effect::Good) };
    fields.push(of("null", &[]));
    fields.push(of("[]", &[Effect::Wrong]));
    fields.push(of("[ ]", &[Effect::Wrong]));
    fields.push(of("[null,1]", &[Effect::Null, Effect::Mistyped]));
    fields.push(of("[1,null]", &[Effect::Mistyped, Effect::Null]));
    fields.push(of(r#"["PHP",null]"#, &[Effect::Good, Effect::Null]));
    fields.push(of(r#"[1,"PHP"]"#, &[Effect::Mistyped, Effect::Good]));
    fields.push(of(r#"["PHP",{}]"#, &[Effect::Good, Effect::Mistyped]));
    fields.push(Field::elements(vec![
        Field::text("a".repeat(STACK_ELEMENT_LIMIT + 1), Effect::Wrong),
        Field::json("1", Effect::Mistyped),
    ]));
    fields
        .push(Field::elements(vec![Field::good("a"), Field::text("a".repeat(STACK_ELEMENT_LIMIT + 1), Effect::Wrong)]));
    fields.push(Field::list(&["a", "a", "", "A"]));
    fields.push(Field::list(&["C#"; 1_000]));
    fields.extend(NOT_STACKS.iter().map(|json| Field::json(*json, Effect::Mistyped)));
    fields.push(Field { effects: Vec::new(), ..Field::missing() });
    fields
}

/// An array in an array in an array.
pub fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn shown(text: &str) -> String {
    let length = text.chars().count();
    let start: String = text.chars().take(SHOWN).collect();
    match length {
        0..=SHOWN => format!("{start:?}"),
        _ => format!("{start:?}... ({length} characters)"),
    }
}

fn push_code_units(json: &mut String, character: char, random: &mut Random) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        json.push_str(&if random.once_in(2) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") });
    }
}

fn push_short(json: &mut String, character: char, random: &mut Random) {
    match character {
        '"' => json.push_str("\\\""),
        '\\' => json.push_str("\\\\"),
        '/' if random.once_in(2) => json.push_str("\\/"),
        '\u{8}' => json.push_str("\\b"),
        '\t' => json.push_str("\\t"),
        '\n' => json.push_str("\\n"),
        '\u{c}' => json.push_str("\\f"),
        '\r' => json.push_str("\\r"),
        '\0'..='\u{1f}' => push_code_units(json, character, random),
        _ => json.push(character),
    }
}

const SHOWN: usize = 32;

/// Text that any field may hold, as long as it is short enough.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\u{3000}",
    "José Conceição",
    "JOSÉ CONCEIÇÃO",
    "Jose\u{301}",
    "straße",
    "STRASSE",
    "ẞ",
    "İstanbul",
    "ıI",
    "ΣΊΣΥΦΟΣ ς",
    "ﬁn",
    "日本語",
    "한국어",
    "العربية",
    "हिन्दी",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "🇧🇷",
    "𝔘𝔫𝔦",
    "\u{10ffff}",
    "\u{ffff}",
    "\u{feff}mark",
    "\u{202e}right to left",
    "a\u{200b}b",
    "\u{1}\u{8}\t\n\u{c}\r\u{1f}\u{7f}\u{85}",
    "\u{2028}\u{2029}",
    "%",
    "_",
    "\\",
    "%_%\\%",
    "100% a_b",
    "\"quoted\"",
    "'; DROP TABLE users; --",
    "back\\slash/slash",
    "\\u0000",
    "{a,b}",
    "NULL",
    "null",
    "\\N",
    "{}",
    "a,b",
    "$1 ${jndi} #{payload}",
    "<b>&amp;</b>",
    "+ %20 %00",
];

/// JSON where a string is due: 400.
const NOT_STRINGS: &[&str] = &[
    "1",
    "0",
    "-0",
    "0.5",
    "1E400",
    "123456789012345678901234567890123456789012345678901234567890",
    "true",
    "false",
    "[]",
    "[null]",
    r#"["a"]"#,
    "{}",
    r#"{"a":null}"#,
];

/// JSON where the stack is due: 400.
const NOT_STACKS: &[&str] = &[r#""s""#, r#""""#, "1", "0.1", "true", "false", "{}", r#"{"0":"a"}"#];

const DATES: &[&str] = &[
    "0001-01-01",
    "9999-12-31",
    "2000-02-29",
    "2004-02-29",
    "2400-02-29",
    "1582-10-10",
    "1969-12-31",
    "2038-01-20",
    "2000-12-31",
];

/// Strings where a dob is due: 400.
const NOT_DATES: &[&str] = &[
    "",
    " ",
    "12-12-2000",
    "?!?!?",
    "10",
    "null",
    "2000-13-01",
    "2000-00-10",
    "2000-01-00",
    "2000-01-32",
    "2000-04-31",
    "2001-02-29",
    "1900-02-29",
    "2100-02-29",
    "2000-02-30",
    "2000-1-1",
    "2000-01-1",
    "200-01-01",
    " 2000-01-01",
    "2000-01-01 ",
    "2000-01-01\n",
    "2000-01-01\0",
    "20000101",
    "2000/01/01",
    "2000.01.01",
    "2000\u{2010}01\u{2010}01",
    "0000-01-01",
    "10000-01-01",
    "-001-01-01",
    "+200-01-01",
    "-2000-01-01",
    "+002000-01-01",
    "2000-01-01T00:00:00Z",
    "2000-W01-1",
    "2000-001",
    "1e03-01-01",
    "0x10-01-01",
    "２０００-０１-０１",
    "٢٠٠٠-٠١-٠١",
    "infinity",
    "today",
];
