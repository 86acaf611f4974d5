//! Where a path leads, and what a query asks for.

/// What is at a path.
#[derive(Debug, PartialEq)]
pub enum Place {
    Nowhere,
    /// The people, in the vocabulary with that word.
    People(&'static str),
    /// One of them, or nobody where what stands for the id is none.
    Person(&'static str, Option<u128>),
    Count,
    /// What an instance says of itself.
    OwnBusiness,
}

/// Where a path leads.
pub fn place(path: &str) -> Place {
    let Ok(path) = String::from_utf8(decoded(path)) else { return Place::Nowhere };
    let mut parts: Vec<&str> = path.split('/').collect();
    // A path begins with one slash, or with two.
    if parts.first() != Some(&"") || parts.len() < 2 {
        return Place::Nowhere;
    }
    parts.remove(0);
    if parts.first() == Some(&"") && parts.len() > 1 {
        parts.remove(0);
    }
    match parts.as_slice() {
        ["users"] => Place::People("users"),
        ["pessoas"] => Place::People("pessoas"),
        ["users", id] => Place::Person("users", number(id)),
        ["pessoas", id] => Place::Person("pessoas", number(id)),
        ["users-count" | "contagem-pessoas"] => Place::Count,
        ["health", "live" | "ready"] | ["metrics"] => Place::OwnBusiness,
        _ => Place::Nowhere,
    }
}

/// The number of a UUID in its one form with hyphens.
fn number(id: &str) -> Option<u128> {
    let groups: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let is_hexadecimal = groups.iter().all(|group| group.chars().all(|digit| digit.is_ascii_hexdigit()));
    (lengths == [8, 4, 4, 4, 12] && is_hexadecimal).then(|| u128::from_str_radix(&groups.concat(), 16).unwrap())
}

/// The term that a query has under a name; none where it is missing, empty or not UTF-8.
pub fn term(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let form = |text: &str| String::from_utf8(decoded(&text.replace('+', " "))).ok();
    let mut values = pairs.filter(|(key, _)| form(key).as_deref() == Some(name)).map(|(_, value)| value);
    form(values.next()?).filter(|term| !term.is_empty())
}

/// The bytes that a text with percent signs stands for; a sign that is none stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = text.as_bytes();
    while let [first, rest @ ..] = left {
        let escaped = match left {
            [b'%', high, low, ..] => char::from(*high).to_digit(16).zip(char::from(*low).to_digit(16)),
            _ => None,
        };
        left = match escaped {
            Some((high, low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap());
                &left[3..]
            }
            None => {
                bytes.push(*first);
                rest
            }
        };
    }
    bytes
}
