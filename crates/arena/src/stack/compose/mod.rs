//! What Compose files say of a stack: the one place where its limits and settings stand.
//!
//! Who runs the services reads the files: under Docker that is Compose itself, and its reading is taken as it is. Plain
//! processes need no Docker, so for them the files are read here, by the same rules: a table of notations in the tests
//! holds both readings against each other. What plain processes cannot be given is refused by name.

mod files;
mod merge;
mod plain;
mod quantity;
mod variables;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::record::run::Limit;
pub use quantity::bytes;

/// The services of a bout, in the order in which they are reported.
pub const SERVICES: [&str; 4] = ["nginx", "api1", "api2", "db"];

/// Where nginx's image has its configuration.
pub const NGINX_CONF: &str = "/etc/nginx/nginx.conf";

/// Where nginx finds there what it says of the API.
pub const DESCRIPTION: &str = "/etc/nginx/openapi.json";

/// The services of a stack, in the form of `docker compose config --format json`.
#[derive(Clone, Debug)]
pub struct Compose {
    services: BTreeMap<String, Value>,
}

impl Compose {
    /// Reads a checkout's file for plain processes, and lays others over it as `docker compose` does.
    ///
    /// # Errors
    ///
    /// If a file is none that Compose takes, one of [`SERVICES`] is missing, or an overlay asks for what plain processes
    /// cannot be given. The message begins with the file at fault.
    pub fn read(path: &Path, overlays: &[PathBuf]) -> anyhow::Result<Self> {
        let files: Vec<&Path> = std::iter::once(path).chain(overlays.iter().map(PathBuf::as_path)).collect();
        let stacks = files::read(&files)?;
        for (stacks, overlay) in stacks.windows(2).zip(overlays) {
            plain::check(&stacks[0], &stacks[1], overlay)?;
        }
        // Each by itself, for the file at fault to be named.
        let mut read =
            files.iter().zip(stacks).map(|(file, stack)| Self::of(stack).with_context(|| file.display().to_string()));
        read.try_fold(None, |_, compose| compose.map(Some))?.context("no Compose file was given")
    }

    /// Takes what `docker compose config --format json` printed, of the plain file and with the overlays.
    ///
    /// # Errors
    ///
    /// If it is nothing of that form, one of [`SERVICES`] is missing, or the last overlay brings a service of its own.
    pub fn from_docker(plain: &str, laid_over: &str, overlays: &[PathBuf]) -> anyhow::Result<Self> {
        let read = |text| serde_json::from_str::<Value>(text).context("docker compose config");
        let mut stack = read(laid_over)?;
        if let Some(overlay) = overlays.last() {
            plain::check_services(&read(plain)?, &stack, overlay)?;
        }
        unescape(&mut stack);
        Self::of(stack)
    }

    /// Takes what `docker compose config --format json` printed of an entry, whatever services it has.
    ///
    /// # Errors
    ///
    /// If it is nothing of that form, or a limit cannot be read.
    pub fn of_entry(config: &str) -> anyhow::Result<Self> {
        let mut stack: Value = serde_json::from_str(config).context("docker compose config")?;
        unescape(&mut stack);
        let compose = Self::of_any(stack)?;
        compose.services.keys().try_for_each(|name| compose.limit(name).map(drop))?;
        Ok(compose)
    }

    /// Reads a file, whatever services it has.
    ///
    /// # Errors
    ///
    /// If it is none that Compose takes.
    pub fn read_any(path: &Path) -> anyhow::Result<Self> {
        let stack = files::read(&[path])?.pop().context("no Compose file was given")?;
        Self::of_any(stack)
    }

    fn of_any(mut stack: Value) -> anyhow::Result<Self> {
        let services = stack.get_mut("services").map(Value::take).unwrap_or_default();
        Ok(Self { services: serde_json::from_value(services).context("services")? })
    }

    fn of(stack: Value) -> anyhow::Result<Self> {
        let compose = Self::of_any(stack)?;
        SERVICES.iter().try_for_each(|name| compose.service(name).map(drop))?;
        compose.services.keys().try_for_each(|name| compose.limit(name).map(drop))?;
        Ok(compose)
    }

    /// The names of all services, in the order of the alphabet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// The image of a service, where the file names one.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn image(&self, name: &str) -> anyhow::Result<Option<&str>> {
        Ok(self.service(name)?.get("image").and_then(Value::as_str))
    }

    /// Whether a service's image is built from the files.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn is_built(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.service(name)?.get("build").is_some_and(|build| !build.is_null()))
    }

    /// Whether two services are the same but for their environment, their names and what they wait for.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn are_twins(&self, one: &str, other: &str) -> anyhow::Result<bool> {
        let same =
            |key: &str| -> anyhow::Result<bool> { Ok(self.service(one)?.get(key) == self.service(other)?.get(key)) };
        let limits = self.limit(one)? == Limit { service: one.to_owned(), ..self.limit(other)? };
        Ok(limits && same("image")? && same("build")? && same("command")? && same("entrypoint")?)
    }

    /// Whether a service has its limits below the short keys, `cpus` and `mem_limit`.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn has_short_limits(&self, name: &str) -> anyhow::Result<bool> {
        let service = self.service(name)?;
        Ok(["cpus", "mem_limit"].iter().any(|key| service.get(*key).is_some_and(|value| !value.is_null())))
    }

    /// The file of this machine that a service has at a path, the last where several are given.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn mounted(&self, name: &str, path: &str) -> anyhow::Result<Option<PathBuf>> {
        let volumes = self.service(name)?.get("volumes").and_then(Value::as_array);
        let source = |volume: &Value| match volume {
            Value::String(text) => {
                let mut parts = text.split(':');
                parts.next().filter(|_| parts.next() == Some(path)).map(PathBuf::from)
            }
            volume => {
                let is_there = volume.get("target").and_then(Value::as_str) == Some(path);
                volume.get("source").and_then(Value::as_str).filter(|_| is_there).map(PathBuf::from)
            }
        };
        Ok(volumes.into_iter().flatten().filter_map(source).next_back())
    }

    /// The limits of [`SERVICES`], in their order.
    ///
    /// # Errors
    ///
    /// As [`Compose::limit`].
    pub fn limits(&self) -> anyhow::Result<Vec<Limit>> {
        SERVICES.iter().map(|name| self.limit(name)).collect()
    }

    /// What one service may use, however the file writes it.
    ///
    /// # Errors
    ///
    /// If there is no such service, or its limits cannot be read or contradict each other.
    pub fn limit(&self, name: &str) -> anyhow::Result<Limit> {
        let cpus = self.figure(name, ["cpus", "cpus"], quantity::cpus)?;
        let memory_bytes = self.figure(name, ["mem_limit", "memory"], quantity::bytes)?;
        Ok(Limit { service: name.to_owned(), cpus, memory_bytes })
    }

    /// A limit that has a short key and one below `deploy.resources.limits`; 0 stands for none.
    fn figure<Figure: PartialEq + Default + Copy>(
        &self,
        name: &str,
        [short, long]: [&str; 2],
        read: fn(&Value) -> Option<Figure>,
    ) -> anyhow::Result<Option<Figure>> {
        let service = self.service(name)?;
        let figure = |value: Option<&Value>, key: &str| -> anyhow::Result<Option<Figure>> {
            let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
            let figure = read(value).with_context(|| format!("services.{name}.{key}: {value} cannot be read"))?;
            Ok(Some(figure).filter(|figure| *figure != Figure::default()))
        };
        let limits = service.pointer("/deploy/resources/limits");
        let below = figure(limits.and_then(|limits| limits.get(long)), &format!("deploy.resources.limits.{long}"))?;
        let own = figure(service.get(short), short)?;
        ensure!(
            own.is_none() || below.is_none() || own == below,
            "services.{name}: {short} and deploy.resources.limits.{long} say different things; give the second alone"
        );
        Ok(below.or(own))
    }

    /// The command of a service; empty where the file gives none.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn command(&self, name: &str) -> anyhow::Result<Vec<&str>> {
        let words = self.service(name)?.get("command").and_then(Value::as_array);
        Ok(words.into_iter().flatten().filter_map(Value::as_str).collect())
    }

    /// The environment of a service, as far as the file or the caller gives it.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn environment(&self, name: &str) -> anyhow::Result<BTreeMap<&str, &str>> {
        let variables = self.service(name)?.get("environment").and_then(Value::as_object);
        Ok(variables.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect())
    }

    /// How many containers of a service Docker is to run.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn replicas(&self, name: &str) -> anyhow::Result<u64> {
        let service = self.service(name)?;
        let given = service.pointer("/deploy/replicas").or_else(|| service.get("scale"));
        Ok(given.and_then(Value::as_u64).unwrap_or(1))
    }

    fn service(&self, name: &str) -> anyhow::Result<&Value> {
        self.services.get(name).with_context(|| format!("there is no service {name}"))
    }
}

/// Compose prints each `$` twice, for its output to be read again.
fn unescape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("$$", "$"),
        Value::Array(items) => items.iter_mut().for_each(unescape),
        Value::Object(map) => map.values_mut().for_each(unescape),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
