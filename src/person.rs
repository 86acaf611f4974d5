//! What makes a person valid, and which of 400 and 422 an invalid one earns. No input or output happens here.
//!
//! The fields are walked in the order of [`Field::ALL`], a stack's elements in theirs. The first value of the wrong
//! type decides: 422 where it is null, else 400; a date that is no date counts as the wrong type. Only if nothing
//! decided do missing keys, lengths and U+0000 matter, and they are 422.

use validator::{Validate, ValidationError};

/// A field of a person, in the order in which the rules walk them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// At most 32 characters, unique among all people.
    Nickname,
    /// At most 100 characters.
    Fullname,
    /// Date of birth, `YYYY-MM-DD`.
    Dob,
    /// Nothing, or a list of strings.
    Stack,
}

impl Field {
    /// Every field in order.
    pub const ALL: [Field; 4] = [Field::Nickname, Field::Fullname, Field::Dob, Field::Stack];
}

/// A JSON value as far as the rules look at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// The key was not there.
    #[default]
    Missing,
    /// JSON `null`.
    Null,
    /// A string.
    Text(&'a str),
    /// An array.
    List(Vec<Value<'a>>),
    /// A number, a boolean, an object, or an array inside an array.
    Other,
}

/// What a body said of a person, not yet judged; indexed by [`Field`].
#[derive(Clone, Debug, Default)]
pub struct Draft<'a>(pub [Value<'a>; 4]);

impl<'a> Draft<'a> {
    fn take(&mut self, field: Field) -> Value<'a> {
        std::mem::take(&mut self.0[field as usize])
    }
}

/// A person that may be stored.
#[derive(Debug, PartialEq, Validate)]
pub struct Person<'a> {
    /// Unique among all people, byte for byte.
    #[validate(length(max = 32, message = "is longer than 32 characters"), custom(function = storable))]
    pub nickname: &'a str,
    /// Any text.
    #[validate(length(max = 100, message = "is longer than 100 characters"), custom(function = storable))]
    pub fullname: &'a str,
    /// A calendar date, `YYYY-MM-DD`.
    pub dob: &'a str,
    /// Names of technologies; never empty.
    #[validate(length(min = 1, message = "is empty"), custom(function = elements))]
    pub stack: Option<Vec<&'a str>>,
}

/// Why a draft is no person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The value has the wrong type: 400 instead of 422.
    pub wrong_type: bool,
    /// The field at fault.
    pub field: Field,
    /// What is wrong with it, to be read after the field's name.
    pub reason: String,
}

/// Judges a draft.
///
/// # Errors
///
/// [`Invalid`] names the field that decided.
pub fn judge<'a>(mut draft: Draft<'a>) -> Result<Person<'a>, Invalid> {
    let nickname = text(draft.take(Field::Nickname), Field::Nickname)?;
    let fullname = text(draft.take(Field::Fullname), Field::Fullname)?;
    let dob = date(draft.take(Field::Dob))?;
    let stack = list(draft.take(Field::Stack))?;

    let missing = |field| unprocessable(field, "is missing");
    let person = Person {
        nickname: nickname.ok_or_else(|| missing(Field::Nickname))?,
        fullname: fullname.ok_or_else(|| missing(Field::Fullname))?,
        dob: dob.ok_or_else(|| missing(Field::Dob))?,
        stack,
    };
    person.validate().map_err(|errors| first(&errors))?;
    Ok(person)
}

fn text(value: Value<'_>, field: Field) -> Result<Option<&str>, Invalid> {
    match value {
        Value::Text(text) => Ok(Some(text)),
        Value::Missing => Ok(None),
        Value::Null => Err(unprocessable(field, "is null")),
        Value::List(_) | Value::Other => Err(wrong_type(field, "is not a string")),
    }
}

fn date(value: Value<'_>) -> Result<Option<&str>, Invalid> {
    let date = text(value, Field::Dob)?;
    if date.is_some_and(|date| !is_date(date)) {
        return Err(wrong_type(Field::Dob, "is not a calendar date written YYYY-MM-DD"));
    }
    Ok(date)
}

fn list(value: Value<'_>) -> Result<Option<Vec<&str>>, Invalid> {
    let elements = match value {
        Value::Missing | Value::Null => return Ok(None),
        Value::List(elements) => elements,
        Value::Text(_) | Value::Other => return Err(wrong_type(Field::Stack, "is not a list")),
    };
    let element = |value| match value {
        Value::Text(text) => Ok(text),
        Value::Null | Value::Missing => Err(unprocessable(Field::Stack, "has an element that is null")),
        Value::List(_) | Value::Other => Err(wrong_type(Field::Stack, "has an element that is not a string")),
    };
    elements.into_iter().map(element).collect::<Result<_, _>>().map(Some)
}

/// Whether `text` is a day of the proleptic Gregorian calendar, years 0001 to 9999, written `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return false;
    };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0u32, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
    };
    let (Some(year), Some(month), Some(day)) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2])) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    year >= 1 && (1..=days).contains(&day)
}

/// PostgreSQL's `text` holds every character but U+0000.
fn storable(text: &str) -> Result<(), ValidationError> {
    if text.contains('\0') { Err(flaw("has the character U+0000")) } else { Ok(()) }
}

fn elements(stack: &Vec<&str>) -> Result<(), ValidationError> {
    for element in stack {
        if element.chars().nth(32).is_some() {
            return Err(flaw("has an element longer than 32 characters"));
        }
        storable(element).map_err(|_| flaw("has an element with the character U+0000"))?;
    }
    Ok(())
}

fn flaw(message: &'static str) -> ValidationError {
    ValidationError::new("flaw").with_message(message.into())
}

fn first(errors: &validator::ValidationErrors) -> Invalid {
    const NAMES: [(&str, Field); 4] =
        [("nickname", Field::Nickname), ("fullname", Field::Fullname), ("dob", Field::Dob), ("stack", Field::Stack)];
    let errors = errors.field_errors();
    let (field, flaws) = NAMES.into_iter().find_map(|(name, field)| Some((field, errors.get(name)?))).unzip();
    let reason = flaws.and_then(|flaws| flaws.first()?.message.as_deref()).unwrap_or("is not valid");
    unprocessable(field.unwrap_or(Field::Nickname), reason)
}

fn wrong_type(field: Field, reason: &str) -> Invalid {
    Invalid { wrong_type: true, field, reason: reason.into() }
}

fn unprocessable(field: Field, reason: &str) -> Invalid {
    Invalid { wrong_type: false, field, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft<'a>(nickname: Value<'a>, fullname: Value<'a>, dob: Value<'a>, stack: Value<'a>) -> Draft<'a> {
        Draft([nickname, fullname, dob, stack])
    }

    fn outcome(draft: Draft<'_>) -> Option<(bool, Field)> {
        judge(draft).err().map(|invalid| (invalid.wrong_type, invalid.field))
    }

    use Value::{List, Missing, Null, Other, Text};
    const DAY: &str = "2000-01-01";

    #[test]
    fn the_first_wrong_type_decides_and_null_is_milder() {
        let long = "x".repeat(33);
        assert_eq!(outcome(draft(Null, Other, Text(DAY), Missing)), Some((false, Field::Nickname)));
        assert_eq!(outcome(draft(Text(&long), Other, Text(DAY), Missing)), Some((true, Field::Fullname)));
        assert_eq!(outcome(draft(Missing, Other, Text(DAY), Missing)), Some((true, Field::Fullname)));
        assert_eq!(outcome(draft(Text(&long), Text(""), Text("10"), Missing)), Some((true, Field::Dob)));
        assert_eq!(outcome(draft(Text(""), Text(""), Null, Other)), Some((false, Field::Dob)));
        let elements = List(vec![Text(&long), Other]);
        assert_eq!(outcome(draft(Text(""), Text(""), Text(DAY), elements)), Some((true, Field::Stack)));
        assert_eq!(outcome(draft(Text(""), Text(""), Text(DAY), List(vec![Null, Other]))), Some((false, Field::Stack)));
    }

    #[test]
    fn lengths_count_characters_not_bytes() {
        let emoji = "🥊".repeat(32);
        assert_eq!(outcome(draft(Text(&emoji), Text(""), Text(DAY), Null)), None);
        let emoji = "🥊".repeat(33);
        assert_eq!(outcome(draft(Text(&emoji), Text(""), Text(DAY), Null)), Some((false, Field::Nickname)));
        assert_eq!(
            outcome(draft(Text(""), Text(""), Text(DAY), List(vec![Text(&emoji)]))),
            Some((false, Field::Stack))
        );
        assert_eq!(outcome(draft(Text(""), Text(""), Text(DAY), List(vec![]))), Some((false, Field::Stack)));
    }

    #[test]
    fn the_first_field_that_fails_is_named() {
        let long = "x".repeat(101);
        let invalid = judge(draft(Text(&long), Text(&long), Text(DAY), Missing)).unwrap_err();
        assert_eq!((invalid.field, invalid.reason.as_str()), (Field::Nickname, "is longer than 32 characters"));
        let invalid = judge(draft(Text("a\0"), Text(&long), Text(DAY), Missing)).unwrap_err();
        assert_eq!((invalid.field, invalid.reason.as_str()), (Field::Nickname, "has the character U+0000"));
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        for good in ["0001-01-01", "9999-12-31", "2000-02-29", "2024-02-29", "1999-04-30"] {
            assert!(is_date(good), "{good}");
        }
        for bad in
            ["", "0000-01-01", "1900-02-29", "2001-02-29", "2000-13-01", "2000-00-01", "2000-01-00", "1999-04-31"]
        {
            assert!(!is_date(bad), "{bad}");
        }
        for bad in [
            " 2000-01-01",
            "2000-1-1",
            "20000101",
            "2000-01-01T00:00:00Z",
            "２０００-01-01",
            "+200-01-01",
            "2000/01/01",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }
}
