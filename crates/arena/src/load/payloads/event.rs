//! The event's own distribution of payloads and search terms, from a seed.
//!
//! The stream is part of the contract: a seed names a file. Both sequences draw from [`Random`] and take one step of it
//! per draw. People start at the seed, terms at the seed XOR [`TERMS_STREAM`], so that neither depends on how many of the
//! other are made. A row draws, in this order: whether the nickname is faulty, its length, its letters; the same for the
//! full name; whether the dob is faulty, then which fault, or year, month and day; whether the stack is faulty, then which
//! fault, or whether it is null, or how many names and each name.

use crate::load::payloads::random::Random;
use crate::load::vocabulary::Vocabulary;

/// Rows of a payload file in the event.
pub const ROWS: u64 = 100_000;
/// Rows of a file of search terms in the event.
pub const TERMS: u64 = 5_000;
/// Creates that the event's simulation sends.
pub const EVENT_CREATES: u64 = 54_635;
/// The first seed whose ceiling after [`EVENT_CREATES`] rows is 46,576, that of the event's own file.
pub const SEED: u64 = 233;

const TERMS_STREAM: u64 = 0x0074_6572_6d73;

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LETTERS_AND_SPACE: &[u8; 53] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ";

/// One field in so many is faulty.
const FAULT: u64 = 99;
const NULL_STACK: u64 = 14;

/// The event's list, which names C# twice.
const TECHNOLOGIES: [&str; 25] = [
    "Javascript",
    "Python",
    "Go",
    "Java",
    "Kotlin",
    "PHP",
    "C#",
    "Swift",
    "R",
    "Ruby",
    "C",
    "C++",
    "Matlab",
    "TypeScript",
    "Scala",
    "SQL",
    "HTML",
    "CSS",
    "NoSQL",
    "Rust",
    "Perl",
    "C#",
    "Clojure",
    "MySQL",
    "Postgres",
];

/// What the event sends as a faulty dob: JSON, encoded once more as a JSON string.
const FAULTY_DOBS: [&str; 4] = [r#""\"12-12-2000\"""#, r#""null""#, r#""10""#, r#""\"?!?!?\"""#];

const FAULTY_STACKS: [(&str, u16); 3] =
    [(r#"["1111111111111111111111111111111111111111"]"#, 422), (r#""string""#, 400), ("1", 400)];

/// One row of a payload file, and what is known of it because of how it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// ASCII letters only.
    pub nickname: String,
    /// ASCII letters and spaces only.
    pub fullname: String,
    /// JSON: where nothing is wrong with it, a string that is a date.
    pub dob: String,
    /// JSON: where nothing is wrong with it, null or a list of names, none with a quote or a backslash in it.
    pub stack: String,
    /// What a correct server answers, as long as nobody has the nickname: 201, 400 or 422.
    pub status: u16,
}

impl Person {
    /// The row as one line of JSON, spaced as the event's generator does.
    pub fn json(&self, vocabulary: Vocabulary) -> String {
        let Self { nickname, fullname, dob, stack, .. } = self;
        let [nickname_key, fullname_key, dob_key, stack_key] = vocabulary.person_keys();
        format!(
            r#"{{"{nickname_key}": "{nickname}", "{fullname_key}": "{fullname}", "{dob_key}": {dob}, "{stack_key}": {stack}}}"#
        )
    }
}

/// The rows that `seed` stands for, without end.
pub fn people(seed: u64) -> impl Iterator<Item = Person> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(move || person(&mut random))
}

/// The search terms that `seed` stands for, without end.
pub fn terms(seed: u64) -> impl Iterator<Item = String> {
    let mut random = Random::new(seed ^ TERMS_STREAM);
    std::iter::repeat_with(move || term(&mut random))
}

fn person(random: &mut Random) -> Person {
    let (nickname, nickname_status) = text(random, LETTERS, 32, 35);
    let (fullname, fullname_status) = text(random, LETTERS_AND_SPACE, 100, 120);
    let (dob, dob_status) = dob(random);
    let (stack, stack_status) = stack(random);
    // A value of the wrong kind outweighs one that is too long; nothing here is null where it must not be.
    let statuses = [nickname_status, fullname_status, dob_status, stack_status];
    let status = [400, 422].into_iter().find(|status| statuses.contains(status)).unwrap_or(201);
    Person { nickname, fullname, dob, stack, status }
}

fn text(random: &mut Random, alphabet: &[u8], longest: u64, too_long: u64) -> (String, u16) {
    if random.once_in(FAULT) {
        return (characters(random, alphabet, too_long), 422);
    }
    let length = random.between(1, longest);
    (characters(random, alphabet, length), 201)
}

fn dob(random: &mut Random) -> (String, u16) {
    if random.once_in(FAULT) {
        return ((*random.pick(&FAULTY_DOBS)).to_owned(), 400);
    }
    let year = random.between(1940, 2020);
    let month = random.between(1, 13);
    let day = random.between(1, 29);
    // From 1940 to 2020 every fourth year is a leap year; a day past 28 is at most 29.
    let exists = month <= 12 && (day <= 28 || month != 2 || year.is_multiple_of(4));
    (format!(r#""{year}-{month:02}-{day:02}""#), if exists { 201 } else { 400 })
}

fn stack(random: &mut Random) -> (String, u16) {
    if random.once_in(FAULT) {
        let (json, status) = *random.pick(&FAULTY_STACKS);
        return (json.to_owned(), status);
    }
    if random.once_in(NULL_STACK) {
        return ("null".to_owned(), 201);
    }
    let count = random.between(1, TECHNOLOGIES.len() as u64 + 1);
    let names: Vec<String> = (0..count).map(|_| format!(r#""{}""#, random.pick(&TECHNOLOGIES))).collect();
    (format!("[{}]", names.join(", ")), 201)
}

fn term(random: &mut Random) -> String {
    let length = random.between(1, 50);
    let term = characters(random, LETTERS_AND_SPACE, length);
    match term.trim() {
        "" => "x".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

fn characters(random: &mut Random, alphabet: &[u8], count: u64) -> String {
    (0..count).map(|_| char::from(*random.pick(alphabet))).collect()
}
