//! JSON by the grammar of RFC 8259, character by character. Numbers keep no value: no rule asks for one.

/// A JSON text.
#[derive(Debug, PartialEq)]
pub enum Value {
    Null,
    Boolean,
    Number,
    Text(String),
    Array(Vec<Value>),
    /// Members in their order, duplicates too.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The value, if the bytes are one in UTF-8 and nothing else. A string with half a surrogate pair is none.
    pub fn read(bytes: &[u8]) -> Option<Value> {
        let mut reader = Reader { left: std::str::from_utf8(bytes).ok()?.chars().collect() };
        reader.left.reverse();
        let value = reader.value()?;
        reader.left.is_empty().then_some(value)
    }
}

/// A container that is not closed yet.
enum Open {
    Array(Vec<Value>),
    Object(Vec<(String, Value)>, String),
}

struct Reader {
    /// What is to come, the next character last.
    left: Vec<char>,
}

impl Reader {
    /// One value with white space around it. Without recursion: a text may be as deep as it is long.
    fn value(&mut self) -> Option<Value> {
        let mut open = Vec::new();
        loop {
            let mut value = match self.begin(&mut open)? {
                Some(value) => value,
                None => continue,
            };
            loop {
                self.space();
                match open.pop() {
                    None => return Some(value),
                    Some(Open::Array(mut elements)) => {
                        elements.push(value);
                        match self.next()? {
                            ',' => {
                                open.push(Open::Array(elements));
                                break;
                            }
                            ']' => value = Value::Array(elements),
                            _ => return None,
                        }
                    }
                    Some(Open::Object(mut members, key)) => {
                        members.push((key, value));
                        match self.next()? {
                            ',' => {
                                let key = self.key()?;
                                open.push(Open::Object(members, key));
                                break;
                            }
                            '}' => value = Value::Object(members),
                            _ => return None,
                        }
                    }
                }
            }
        }
    }

    /// A whole value, or the beginning of a container that is not empty.
    #[expect(clippy::option_option, reason = "no value yet, and none at all")]
    fn begin(&mut self, open: &mut Vec<Open>) -> Option<Option<Value>> {
        self.space();
        match self.left.last()? {
            '{' => {
                self.next();
                self.space();
                if self.take('}') {
                    return Some(Some(Value::Object(Vec::new())));
                }
                let key = self.key()?;
                open.push(Open::Object(Vec::new(), key));
                Some(None)
            }
            '[' => {
                self.next();
                self.space();
                if self.take(']') {
                    return Some(Some(Value::Array(Vec::new())));
                }
                open.push(Open::Array(Vec::new()));
                Some(None)
            }
            '"' => self.string().map(|text| Some(Value::Text(text))),
            '-' | '0'..='9' => self.number().map(|()| Some(Value::Number)),
            _ => self.word().map(Some),
        }
    }

    fn key(&mut self) -> Option<String> {
        self.space();
        let key = self.string()?;
        self.space();
        self.take(':').then_some(key)
    }

    fn word(&mut self) -> Option<Value> {
        let words = [("null", Value::Null), ("true", Value::Boolean), ("false", Value::Boolean)];
        for (word, value) in words {
            let is_next =
                word.chars().rev().eq(self.left.iter().copied().skip(self.left.len().saturating_sub(word.len())));
            if is_next {
                self.left.truncate(self.left.len() - word.len());
                return Some(value);
            }
        }
        None
    }

    fn number(&mut self) -> Option<()> {
        self.take('-');
        if !self.take('0') {
            self.digits()?;
        }
        if self.take('.') {
            self.digits()?;
        }
        if self.take('e') || self.take('E') {
            let _ = self.take('+') || self.take('-');
            self.digits()?;
        }
        Some(())
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let mut any = false;
        while self.left.last().is_some_and(char::is_ascii_digit) {
            self.next();
            any = true;
        }
        any.then_some(())
    }

    fn string(&mut self) -> Option<String> {
        let mut units = Vec::new();
        if !self.take('"') {
            return None;
        }
        loop {
            match self.next()? {
                '"' => return String::from_utf16(&units).ok(),
                '\\' => units.push(self.escape()?),
                '\0'..='\u{1f}' => return None,
                plain => units.extend_from_slice(plain.encode_utf16(&mut [0; 2])),
            }
        }
    }

    /// The UTF-16 unit that an escape stands for.
    fn escape(&mut self) -> Option<u16> {
        let escaped = match self.next()? {
            same @ ('"' | '\\' | '/') => same,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits = [self.next()?, self.next()?, self.next()?, self.next()?];
                let number = digits.iter().try_fold(0, |number, digit| Some(number * 16 + digit.to_digit(16)?))?;
                return u16::try_from(number).ok();
            }
            _ => return None,
        };
        u16::try_from(u32::from(escaped)).ok()
    }

    fn space(&mut self) {
        while matches!(self.left.last(), Some(' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_next = self.left.last() == Some(&wanted);
        if is_next {
            self.next();
        }
        is_next
    }

    fn next(&mut self) -> Option<char> {
        self.left.pop()
    }
}
