//! How texts stand in memory: as they came, one directly behind the other, each ended by a byte that UTF-8 never has.
//!
//! Case is folded away while texts are read, which for ASCII is quick. Behind texts of which one is not ASCII therefore
//! stand folded copies of those that are not. Both are searched: a folded term consists of characters that folding
//! leaves alone, so that where the text as it came has the term, the folded one has it too.

use memchr::memchr;

use super::fold::fold_into;

/// Ends a text. No term has this byte, so that none can match across it.
pub(super) const END: u8 = 0xff;

/// All of what stands for a null.
pub(super) const NULL: u8 = 0xfe;

/// Stands before folded copies.
const COPIES: u8 = 0xfd;

/// Texts that come one by one.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Of the texts since [`Self::finish`].
    copies: Vec<u8>,
    folded: Vec<u8>,
}

impl Texts {
    /// Appends a text or a null, and returns it folded; nothing for a null.
    pub(super) fn push(&mut self, text: Option<&str>) -> &[u8] {
        self.folded.clear();
        match text {
            None => self.bytes.push(NULL),
            Some(text) => {
                self.bytes.extend_from_slice(text.as_bytes());
                fold_into(&mut self.folded, text);
                if !text.is_ascii() {
                    self.copies.extend_from_slice(&self.folded);
                    self.copies.push(END);
                }
            }
        }
        self.bytes.push(END);
        &self.folded
    }

    /// Ends what belongs together: a person, an entry of a dictionary.
    pub(super) fn finish(&mut self) {
        if !self.copies.is_empty() {
            self.bytes.push(COPIES);
            self.bytes.append(&mut self.copies);
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What is taken from the allocator.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.copies.capacity() + self.folded.capacity()
    }
}

/// The texts of one person or entry as they came, without the folded copies; `None` for a null.
pub(super) fn texts(mut bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if bytes.first() == Some(&COPIES) {
            return None;
        }
        let end = memchr(END, bytes)?;
        let text = &bytes[..end];
        bytes = &bytes[end + 1..];
        Some((text != [NULL]).then_some(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_went_in_and_folded_copies_are_searched_only() {
        let mut written = Texts::default();
        let came = [Some("AbC"), None, Some(""), Some("Straße"), Some("x")];
        let folded: Vec<Vec<u8>> = came.iter().map(|text| written.push(*text).to_vec()).collect();
        written.finish();
        assert_eq!(folded, [&b"abc"[..], b"", b"", b"strasse", b"x"]);
        let read: Vec<_> = texts(written.as_bytes()).collect();
        assert_eq!(read, came.map(|text| text.map(str::as_bytes)));
        assert!(written.as_bytes().ends_with(b"\xfdstrasse\xff"));
    }
}
