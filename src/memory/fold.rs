//! Folding case away over full Unicode.

/// Appends the text without regard to case: two texts that differ only in case become the same bytes.
///
/// By way of upper case, because characters that share an upper-case form (σ and ς, ß and ss) are the same letter; the
/// capital ẞ, its own upper case, is one of them. Does what `fold` in `sql/schema.sql` does.
pub(super) fn fold_into(out: &mut Vec<u8>, text: &str) {
    if text.is_ascii() {
        let from = out.len();
        out.extend_from_slice(text.as_bytes());
        out[from..].make_ascii_lowercase();
        return;
    }
    for character in text.chars() {
        match character {
            '\0'..='\x7f' => out.push(character.to_ascii_lowercase() as u8),
            _ => fold_character_into(out, character),
        }
    }
}

fn fold_character_into(out: &mut Vec<u8>, character: char) {
    for character in character.to_uppercase().flat_map(char::to_lowercase) {
        match character {
            'ß' => out.extend_from_slice(b"ss"),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(text: &str) -> String {
        let mut folded = b"before".to_vec();
        fold_into(&mut folded, text);
        String::from_utf8(folded.split_off(6)).unwrap()
    }

    #[test]
    fn case_is_folded_away_over_all_of_unicode() {
        assert_eq!(fold("AbC 1%"), "abc 1%");
        assert_eq!(fold("ÅNGSTRÖM"), fold("ångström"));
        assert_eq!(fold("ΣΊΣΥΦΟΣ"), fold("σίσυφος"));
        for sharp in ["Straße", "STRASSE", "STRAẞE"] {
            assert_eq!(fold(sharp), "strasse");
        }
        assert_eq!(fold("ǅ"), fold("ǆ"));
        assert_eq!(fold("🥊 é"), "🥊 é");
    }
}
