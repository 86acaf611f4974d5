//! The same comparisons over what chance makes, most of it nearly right.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::compare;

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\"",
    "\\",
    "null",
    "true",
    "false",
    "nul",
    "NaN",
    "\"nickname\":",
    "\"fullname\":",
    "\"dob\":",
    "\"stack\":",
    "\"apelido\":",
    "\"nome\":",
    "\"nascimento\":",
    "\"x\":",
    "\"n\"",
    "\"2000-01-01\"",
    "\"2000-02-30\"",
    "[\"a\"]",
    "[]",
    "{}",
    "0",
    "-",
    "1",
    "1.5",
    "1e5",
    "-0",
    "01",
    "1e999",
    "1.",
    ".5",
    "1e",
    "9007199254740993",
    "2.2250738585072011e-308",
    "\\u0000",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\ude00",
    "\\u00",
    "\\n",
    "\\/",
    "\\x",
    "é",
    "🥊",
    "\u{feff}",
    "\u{7f}",
    "\u{1f}",
    "\0",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
];

const OF_ADDRESSES: &[&str] = &[
    "/",
    "//",
    "users",
    "pessoas",
    "users-count",
    "contagem-pessoas",
    "health",
    "live",
    "ready",
    "metrics",
    "%2f",
    "%2F",
    "%75",
    "%73ers",
    "-",
    "%2D",
    "00000000-0000-4000-8000-000000000000",
    "FFFFFFFF-ffff-4fff-8fff-ffffffffffff",
    "{00000000-0000-4000-8000-000000000000}",
    "00000000000040008000000000000000",
    "q",
    "t",
    "=",
    "&",
    "+",
    "%",
    "%2",
    "%zz",
    "%00",
    "%ff",
    "%C3%A9",
    "%ED%A0%80",
    "%c3",
    "é",
    "?",
    "#",
    ";",
    "a",
    ".",
    "..",
    "%71",
    " ",
    "%20",
    "%26",
    "%3D",
];

fn pieces(of: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(select(of), 0..most).prop_map(|pieces| pieces.concat())
}

/// A whole person, one of whose bytes may be another one, that begins anywhere in what a vector instruction reads at once.
fn nearly_a_person() -> impl Strategy<Value = Vec<u8>> {
    let text = || prop_oneof![any::<String>(), pieces(PIECES, 6), "[a-z\\\\\"]{0,40}"];
    let person = (0..70_usize, text(), text(), pieces(PIECES, 4)).prop_map(|(space, nickname, fullname, other)| {
        let quoted = [nickname, fullname].map(|text| serde_json::to_string(&text).unwrap());
        let [nickname, fullname] = quoted;
        format!(
            "{}{{\"nickname\":{nickname},\"x\":{other},\"fullname\":{fullname},\"dob\":\"2000-01-01\"}}",
            " ".repeat(space)
        )
    });
    (person, any::<prop::sample::Index>(), any::<Option<u8>>()).prop_map(|(person, at, byte)| {
        let mut bytes = person.into_bytes();
        if let Some(byte) = byte {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_of_any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        compare::body(&bytes);
    }

    #[test]
    fn bodies_of_pieces(text in pieces(PIECES, 24)) {
        compare::body(text.as_bytes());
        compare::body(format!("{{{text}}}").as_bytes());
    }

    #[test]
    fn bodies_that_are_nearly_people(bytes in nearly_a_person()) {
        compare::body(&bytes);
    }

    #[test]
    fn dates(year in 0..10_001, month in 0..15, day in 0..34) {
        let date = format!("{year:04}-{month:02}-{day:02}");
        compare::body(format!(r#"{{"nickname":"n","fullname":"f","dob":"{date}"}}"#).as_bytes());
    }

    #[test]
    fn queries(text in prop_oneof![any::<String>(), pieces(OF_ADDRESSES, 12)]) {
        compare::query(text.as_bytes());
        compare::query(format!("q={text}").as_bytes());
    }

    #[test]
    fn paths(text in prop_oneof![any::<String>(), pieces(OF_ADDRESSES, 6)]) {
        compare::path(text.as_bytes());
        compare::path(format!("/{text}").as_bytes());
        compare::path(format!("/users/{text}").as_bytes());
    }
}

#[test]
fn the_last_days_of_each_february() {
    for year in 0..2_402 {
        for day in 28..=30 {
            compare::body(format!(r#"{{"nickname":"n","fullname":"f","dob":"{year:04}-02-{day}"}}"#).as_bytes());
        }
    }
}

/// Escapes, quotation marks, half pairs and control characters at every place of the blocks that are read at once.
#[test]
fn oddities_at_every_place_of_a_block() {
    let oddities = [
        "\\\"",
        "\\\\",
        "\\",
        "\"",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\ude00\\ud83d",
        "\\u00e9",
        "\u{1f}",
        "é",
        "🥊",
        "\\u12g4",
    ];
    for oddity in oddities {
        for before in 0..130 {
            for behind in [0, 1, 40] {
                let (before, behind) = ("a".repeat(before), "b".repeat(behind));
                compare::body(
                    format!(r#"{{"x":"{before}{oddity}{behind}","nickname":"n","fullname":"f","dob":"2000-01-01"}}"#)
                        .as_bytes(),
                );
                compare::body(
                    format!(r#"{{"fullname":"{oddity}{behind}","x":"{before}","nickname":"n","dob":"2000-01-01"}}"#)
                        .as_bytes(),
                );
            }
        }
    }
}
