//! How Compose lays one file over another: maps grow key by key, lists at their end, and what is given later wins.

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use super::yaml::Path;

/// Words of a command line and the test of a health check: given again, they are replaced whole.
const REPLACED: [&[&str]; 3] = [&["command"], &["entrypoint"], &["healthcheck", "test"]];

/// Removes what stands at a path.
pub(super) fn clear(tree: &mut Value, path: &[String]) {
    let Some((last, above)) = path.split_last() else { return };
    let parent = above.iter().try_fold(tree, |tree, key| tree.get_mut(key));
    if let Some(Value::Object(map)) = parent {
        map.remove(last);
    }
}

/// Lays one file's tree over another's.
///
/// # Errors
///
/// If a map meets a list, or either a scalar.
pub(super) fn lay_over(under: &mut Value, over: Value) -> anyhow::Result<()> {
    lay(under, over, &mut Vec::new())
}

/// Lays a service over one that it extends.
///
/// # Errors
///
/// As [`lay_over`].
pub(super) fn extend(under: &mut Value, over: Value) -> anyhow::Result<()> {
    lay(under, over, &mut vec!["services".into(), "extended".into()])
}

fn lay(under: &mut Value, over: Value, path: &mut Path) -> anyhow::Result<()> {
    let replaced = path.get(2..).is_some_and(|keys| REPLACED.iter().any(|replaced| keys == *replaced));
    match (under, over) {
        (under, over) if replaced || under.is_null() => *under = over,
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                path.push(key.clone());
                lay(under.entry(key).or_insert(Value::Null), value, path)?;
                path.pop();
            }
        }
        (Value::Array(under), Value::Array(over)) => {
            let more: Vec<Value> = over.into_iter().filter(|item| !under.contains(item)).collect();
            under.extend(more);
        }
        (under, over) if is_scalar(under) && is_scalar(&over) => *under = over,
        _ => bail!("{} cannot be laid over what it was before", path.join(".")),
    }
    Ok(())
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// Brings a service's notations to one: the environment is a map, command and entrypoint are lists.
///
/// # Errors
///
/// If one of them is nothing that Compose takes.
pub(super) fn normalize(service: &mut Map<String, Value>) -> anyhow::Result<()> {
    if let Some(environment) = service.get_mut("environment").filter(|given| !given.is_null()) {
        *environment = Value::Object(named(environment).context("environment")?);
    }
    for key in ["command", "entrypoint"] {
        if let Some(command) = service.get_mut(key).filter(|given| !given.is_null()) {
            *command = words(command).with_context(|| key.to_owned())?;
        }
    }
    Ok(())
}

fn named(value: &Value) -> anyhow::Result<Map<String, Value>> {
    let pair = |(name, value): (&str, Option<&Value>)| {
        let value = value.filter(|value| !value.is_null()).map(|value| text(value).map(Value::String)).transpose();
        Ok((name.to_owned(), value?.unwrap_or_default()))
    };
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| pair((name, Some(value)))).collect(),
        Value::Array(items) => items.iter().map(assignment).collect(),
        _ => bail!("it must be a map or a list"),
    }
}

/// `NAME=value`, or a `NAME` that is handed on from the caller.
fn assignment(item: &Value) -> anyhow::Result<(String, Value)> {
    let item = item.as_str().with_context(|| format!("{item} is no NAME=value"))?;
    Ok(match item.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.into()),
        None => (item.to_owned(), Value::Null),
    })
}

fn words(value: &Value) -> anyhow::Result<Value> {
    match value {
        Value::String(line) => {
            let words = shlex::split(line).with_context(|| format!("`{line}` has a quote that does not end"))?;
            Ok(words.into_iter().map(Value::String).collect())
        }
        Value::Array(items) => items.iter().map(|item| text(item).map(Value::String)).collect(),
        _ => bail!("it must be a text or a list"),
    }
}

/// A scalar as Compose turns it into text.
fn text(value: &Value) -> anyhow::Result<String> {
    ensure!(is_scalar(value), "{value} must be a text, a number or a boolean");
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    })
}
