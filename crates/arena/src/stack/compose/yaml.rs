//! YAML as Compose files use it: aliases and merge keys are resolved, `!reset` and `!override` become paths to clear.

use std::fmt;

use anyhow::ensure;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Tagged, options};

/// Where something stands in a file: the keys that lead to it.
pub(super) type Path = Vec<String>;

/// One document of a file.
pub(super) struct Document {
    pub(super) tree: Value,
    /// What this document clears in those before it, before it is laid over them.
    pub(super) cleared: Vec<Path>,
}

/// Reads the documents of a file.
///
/// # Errors
///
/// If the text is no YAML, names a key twice, or holds a document that is no map.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Document>> {
    // To Compose a number with a leading zero is octal, and `yes` is a word.
    let options = options! { legacy_octal_numbers: true, strict_booleans: true, with_snippet: false };
    let documents: Vec<Node> = serde_saphyr::from_multiple_with_options(text, options)?;
    documents.into_iter().map(Document::of).collect()
}

impl Document {
    fn of(node: Node) -> anyhow::Result<Self> {
        let mut cleared = Vec::new();
        let tree = node.value(&mut Vec::new(), &mut cleared).unwrap_or(Value::Object(Map::new()));
        ensure!(tree.is_object(), "a Compose file is a map of keys");
        Ok(Self { tree, cleared })
    }
}

struct Node(Plain, Option<String>);

enum Plain {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value, without what is only there to clear something.
    fn value(self, path: &mut Path, cleared: &mut Vec<Path>) -> Option<Value> {
        let Self(plain, tag) = self;
        if matches!(tag.as_deref(), Some("!reset" | "!override")) {
            cleared.push(path.clone());
        }
        if tag.as_deref() == Some("!reset") {
            return None;
        }
        Some(match plain {
            Plain::Scalar(value) => value,
            Plain::List(items) => items.into_iter().filter_map(|item| item.value(path, cleared)).collect(),
            Plain::Map(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    path.push(key.clone());
                    map.extend(node.value(path, cleared).map(|value| (key, value)));
                    path.pop();
                }
                Value::Object(map)
            }
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tagged::deserialize(deserializer).map(|Tagged(plain, tag)| Self(plain, tag))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a scalar, a list or a map")
    }

    fn visit_unit<E: Error>(self) -> Result<Plain, E> {
        Ok(Plain::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Plain, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Plain, E> {
        let number = Number::from_f64(value);
        Ok(Plain::Scalar(number.map_or_else(|| value.to_string().into(), Value::Number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Plain, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Plain::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Plain::Map(entries))
    }
}
