//! What surrounds the fields of a create: members that mean nothing, bytes before and after, what is not JSON.

use super::field::nested;
use crate::load::vocabulary::Vocabulary;

/// A change to the body around the four fields.
#[derive(Clone, Debug, Default)]
pub struct Twist {
    pub name: String,
    /// Goes before the fields: `"key":value`.
    pub member: Option<Vec<u8>>,
    /// The field whose key the member has, so that the field itself, which follows, wins.
    pub copy_of: Option<usize>,
    pub prefix: &'static [u8],
    pub suffix: &'static [u8],
    /// Bytes that the body has at least; spaces at its end make them up.
    pub size: Option<usize>,
    /// Whether the body is no longer one JSON object.
    pub malformed: bool,
}

/// Every twist there is.
pub fn variants(vocabulary: Vocabulary) -> Vec<Twist> {
    let mut twists = ignored_members(vocabulary);
    for key in ["x", vocabulary.person_keys()[0]] {
        for (name, value) in NOT_JSON {
            twists.push(Twist { malformed: true, ..member(key, name, value) });
        }
    }
    for (name, prefix, suffix) in WRAPS {
        twists.push(Twist { name: format!("body {name}"), prefix, suffix, malformed: true, ..Twist::default() });
    }
    twists.push(Twist { name: "body in space".to_owned(), prefix: b"\r\n\t ", suffix: b" \n", ..Twist::default() });
    for size in [16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 20_000] {
        twists.push(Twist { name: format!("body of {size} bytes"), size: Some(size), ..Twist::default() });
    }
    twists
}

/// Unknown keys, and earlier copies of known ones.
fn ignored_members(vocabulary: Vocabulary) -> Vec<Twist> {
    let other = match vocabulary {
        Vocabulary::Users => Vocabulary::Pessoas,
        Vocabulary::Pessoas => Vocabulary::Users,
    };
    let mut values: Vec<(String, String)> =
        IGNORED.iter().map(|json| ((*json).to_owned(), (*json).to_owned())).collect();
    values.extend(DEPTHS.iter().map(|depth| (format!("{depth} arrays deep"), nested(*depth))));
    values.push(("a number of 10,000 digits".to_owned(), "7".repeat(10_000)));
    values.push(("a fraction of 10,000 digits".to_owned(), format!("0.{}e-9999", "7".repeat(10_000))));
    values.push(("a string of 10,000 characters".to_owned(), format!("\"{}\"", "é".repeat(5_000))));

    let mut twists = Vec::new();
    for (name, value) in &values {
        twists.push(member("x", name, value.as_bytes()));
        for (at, key) in vocabulary.person_keys().into_iter().enumerate() {
            twists.push(Twist { copy_of: Some(at), ..member(key, name, value.as_bytes()) });
        }
    }
    for key in UNKNOWN_KEYS.iter().copied().chain(other.person_keys().into_iter().take(3)) {
        twists.push(member(key, "\"y\"", b"\"y\""));
    }
    twists
}

fn member(key: &str, name: &str, value: &[u8]) -> Twist {
    let mut member = format!("\"{key}\":").into_bytes();
    member.extend(value);
    Twist { name: format!("first \"{key}\": {name}"), member: Some(member), ..Twist::default() }
}

/// JSON that an ignored member may hold; also what an earlier copy of a key may.
const IGNORED: &[&str] = &[
    "null",
    "true",
    "1",
    "-0.0",
    "1e5",
    "1E+400",
    "-1e-400",
    "340282366920938463463374607431768211456",
    "[]",
    "{}",
    r#""""#,
    r#""\u0000""#,
    r#""\ud83d\ude00""#,
    r#""\"\\\/\b\f\n\r\t""#,
    r#"{"nickname":1,"apelido":[null]}"#,
    r#"{"a":1,"a":2}"#,
    r#"[1,"a",null,{"b":[[]]}]"#,
];

/// Keys that mean nothing to either vocabulary.
const UNKNOWN_KEYS: &[&str] =
    &["", "x", "id", "ID", "Nickname", "nickname ", "stack[]", "__proto__", "çã", "😀", "\\u0000", "a\\\"b"];

const DEPTHS: &[usize] = &[2, 64, 127, 128, 129, 512, 1_024, 5_000];

/// What is not JSON where a value is due: 400, whatever the key.
const NOT_JSON: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("NaN", b"NaN"),
    ("Infinity", b"-Infinity"),
    ("undefined", b"undefined"),
    ("True", b"True"),
    ("half a literal", b"tru"),
    ("minus", b"-"),
    ("plus", b"+1"),
    ("leading zero", b"01"),
    ("no digit before the point", b".5"),
    ("no digit after the point", b"1."),
    ("no exponent", b"1e"),
    ("hexadecimal", b"0x10"),
    ("single quotes", b"'a'"),
    ("comment", b"1/*a*/"),
    ("comma in array", b"[1,]"),
    ("comma in object", br#"{"a":1,}"#),
    ("open array", b"[1"),
    ("open object", br#"{"a":1"#),
    ("open string", br#""a"#),
    ("key without quotes", b"{a:1}"),
    ("no colon", br#"{"a" 1}"#),
    ("two values", b"1 2"),
    ("unknown escape", br#""\x41""#),
    ("short unicode escape", br#""\u12""#),
    ("bad unicode escape", br#""\u12G4""#),
    ("raw NUL", b"\"\0\""),
    ("raw line end", b"\"a\nb\""),
    ("raw tab", b"\"a\tb\""),
    ("form feed as space", b"\x0c1"),
    ("no-break space as space", b"\xc2\xa01"),
    ("lone high surrogate", br#""\ud83d""#),
    ("lone low surrogate", br#""a\ude00""#),
    ("swapped surrogates", br#""\ude00\ud83d""#),
    ("high surrogate and letter", br#""\uD83D\u0041""#),
    ("lone surrogate in a key", br#"{"\ud83d":1}"#),
    ("stray byte", b"\"\xff\""),
    ("stray continuation", b"\"\x80\""),
    ("cut sequence", b"\"\xc3\""),
    ("overlong slash", b"\"\xc0\xaf\""),
    ("encoded surrogate", b"\"\xed\xa0\x80\""),
    ("past U+10FFFF", b"\"\xf4\x90\x80\x80\""),
    ("Latin-1", b"\"Jos\xe9\""),
];

/// What makes a body of an object something else: before it, after it.
const WRAPS: &[(&str, &[u8], &[u8])] = &[
    ("with byte order mark", b"\xef\xbb\xbf", b""),
    ("after a no-break space", b"\xc2\xa0", b""),
    ("after NUL", b"\0", b""),
    ("after a comma", b",", b""),
    ("after a comment", b"/**/", b""),
    ("after an XSSI guard", b")]}'\n", b""),
    ("in an array", b"[", b"]"),
    ("in braces", b"{", b"}"),
    ("in quotes", b"\"", b"\""),
    ("then a letter", b"", b"x"),
    ("then a comma", b"", b","),
    ("then a brace", b"", b"}"),
    ("then a bracket", b"", b"]"),
    ("then an object", b"", b"{}"),
    ("then null", b"", b" null"),
    ("then a comment", b"", b"//"),
    ("then NUL", b"", b"\0"),
    ("then a stray byte", b"", b"\xff"),
    ("then a byte order mark", b"", b"\xef\xbb\xbf"),
];

/// Whole bodies that are not one JSON object.
pub const NOT_OBJECTS: &[(&str, &[u8])] = &[
    ("empty body", b""),
    ("blank body", b" \r\n\t"),
    ("NaN", b"NaN"),
    ("[]", b"[]"),
    ("null", b"null"),
    ("true", b"true"),
    ("string", br#""x""#),
    ("number", b"1"),
    ("[{}]", b"[{}]"),
    ("two objects", b"{}{}"),
    ("open brace", b"{"),
    ("closing brace", b"}"),
    ("single quotes", b"{'a':1}"),
    ("form", b"nickname=a&fullname=b&dob=2000-01-01"),
    ("XML", b"<nickname>a</nickname>"),
    ("NUL", b"\0"),
    ("stray byte", b"\xff"),
    ("UTF-16", b"\xff\xfe{\0}\0"),
];
