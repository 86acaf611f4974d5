//! What of a Compose file plain processes can be given, and what they cannot.

use std::path::Path;

use anyhow::{bail, ensure};
use serde_json::Value;

use super::{DESCRIPTION, NGINX_CONF, SERVICES};
use crate::stack::lab::PARTS;

/// Variables by which PostgreSQL's image is told how to make a cluster, and the arena is too.
const OF_THE_CLUSTER: [&str; 2] = ["POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS"];

/// The volume of nginx in which the instances' sockets are.
const SOCKETS: &str = "sockets:/run/peleja";

/// Whether plain processes can be given what an overlay changes.
///
/// # Errors
///
/// What they cannot be given; the message begins with the overlay's path.
pub(super) fn check(before: &Value, after: &Value, overlay: &Path) -> anyhow::Result<()> {
    check_services(before, after, overlay)?;
    let mut changes = Vec::new();
    differences(before, after, &mut Vec::new(), &mut changes);
    for (path, value) in changes {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        ensure!(
            can_be_given(&keys, value),
            "{}: {} cannot be applied to plain processes; leave it out, or try --engine docker",
            overlay.display(),
            path.join(".")
        );
    }
    Ok(())
}

/// Whether an overlay changes only services that are there.
///
/// # Errors
///
/// Which one is not; the message begins with the overlay's path.
pub(super) fn check_services(before: &Value, after: &Value, overlay: &Path) -> anyhow::Result<()> {
    let services = |stack: &Value| stack.get("services").and_then(Value::as_object).cloned().unwrap_or_default();
    let known = services(before);
    if let Some(stranger) = services(after).keys().find(|name| !known.contains_key(*name)) {
        bail!("{}: there is no service {stranger} in docker-compose.yml to lay it over", overlay.display());
    }
    Ok(())
}

/// The leaves that differ, each with its value afterwards.
fn differences<'a>(
    before: &'a Value,
    after: &'a Value,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, &'a Value)>,
) {
    if before.is_object() || after.is_object() {
        let maps = [before, after].map(Value::as_object);
        let keys: std::collections::BTreeSet<&String> = maps.into_iter().flatten().flat_map(|map| map.keys()).collect();
        for key in keys {
            let [before, after] = maps.map(|map| map.and_then(|map| map.get(key)).unwrap_or(&Value::Null));
            path.push(key.clone());
            differences(before, after, path, found);
            path.pop();
        }
    } else if before != after {
        found.push((path.clone(), after));
    }
}

fn can_be_given(path: &[&str], value: &Value) -> bool {
    match path {
        ["services", service, rest @ ..] if SERVICES.contains(service) || PARTS.contains(service) => {
            service_can_be_given(service, rest, value)
        }
        // What processes are called, and what only people read.
        [key, ..] => ["name", "version"].contains(key) || key.starts_with("x-"),
        [] => true,
    }
}

fn service_can_be_given(service: &str, path: &[&str], value: &Value) -> bool {
    match path {
        ["cpus" | "mem_limit"] | ["deploy", "resources", "limits", "cpus" | "memory"] => true,
        // A promise to the service, which takes nothing from it.
        ["mem_reservation"] | ["deploy", "resources", "reservations", "cpus" | "memory"] => true,
        ["environment", name] => service != "db" || !name.starts_with("POSTGRES_") || OF_THE_CLUSTER.contains(name),
        ["command"] => service == "db" && is_postgres(value),
        ["volumes"] => service == "nginx" && keeps_volumes_of_nginx(value),
        ["scale"] | ["deploy", "replicas"] => value.as_u64() == Some(1),
        ["deploy", "mode"] => value == "replicated",
        // For people, and for other containers.
        ["labels" | "annotations", ..] | ["deploy", "labels", ..] | ["container_name" | "expose"] => true,
        [key, ..] => key.starts_with("x-"),
        [] => false,
    }
}

/// Whether nginx has its sockets, some file as its configuration and some file as what it says of the API, and nothing else.
fn keeps_volumes_of_nginx(volumes: &Value) -> bool {
    let text = |volume: &Value| volume.as_str().map(str::to_owned);
    let is_file = |volume: &str| [NGINX_CONF, DESCRIPTION].iter().any(|file| volume.ends_with(&format!(":{file}:ro")));
    let is_known = |volume: String| volume == SOCKETS || is_file(&volume);
    volumes.as_array().is_some_and(|volumes| volumes.iter().all(|volume| text(volume).is_some_and(is_known)))
}

/// Whether a command line starts PostgreSQL: its image puts the program before bare options.
fn is_postgres(command: &Value) -> bool {
    let first = command.get(0).and_then(Value::as_str);
    first.is_some_and(|first| first == "postgres" || first.starts_with('-'))
}
