//! JSON in and out; the only user of simd-json.

use std::cell::RefCell;
use std::mem;

use bytes::Bytes;
use simd_json::{Buffers, ErrorType, Node, StaticNode, Tape};
use uuid::Uuid;

use crate::person::{Draft, Field, Value};
use crate::vocabulary::Vocabulary;

/// The largest body that is read, in bytes.
pub const BODY_LIMIT: usize = 16 * 1024;

/// The body is not a JSON object in UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// A body, and a copy to parse: simd-json does it in place, and may have to begin again.
pub struct Body {
    received: Bytes,
    parsed: Vec<u8>,
    /// Empty for all but a body with a number that no double can hold.
    parsed_again: Vec<u8>,
}

impl From<Bytes> for Body {
    fn from(received: Bytes) -> Self {
        Self { parsed: received.to_vec(), parsed_again: Vec::new(), received }
    }
}

/// Reads a person's draft out of a body.
///
/// Unknown keys are skipped, and the last of a duplicated key wins.
///
/// # Errors
///
/// [`Malformed`] for anything that is not one JSON object.
pub fn read_draft<'a>(body: &'a mut Body, vocabulary: &Vocabulary) -> Result<Draft<'a>, Malformed> {
    let Body { received, parsed, parsed_again } = body;
    let tape = match parse(parsed) {
        // Well-formed JSON may hold numbers that no double can: they are of the wrong type, or under an unknown key.
        Err(error) if *error.error() == ErrorType::InvalidNumber => {
            *parsed_again = received.to_vec();
            zero_numbers(parsed_again);
            parse(parsed_again)
        }
        outcome => outcome,
    };
    let tape = tape.map_err(|_| Malformed)?;
    let mut nodes = Nodes(&tape.0);
    let Some(Node::Object { len, .. }) = nodes.next() else {
        return Err(Malformed);
    };
    let mut draft = Draft::default();
    for _ in 0..len {
        let Some(Node::String(key)) = nodes.next() else {
            return Err(Malformed);
        };
        match vocabulary.field(key) {
            Some(field) => draft.0[field as usize] = nodes.value(),
            None => nodes.skip(),
        }
    }
    Ok(draft)
}

fn parse(bytes: &mut [u8]) -> Result<Tape<'_>, simd_json::Error> {
    thread_local! {
        // As deep as a body can be: nesting under an unknown key is nobody's fault.
        static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::with_max_depth(BODY_LIMIT, BODY_LIMIT));
    }
    let mut tape = Tape(Vec::new());
    BUFFERS.with_borrow_mut(|buffers| simd_json::fill_tape(bytes, buffers, &mut tape))?;
    Ok(tape)
}

/// Puts a zero and spaces in place of every number outside of strings, if it is one by RFC 8259, section 6.
fn zero_numbers(json: &mut [u8]) {
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'"' => at += string_length(&json[at..]),
            b'-' | b'0'..=b'9' => {
                let length = json[at..].iter().take_while(|byte| b"+-.0123456789Ee".contains(byte)).count();
                let number = &mut json[at..at + length];
                if is_number(number) {
                    number.fill(b' ');
                    number[0] = b'0';
                }
                at += length;
            }
            _ => at += 1,
        }
    }
}

/// The length of the string that begins here, with both of its quotation marks as far as they are there.
fn string_length(json: &[u8]) -> usize {
    let mut at = 1;
    while at < json.len() {
        match json[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    let Some((b'e' | b'E', exponent)) = rest.split_first() else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

/// A walk over simd-json's tape: containers announce how many nodes they span.
struct Nodes<'t, 'a>(&'t [Node<'a>]);

impl<'a> Nodes<'_, 'a> {
    fn next(&mut self) -> Option<Node<'a>> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip(&mut self) {
        let nodes = match self.next() {
            Some(Node::Array { count, .. } | Node::Object { count, .. }) => count,
            _ => 0,
        };
        self.0 = self.0.get(nodes..).unwrap_or_default();
    }

    fn value(&mut self) -> Value<'a> {
        match self.0.first() {
            Some(Node::String(text)) => {
                self.skip();
                Value::Text(text)
            }
            Some(Node::Static(StaticNode::Null)) => {
                self.skip();
                Value::Null
            }
            Some(&Node::Array { len, .. }) => {
                self.next();
                Value::List((0..len).map(|_| self.element()).collect())
            }
            _ => {
                self.skip();
                Value::Other
            }
        }
    }

    fn element(&mut self) -> Value<'a> {
        if let Some(Node::Array { .. }) = self.0.first() {
            self.skip();
            return Value::Other;
        }
        self.value()
    }
}

/// A stored person, borrowed from wherever it was read.
pub struct Stored<'a> {
    /// Written hyphenated, in lower case.
    pub id: Uuid,
    /// As it was sent.
    pub nickname: &'a str,
    /// As it was sent.
    pub fullname: &'a str,
    /// `YYYY-MM-DD`.
    pub dob: &'a str,
    /// Another client of the table may have stored nulls in it.
    pub stack: Option<Vec<Option<&'a str>>>,
}

/// Appends a person's values as JSON, one directly behind the other in the order of [`Field::ALL`], and tells where each
/// ends in `out`. All texts are UTF-8; `write_stack` appends the stack.
pub fn write_values(out: &mut Vec<u8>, texts: [&[u8]; 3], write_stack: impl FnOnce(&mut Vec<u8>)) -> [usize; 4] {
    let [nickname, fullname, dob] = texts.map(|text| {
        write_text(out, text);
        out.len()
    });
    write_stack(out);
    [nickname, fullname, dob, out.len()]
}

/// Appends a stack: nothing as `null`, else what [`write_element`] makes of each element.
pub fn write_stack<'a>(out: &mut Vec<u8>, stack: Option<impl Iterator<Item = Option<&'a [u8]>>>) {
    match stack {
        None => out.extend_from_slice(b"null"),
        Some(elements) => write_elements(out, |out| elements.for_each(|element| write_element(out, element))),
    }
}

/// Appends an array of elements, given one that writes each with a comma before it.
pub fn write_elements(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    match out.get_mut(start) {
        Some(comma) => *comma = b'[',
        None => out.push(b'['),
    }
    out.push(b']');
}

/// Appends a comma and an element of a stack.
pub fn write_element(out: &mut Vec<u8>, element: Option<&[u8]>) {
    out.push(b',');
    match element {
        None => out.extend_from_slice(b"null"),
        Some(text) => write_text(out, text),
    }
}

/// Appends a person as compact JSON, given the values as [`write_values`] made them.
pub fn write_object(out: &mut Vec<u8>, id: Uuid, values: [&[u8]; 4], vocabulary: &Vocabulary) {
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    out.push(b'"');
    for (field, value) in Field::ALL.into_iter().zip(values) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(vocabulary.key(field).as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

/// Appends a JSON array of whatever `write` makes of each item.
pub fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Appends a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write_text(out, text.as_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    // Without a way out of the loop, many bytes are looked at in one step.
    if text.iter().fold(false, |any, byte| any | is_escaped(*byte)) {
        write_escaped(out, text);
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

/// RFC 8259 wants quotation mark, reverse solidus and U+0000 to U+001F escaped, nothing else.
fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut copied = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if !is_escaped(byte) {
            continue;
        }
        out.extend_from_slice(&bytes[mem::replace(&mut copied, index + 1)..index]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{ENGLISH, EVENT};

    fn read(body: &str) -> Result<String, Malformed> {
        let mut body = Body::from(Bytes::copy_from_slice(body.as_bytes()));
        read_draft(&mut body, &ENGLISH).map(|draft| format!("{:?}", draft.0))
    }

    #[test]
    fn a_draft_keeps_what_the_rules_look_at() {
        assert_eq!(
            read(
                r#"{"nickname":"a","x":{"nickname":[1,{"y":2}]},"fullname":null,"stack":["b",null,[1,[2]],{"z":1}],"dob":7}"#
            ),
            Ok(r#"[Text("a"), Null, Other, List([Text("b"), Null, Other, Other])]"#.into())
        );
    }

    #[test]
    fn the_last_of_a_duplicated_key_wins() {
        assert_eq!(
            read(r#"{"nickname":["a"],"nickname":1,"nickname":"b"}"#),
            Ok(r#"[Text("b"), Missing, Missing, Missing]"#.into())
        );
    }

    #[test]
    fn each_vocabulary_has_its_keys() {
        let mut body = Body::from(Bytes::from_static(br#"{"apelido":"a","nickname":"b"}"#));
        assert_eq!(read_draft(&mut body, &EVENT).unwrap().0[0], Value::Text("a"));
    }

    #[test]
    fn whatever_is_not_one_object_is_malformed() {
        for body in
            ["", " ", "[]", "null", "\"x\"", "1", "{", "{}x", "{}{}", "NaN", "{\"a\":NaN}", "{\"a\":1,}", "{'a':1}"]
        {
            assert_eq!(read(body), Err(Malformed), "{body}");
        }
        for body in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00x"}"#,
            r#"{"a":"\ud800\ud800"}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":01}",
            "\u{feff}{}",
        ] {
            assert_eq!(read(body), Err(Malformed), "{body}");
        }
        for body in [&b"{\"a\":\"\xff\"}"[..], b"{\"a\":\"\xed\xa0\x80\"}"] {
            assert_eq!(read_draft(&mut Bytes::from_static(body).into(), &ENGLISH).err(), Some(Malformed));
        }
    }

    #[test]
    fn what_unknown_keys_hold_does_not_matter() {
        for value in [
            "123456789012345678901234567890",
            "-1e-999",
            "-0",
            "1E+5",
            "\"\\u0000\"",
            "[[[[[[]]]]]]",
            &format!("{}{}", "[".repeat(8000), "]".repeat(8000)),
            "{}",
        ] {
            let body = format!(r#"{{"a":{value},"nickname":"n"}}"#);
            assert_eq!(read(&body), Ok(r#"[Text("n"), Missing, Missing, Missing]"#.into()), "{body}");
        }
    }

    #[test]
    fn numbers_beyond_a_double_are_numbers_all_the_same() {
        let long = "9".repeat(400);
        for number in ["1e999", "-1E+400", &long, &format!("{long}.5"), &format!("-1.5e{long}")] {
            let body = format!(r#"{{"a":"1e999\"","b":[{number}, 7],"nickname":"n\" 1e999"}}"#);
            assert_eq!(read(&body), Ok(r#"[Text("n\" 1e999"), Missing, Missing, Missing]"#.into()), "{number}");
            assert_eq!(read(&format!(r#"{{"nickname":{number}}}"#)), Ok("[Other, Missing, Missing, Missing]".into()));
        }
        for number in ["01e999", "1e999e1", "1.e999", "-e999", "1e", "1e999.5", "--1e999", "1e999\": \"", "+1e999"] {
            assert_eq!(read(&format!(r#"{{"a":1e999,"b":{number}}}"#)), Err(Malformed), "{number}");
        }
    }

    #[test]
    fn strings_are_escaped_as_rfc_8259_wants() {
        let mut out = Vec::new();
        write_string(&mut out, "a\"b\\c\n\r\t\u{1}\u{1f}\u{7f}é🥊</script>");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\u{7f}é🥊</script>\"");
    }

    #[test]
    fn a_person_is_compact_json() {
        let (mut values, mut out) = (Vec::new(), Vec::new());
        let stack = [Some(&b"a"[..]), None];
        let [a, b, c, d] =
            write_values(&mut values, [b"n", b"f", b"d"], |out| write_stack(out, Some(stack.into_iter())));
        write_object(&mut out, Uuid::nil(), [&values[..a], &values[a..b], &values[b..c], &values[c..d]], &EVENT);
        let expected = r#"{"id":"00000000-0000-0000-0000-000000000000","apelido":"n","nome":"f","nascimento":"d","stack":["a",null]}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
