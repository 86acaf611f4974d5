//! Texts that JSON parsers are known to get wrong. A file whose name begins with `y` must be taken, with `n` refused; with
//! `i` the grammar leaves it open, and the rules say what holds here.

use std::fs;
use std::path::PathBuf;

use super::compare;
use super::reference::json::Value;

/// Of those that begin with `i`, whoever is no JSON here: what is not UTF-8, or holds half a surrogate pair.
const REFUSED: [&str; 4] = ["i_not_utf8", "i_half_pair", "i_byte_order_mark", "i_utf16"];

fn files() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/readings/corpus");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

#[test]
fn every_text_is_taken_or_refused_as_it_must_be() {
    let files = files();
    assert!(files.len() > 150, "{} files", files.len());
    for (name, text) in files {
        let is_taken = match &name[..2] {
            "y_" => true,
            "n_" => false,
            _ => !REFUSED.iter().any(|refused| name.starts_with(refused)),
        };
        assert_eq!(Value::read(&text).is_some(), is_taken, "the reference: {name}");
        compare::body(&text);
        // As what an unknown key holds, and each of the others.
        for key in ["x", "nickname", "fullname", "dob", "stack"] {
            let person = br#"{"nickname":"n","fullname":"f","dob":"2000-01-01","stack":["s"],""#;
            compare::body(&[person, key.as_bytes(), b"\":", &text, b"}"].concat());
        }
        compare::body(
            &[br#"{"nickname":"n","fullname":"f","dob":"2000-01-01","stack":["s","#, &text[..], b"]}"].concat(),
        );
    }
}
