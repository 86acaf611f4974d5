//! Who may be stored, and the status of who may not.

use super::json::Value;

/// A person who may be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Nickname, fullname, date of birth.
    pub texts: [String; 3],
    pub stack: Option<Vec<String>>,
}

/// Reads a create's body, whose keys are those of nickname, fullname, date of birth and stack; else 400 or 422.
pub fn read(body: &[u8], keys: [&str; 4]) -> Result<Person, u16> {
    let Some(Value::Object(members)) = Value::read(body) else { return Err(400) };
    let last = |key: &str| members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value);
    let [nickname, fullname, dob, stack] = keys.map(last);

    // Every value that there is, in order, as what it decides by its type alone.
    let mut decisions = vec![text(nickname), text(fullname), date(dob)];
    match stack {
        None | Some(Value::Null) => {}
        Some(Value::Array(elements)) => decisions.extend(elements.iter().map(|element| text(Some(element)))),
        Some(_) => decisions.push(Some(400)),
    }
    if let Some(status) = decisions.into_iter().flatten().next() {
        return Err(status);
    }
    let stack = match stack {
        Some(Value::Array(elements)) => {
            Some(elements.iter().map(|element| short(Some(element), 32)).collect::<Result<Vec<_>, _>>()?)
        }
        _ => None,
    };
    if stack.as_ref().is_some_and(Vec::is_empty) {
        return Err(422);
    }
    Ok(Person { texts: [short(nickname, 32)?, short(fullname, 100)?, short(dob, 10)?], stack })
}

/// The status that a value decides which must be a string, if it decides.
fn text(value: Option<&Value>) -> Option<u16> {
    match value {
        None | Some(Value::Text(_)) => None,
        Some(Value::Null) => Some(422),
        Some(_) => Some(400),
    }
}

fn date(value: Option<&Value>) -> Option<u16> {
    match value {
        Some(Value::Text(text)) if !is_date(text) => Some(400),
        other => text(other),
    }
}

fn short(value: Option<&Value>, most: usize) -> Result<String, u16> {
    match value {
        Some(Value::Text(text)) if text.chars().count() <= most && !text.contains('\0') => Ok(text.clone()),
        _ => Err(422),
    }
}

/// Counts the days of the calendar until it comes by.
fn is_date(text: &str) -> bool {
    let has_shape = text.len() == 10
        && text.char_indices().all(|(at, c)| if at == 4 || at == 7 { c == '-' } else { c.is_ascii_digit() });
    if !has_shape {
        return false;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().unwrap_or(0);
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let is_leap_year = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let february = if is_leap_year { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    year != 0 && month != 0 && day != 0 && months.get(month as usize - 1).is_some_and(|days| day <= *days)
}
