//! Whose limits and settings are searched: the services of this checkout's stack or of an entry, in groups of equals.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::memory;
use super::split::Pool;
use crate::record::run::Limit;
use crate::stack::Engine;
use crate::stack::budget::Budget;
use crate::stack::compose::{Compose, NGINX_CONF, SERVICES, bytes};
use crate::stack::entry::Entry;
use crate::stack::which::Which;
use crate::workspace::Workspace;

/// What a PostgreSQL without a setting of its own has for its pages.
const SHARED_BUFFERS: u64 = 128 << 20;

/// What a PostgreSQL holds beside its pages: its processes and their private memory.
const BESIDE_BUFFERS: u64 = 24 << 20;

/// The size of a page, in which PostgreSQL counts where no unit is given.
const PAGE: u64 = 8192;

/// Files of a checkout on which its figures depend.
const OF_THE_CHECKOUT: [&str; 6] = ["Cargo.lock", "Cargo.toml", "docker-compose.yml", "nginx.conf", "sql", "src"];

/// Whose limits are searched.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// The entry, where it is one.
    pub entry: Option<Entry>,
    /// Services that get the same, in groups.
    pub groups: Vec<Group>,
    /// What each container may use at the beginning: what the files say, and a share of the rest where they say nothing.
    pub start: Vec<Limit>,
    compose: Compose,
    files: Vec<PathBuf>,
}

/// Services that are the same but for their environment.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their names in the Compose file.
    pub services: Vec<String>,
    /// All containers of them.
    pub containers: Vec<String>,
    /// Bytes of memory that their settings need.
    pub need: u64,
}

impl Group {
    /// The group in a table: its services, and how often there is one of each.
    pub fn label(&self) -> String {
        let names = self.services.join(", ");
        match self.containers.len() / self.services.len() {
            1 => names,
            replicas => format!("{names} x{replicas}"),
        }
    }
}

impl Subject {
    /// This checkout's own stack.
    ///
    /// # Errors
    ///
    /// If its files cannot be read.
    pub fn own(workspace: &Workspace, which: &Which, budget: &Budget) -> anyhow::Result<Self> {
        let file = workspace.path("docker-compose.yml");
        let compose = match which.engine {
            Engine::Native => Compose::read(&file, which.overlays())?,
            Engine::Docker => which.docker(workspace).read()?,
        };
        let files = OF_THE_CHECKOUT.iter().map(|name| workspace.path(name)).chain(which.overlays().to_vec());
        Self::new("peleja".into(), None, compose, &SERVICES, files.collect(), budget)
    }

    /// An entry.
    ///
    /// # Errors
    ///
    /// If Compose refuses its files.
    pub fn entry(entry: Entry, budget: &Budget) -> anyhow::Result<Self> {
        let compose = Compose::of_entry(&entry.config()?).with_context(|| entry.folder.display().to_string())?;
        let names: Vec<String> = compose.names().map(str::to_owned).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let files = [vec![entry.folder.clone()], entry.files()].concat();
        Self::new(entry.name.clone(), Some(entry), compose, &names, files, budget)
    }

    fn new(
        name: String,
        entry: Option<Entry>,
        compose: Compose,
        names: &[&str],
        files: Vec<PathBuf>,
        budget: &Budget,
    ) -> anyhow::Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for name in names {
            let containers = containers(name, compose.replicas(name)?);
            let known = groups.iter().position(|group| compose.are_twins(&group.services[0], name).unwrap_or(false));
            match known.map(|nth| &mut groups[nth]) {
                Some(group) => {
                    group.services.push((*name).to_owned());
                    group.containers.extend(containers);
                }
                None => {
                    groups.push(Group { services: vec![(*name).to_owned()], containers, need: need(&compose, name)? })
                }
            }
        }
        ensure!(!groups.is_empty(), "there is no service");
        let start = start(&compose, &groups, budget)?;
        Ok(Self { name, entry, groups, start, compose, files })
    }

    /// What is divided among whom.
    pub fn pool(&self) -> Pool {
        Pool { containers: self.groups.iter().map(|group| group.containers.len() as f64).collect() }
    }

    /// CPUs and bytes of memory of each group at the beginning.
    pub fn start_by_group(&self) -> (Vec<f64>, Vec<u64>) {
        self.by_group(&self.start)
    }

    /// CPUs and bytes of memory that a container of each group has.
    pub fn by_group(&self, limits: &[Limit]) -> (Vec<f64>, Vec<u64>) {
        let of = |group: &Group| limits.iter().find(|limit| limit.service == group.containers[0]);
        let limits = self.groups.iter().map(|group| {
            let limit = of(group);
            (
                limit.and_then(|limit| limit.cpus).unwrap_or_default(),
                limit.and_then(|limit| limit.memory_bytes).unwrap_or_default(),
            )
        });
        limits.unzip()
    }

    /// The limits of all containers, from what a container of each group gets.
    pub fn limits(&self, cpus: &[f64], memory: &[u64]) -> Vec<Limit> {
        let groups = self.groups.iter().zip(cpus).zip(memory);
        let limits = groups.flat_map(|((group, cpus), memory)| {
            group.containers.iter().map(|container| Limit {
                service: container.clone(),
                cpus: Some(*cpus),
                memory_bytes: Some(*memory),
            })
        });
        let mut limits: Vec<Limit> = limits.collect();
        let place = |limit: &Limit| self.start.iter().position(|known| known.service == limit.service);
        limits.sort_by_key(place);
        limits
    }

    /// What `settings` make of a service, as lines below its name in a Compose file. Each is of one of the `known`.
    ///
    /// # Errors
    ///
    /// If a setting is not known.
    fn settings_of(
        &self,
        service: &str,
        known: &[Setting],
        settings: &BTreeMap<String, String>,
    ) -> anyhow::Result<Vec<String>> {
        let mut environment = Vec::new();
        let mut command = None;
        for (name, value) in settings {
            let setting = known.iter().find(|setting| setting.name == *name).with_context(|| format!("no {name}"))?;
            match &setting.place {
                Place::Environment(services) if services.iter().any(|known| known == service) => {
                    environment.push(format!("{name}: {}", serde_json::Value::from(escaped(value))));
                }
                Place::Postgres(of) if of == service => {
                    let before = command.take().map_or_else(|| self.command(service), Ok)?;
                    command = Some(with_setting(&before, name, value));
                }
                _ => {}
            }
        }
        let command = command.map(|words| words.iter().map(|word| escaped(word)).collect::<Vec<_>>());
        let environment = (!environment.is_empty()).then(|| format!("environment: {{ {} }}", environment.join(", ")));
        let command = command.map(|words| format!("command: {}", serde_json::Value::from(words)));
        Ok(environment.into_iter().chain(command).collect())
    }

    /// The words by which a service is started.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn command(&self, service: &str) -> anyhow::Result<Vec<String>> {
        Ok(self.compose.command(service)?.into_iter().map(str::to_owned).collect())
    }

    /// A Compose file that, laid over the subject's own, brings these limits and settings. `nginx` is the file that nginx reads
    /// then.
    ///
    /// # Errors
    ///
    /// If a setting is not known.
    pub fn overlay(
        &self,
        limits: &[Limit],
        known: &[Setting],
        settings: &BTreeMap<String, String>,
        nginx: Option<&Path>,
    ) -> anyhow::Result<String> {
        let mut text = "services:\n".to_owned();
        for service in self.groups.iter().flat_map(|group| &group.services) {
            let limit = limits.iter().find(|limit| limit.service == *service).with_context(|| service.clone())?;
            text.push_str(&format!("  {service}:\n"));
            let mut lines = limit_lines(limit, self.compose.has_short_limits(service)?);
            lines.extend(self.settings_of(service, known, settings)?);
            let is_nginx = known.iter().any(|setting| matches!(&setting.place, Place::Nginx(of, _) if of == service));
            let file =
                nginx.filter(|_| is_nginx).map(|file| format!("volumes: [\"{}:{NGINX_CONF}:ro\"]", file.display()));
            lines.extend(file);
            lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        }
        Ok(text)
    }

    /// Where a setting of that name is to be made. `environment:`, `postgres:` or `nginx:` before the name decides; else
    /// capitals are an environment variable's, a directive that stands in nginx's file is nginx's, and all others are
    /// PostgreSQL's.
    ///
    /// # Errors
    ///
    /// If the subject has nothing that takes such a setting.
    pub fn setting(&self, workspace: &Workspace, given: &str) -> anyhow::Result<Setting> {
        let (kind, name) = given.split_once(':').map_or((None, given), |(kind, name)| (Some(kind), name));
        let nginx = self.nginx(workspace)?;
        let directive = nginx.as_ref().filter(|(_, file)| {
            fs::read_to_string(file).is_ok_and(|text| text.lines().any(|line| is_directive(line, name)))
        });
        let capitals = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let place = match kind {
            Some("environment") => self.environment(name)?,
            Some("nginx") => {
                let (service, file) = nginx.context("no service has an nginx.conf of its own")?;
                Place::Nginx(service, file)
            }
            Some("postgres") => Place::Postgres(self.database()?),
            Some(kind) => bail!("--try {given}: {kind} is none of environment, postgres, nginx"),
            None if capitals => self.environment(name)?,
            None => match directive {
                Some((service, file)) => Place::Nginx(service.clone(), file.clone()),
                None => Place::Postgres(self.database()?),
            },
        };
        Ok(Setting { name: name.to_owned(), place })
    }

    /// What a setting is in the files as they are; none where they do not say.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn value(&self, setting: &Setting) -> anyhow::Result<Option<String>> {
        let name = &setting.name;
        Ok(match &setting.place {
            Place::Environment(services) => {
                let first = services.first().context("no service")?;
                self.compose.environment(first)?.get(name.as_str()).map(|value| (*value).to_owned())
            }
            Place::Postgres(service) => {
                let prefix = format!("{name}=");
                let words = self.command(service)?;
                let mut values = words.iter().filter_map(|word| word.trim_start_matches("-c").strip_prefix(&prefix));
                values.next_back().map(str::to_owned)
            }
            Place::Nginx(_, file) => {
                let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
                let line = text.lines().find(|line| is_directive(line, name));
                let value = line.and_then(|line| line.trim().strip_prefix(name.as_str())?.split(';').next());
                value.map(|value| value.trim().to_owned())
            }
        })
    }

    fn environment(&self, name: &str) -> anyhow::Result<Place> {
        let services = || self.groups.iter().flat_map(|group| &group.services);
        let has = |service: &&String| self.compose.environment(service).is_ok_and(|known| known.contains_key(name));
        let having: Vec<String> = services().filter(has).cloned().collect();
        if !having.is_empty() {
            return Ok(Place::Environment(having));
        }
        // Nobody says anything of it yet, and then it is one of the entry's own programs that knows it.
        let own = |service: &&String| self.compose.is_built(service).unwrap_or(false);
        let own: Vec<String> = services().filter(own).cloned().collect();
        ensure!(!own.is_empty(), "no service has an environment variable {name}, and none is built here");
        Ok(Place::Environment(own))
    }

    fn database(&self) -> anyhow::Result<String> {
        let services = self.groups.iter().flat_map(|group| &group.services);
        let mut databases = services.filter(|service| is_postgres(&self.compose, service).unwrap_or(false));
        databases.next().cloned().context("no service has PostgreSQL's image")
    }

    /// The service that has an `nginx.conf` of this machine, and the file.
    fn nginx(&self, workspace: &Workspace) -> anyhow::Result<Option<(String, PathBuf)>> {
        for service in self.groups.iter().flat_map(|group| &group.services) {
            if let Some(file) = self.compose.mounted(service, NGINX_CONF)? {
                let folder = self.entry.as_ref().map_or(workspace.root(), |entry| &entry.folder);
                return Ok(Some((service.clone(), folder.join(file))));
            }
        }
        Ok(None)
    }

    /// A digest of all files on which figures depend.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read.
    pub fn state(&self) -> anyhow::Result<String> {
        let mut digest = Sha256::new();
        let mut left = self.files.clone();
        left.sort();
        while let Some(path) = left.pop() {
            if path.is_dir() {
                let inside = fs::read_dir(&path).with_context(|| path.display().to_string())?;
                let mut inside: Vec<PathBuf> = inside.flatten().map(|entry| entry.path()).collect();
                inside.retain(|path| path.file_name().is_none_or(|name| name != ".git"));
                inside.sort();
                left.extend(inside);
            } else {
                digest.update(path.as_os_str().as_encoded_bytes());
                digest.update(fs::read(&path).with_context(|| path.display().to_string())?);
            }
        }
        Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A setting that can be tried.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Where it is made.
    pub place: Place,
}

/// Where a setting is made.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the environment of these services.
    Environment(Vec<String>),
    /// On the command line of this service, which is PostgreSQL.
    Postgres(String),
    /// In this file of this service, which is nginx.
    Nginx(String, PathBuf),
}

/// The text of an nginx configuration with a directive's value changed, wherever it stands; without one it comes to the front
/// of the block `http`.
pub fn with_directive(text: &str, name: &str, value: &str) -> String {
    let is_there = text.lines().any(|line| is_directive(line, name));
    let mut changed = String::new();
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        match is_directive(line, name) {
            true => {
                let rest = line.split_once(';').map_or("", |(_, rest)| rest);
                changed.push_str(&format!("{indent}{name} {value};{rest}\n"));
            }
            false => changed.push_str(&format!("{line}\n")),
        }
        if !is_there && line.trim() == "http {" {
            changed.push_str(&format!("    {name} {value};\n"));
        }
    }
    changed
}

fn is_directive(line: &str, name: &str) -> bool {
    line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '\t']) && rest.contains(';'))
}

/// PostgreSQL's command line with a setting changed or added.
fn with_setting(words: &[String], name: &str, value: &str) -> Vec<String> {
    let prefix = format!("{name}=");
    let is_it = |word: &str| word.trim_start_matches("-c").starts_with(&prefix);
    let mut changed: Vec<String> = words
        .iter()
        .map(|word| match is_it(word) {
            true if word.starts_with("-c") => format!("-c{name}={value}"),
            true => format!("{name}={value}"),
            false => word.clone(),
        })
        .collect();
    if !words.iter().any(|word| is_it(word)) {
        if changed.is_empty() {
            changed.push("postgres".to_owned());
        }
        changed.push(format!("-c{name}={value}"));
    }
    changed
}

/// How a service's limits are written.
fn limit_lines(limit: &Limit, short: bool) -> Vec<String> {
    let cpus = limit.cpus.map(|cpus| format!("\"{cpus}\""));
    let memory = limit.memory_bytes.map(written);
    if short {
        let cpus = cpus.map(|cpus| format!("cpus: {cpus}"));
        return cpus.into_iter().chain(memory.map(|memory| format!("mem_limit: {memory}"))).collect();
    }
    let both = [cpus.map(|cpus| format!("cpus: {cpus}")), memory.map(|memory| format!("memory: {memory}"))];
    let both: Vec<String> = both.into_iter().flatten().collect();
    vec![format!("deploy: {{ resources: {{ limits: {{ {} }} }} }}", both.join(", "))]
}

/// A size as people read it, to a mebibyte.
pub fn size(bytes: u64) -> String {
    format!("{}M", (bytes + (1 << 19)) >> 20)
}

/// A size in the words of a Compose file: with a unit, for Compose wants no number there.
pub fn written(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { size(bytes) } else { format!("{bytes}b") }
}

/// A text in which Compose is to see no variable.
fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// What each container may use at the beginning. What the files leave open is shared among those that they leave open.
fn start(compose: &Compose, groups: &[Group], budget: &Budget) -> anyhow::Result<Vec<Limit>> {
    let containers = groups.iter().flat_map(|group| group.services.iter().map(move |service| (group, service)));
    let mut limits = Vec::new();
    for (group, service) in containers {
        let limit = compose.limit(service)?;
        let own = group.containers.iter().filter(|name| is_of(name, service));
        limits.extend(own.map(|name| Limit { service: name.clone(), ..limit.clone() }));
    }
    let open_cpus = limits.iter().filter(|limit| limit.cpus.is_none()).count() as f64;
    let open_memory = limits.iter().filter(|limit| limit.memory_bytes.is_none()).count() as u64;
    let given_cpus: f64 = limits.iter().filter_map(|limit| limit.cpus).sum();
    let given_memory: u64 = limits.iter().filter_map(|limit| limit.memory_bytes).sum();
    for limit in &mut limits {
        limit.cpus.get_or_insert((budget.cpus() - given_cpus) / open_cpus.max(1.0));
        limit.memory_bytes.get_or_insert(budget.memory_bytes().saturating_sub(given_memory) / open_memory.max(1));
    }
    let too_little =
        |limit: &&Limit| limit.cpus < Some(super::split::LEAST) || limit.memory_bytes < Some(memory::LEAST);
    if let Some(limit) = limits.iter().find(too_little) {
        bail!("nothing of the budget of {budget} is left for {}, which has no limit of its own", limit.service);
    }
    Ok(limits)
}

/// Whether a container is a service's: the first is called like it, the others bear numbers.
fn is_of(container: &str, service: &str) -> bool {
    let number = container.strip_prefix(service).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
    container == service || number.is_some_and(|number| number.parse::<u64>().is_ok())
}

fn containers(service: &str, replicas: u64) -> Vec<String> {
    let name = |nth: u64| if nth == 1 { service.to_owned() } else { format!("{service}-{nth}") };
    (1..=replicas.max(1)).map(name).collect()
}

fn is_postgres(compose: &Compose, service: &str) -> anyhow::Result<bool> {
    Ok(compose.image(service)?.is_some_and(|image| image.contains("postgres")))
}

/// Bytes of memory that a service's settings need: PostgreSQL's pages and what it holds beside them. Of others nothing is known.
fn need(compose: &Compose, service: &str) -> anyhow::Result<u64> {
    if !is_postgres(compose, service)? {
        return Ok(0);
    }
    let words = compose.command(service)?;
    let buffers =
        words.iter().filter_map(|word| word.trim_start_matches("-c").strip_prefix("shared_buffers=")).next_back();
    let buffers = buffers.map(|text| match text.parse::<u64>() {
        Ok(pages) => Some(pages * PAGE),
        Err(_) => bytes(&text.into()),
    });
    let buffers = match buffers {
        None => SHARED_BUFFERS,
        Some(buffers) => buffers.with_context(|| format!("services.{service}: shared_buffers cannot be read"))?,
    };
    // Beside the pages stands what tells which page is where.
    Ok(buffers + buffers / 50 + BESIDE_BUFFERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_text_to_compose_and_stays_what_it_is() {
        for (size, text) in [(64 << 20, "64M"), (429_496_729, "429496729b")] {
            assert_eq!(written(size), text);
            assert_eq!(bytes(&text.into()), Some(size));
        }
        assert_eq!(size(429_496_729), "410M");
    }
}
