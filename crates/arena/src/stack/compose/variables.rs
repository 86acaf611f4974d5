//! Variables of Compose files: `$NAME`, `${NAME:-default}` and their kin, from `.env` and the caller's environment.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};

/// What names stand for.
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of `.env` in a project's folder, where there is one, and of this process, which win.
    ///
    /// # Errors
    ///
    /// If `.env` cannot be read.
    pub(super) fn of_project(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(".env");
        let mut variables = if file.is_file() { read_file(&file)? } else { BTreeMap::new() };
        variables.extend(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Ok(Self(variables))
    }

    /// What a name stands for, if it is set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A text with every variable filled in; one that is not set is empty.
    ///
    /// # Errors
    ///
    /// If the text asks for a variable in no known way, or for one that must be set and is not.
    pub(super) fn fill(&self, text: &str) -> anyhow::Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                filled.push('$');
                rest = after;
            } else if let Some(inside) = after.strip_prefix('{') {
                let end = closing_brace(inside).with_context(|| format!("`{text}` lacks a closing brace"))?;
                filled.push_str(&self.braced(&inside[..end])?);
                rest = &inside[end + 1..];
            } else {
                let (name, after) = split_name(after);
                if name.is_empty() {
                    bail!("`{text}` holds a `$` that names no variable; `$$` stands for a plain one");
                }
                filled.push_str(self.get(name).unwrap_or_default());
                rest = after;
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// What stands between braces: a name, and what to do where it is set, not set, or empty.
    fn braced(&self, inside: &str) -> anyhow::Result<String> {
        let (name, rest) = split_name(inside);
        let set = self.get(name);
        // With a colon, an empty value is none.
        let (value, rest) = match rest.strip_prefix(':') {
            Some(rest) if !rest.is_empty() => (set.filter(|value| !value.is_empty()), rest),
            _ => (set, rest),
        };
        let operand = rest.get(1..).unwrap_or_default();
        match (rest.chars().next(), value) {
            _ if name.is_empty() => bail!("`${{{inside}}}` names no variable"),
            (None, _) => Ok(set.unwrap_or_default().to_owned()),
            (Some('-'), None) | (Some('+'), Some(_)) => self.fill(operand),
            (Some('-' | '?'), Some(value)) => Ok(value.to_owned()),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => bail!("the variable {name} must be set: {}", self.fill(operand)?),
            (Some(_), _) => bail!("`${{{inside}}}` is no way to ask for a variable"),
        }
    }
}

/// The variables that a file of `NAME=value` lines sets.
///
/// # Errors
///
/// If it cannot be read.
pub(super) fn read_file(file: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let shown = || file.display().to_string();
    dotenvy::from_path_iter(file).with_context(shown)?.collect::<Result<_, _>>().with_context(shown)
}

fn split_name(text: &str) -> (&str, &str) {
    let is_part =
        |(at, byte): (usize, u8)| byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
    let end = text.bytes().enumerate().position(|part| !is_part(part));
    text.split_at(end.unwrap_or(text.len()))
}

/// Where the brace closes that was opened before this text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_ask_for_a_variable_is_known() {
        let set = [("A", "a"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = Variables(BTreeMap::from(set));
        for (text, filled) in [
            ("$A-${A}", "a-a"),
            ("$$A", "$A"),
            ("${EMPTY:-d}${EMPTY-d}${NONE-d}", "dd"),
            ("${A:+r}${EMPTY:+r}${EMPTY+r}${NONE+r}", "rr"),
            ("${NONE:-${EMPTY:-x$A}}", "xa"),
            ("${A:?}$NONE.", "a."),
            ("0.${NONE:-3}", "0.3"),
        ] {
            assert_eq!(variables.fill(text).unwrap(), filled, "{text}");
        }
        for wrong in ["$", "${A", "${}", "${1}", "${A:=b}", "${NONE?}", "${EMPTY:?it}", "$ A"] {
            assert!(variables.fill(wrong).is_err(), "{wrong}");
        }
    }
}
