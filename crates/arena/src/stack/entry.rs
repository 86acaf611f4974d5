//! An entry of the contest: the Compose file in a directory as it is, under Docker, with whatever services it has.
//!
//! It runs as a Compose project of its own. What was not there before it came is removed when it goes: containers,
//! volumes, networks, folders that Docker made for it, and images that were built for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::docker::docker;
use super::process;
use crate::exit;
use crate::record::run::Limit;

/// The names that Compose looks for.
const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Those that it lays over them by itself.
const OVERRIDES: [&str; 4] =
    ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// The label by which Compose knows what is of a project.
const PROJECT: &str = "com.docker.compose.project";

/// Time between two looks at a command that takes long.
const LOOK: Duration = Duration::from_millis(100);

/// How many last lines of a log are worth telling.
const LAST_LINES: usize = 8;

/// An entry, whether it runs or not.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its directory.
    pub folder: PathBuf,
    /// The directory's name.
    pub name: String,
    project: String,
    /// Compose files that are laid over its own.
    overlays: Vec<PathBuf>,
}

/// An entry in the form of `docker compose config --format json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    services: BTreeMap<String, Service>,
}

/// What the arena needs of a service in the form of `docker compose config --format json`.
#[derive(Clone, Debug, Deserialize)]
struct Service {
    image: Option<String>,
    build: Option<Value>,
    #[serde(default)]
    volumes: Vec<Value>,
}

/// What there was before an entry came.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// By the name of an image that is built: what it was, if there was one.
    images: BTreeMap<String, Option<String>>,
    /// Images that were built for the entry and kept, by id.
    kept: BTreeSet<String>,
    /// Folders that Docker is going to make.
    folders: Vec<PathBuf>,
}

/// A container of an entry.
#[derive(Clone, Debug)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// The service, and its number where there are several of it.
    pub name: String,
    /// Its image's name.
    pub image: String,
    /// What it may use, as Docker was told.
    pub limit: Limit,
    /// Whether it runs.
    pub running: bool,
    /// The status that it ended with.
    pub exit_code: i64,
    /// Whether it was killed because its memory did not suffice.
    pub out_of_memory: bool,
    /// How often Docker started it anew.
    pub restarts: u64,
    /// This machine's addresses in the container's networks; none where it has the machine's own network.
    pub gateways: Vec<Ipv4Addr>,
}

impl Entry {
    /// The entry in a folder.
    ///
    /// # Errors
    ///
    /// If there is no Compose file in it.
    pub fn at(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        // Compose would look in the folders above too.
        let there = FILES.iter().any(|file| folder.join(file).is_file());
        ensure!(there, "there is no {} in {}", FILES.join(" or "), folder.display());
        let name = folder.file_name().map_or_else(|| "root".into(), |name| name.to_string_lossy().into_owned());
        let project = format!("peleja-{:08x}-{}", hash(&folder), plain(&name));
        Ok(Self { folder, name, project, overlays: Vec::new() })
    }

    /// The same entry under another name.
    pub fn called(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The same entry with other Compose files laid over its own.
    ///
    /// # Errors
    ///
    /// If one of them is no file.
    pub fn laid_over(self, overlays: &[PathBuf]) -> anyhow::Result<Self> {
        let found = |path: &PathBuf| path.canonicalize().with_context(|| path.display().to_string());
        Ok(Self { overlays: overlays.iter().map(found).collect::<Result<_, _>>()?, ..self })
    }

    /// Whether Compose takes the entry's file.
    ///
    /// # Errors
    ///
    /// What it says of it.
    pub fn check(&self) -> anyhow::Result<()> {
        self.services().map(drop)
    }

    fn services(&self) -> anyhow::Result<BTreeMap<String, Service>> {
        let config: Config = serde_json::from_str(&self.config()?).context("docker compose config")?;
        ensure!(!config.services.is_empty(), "{}: there is no service", self.folder.display());
        Ok(config.services)
    }

    /// What Compose makes of the entry's files, as `docker compose config --format json` prints it.
    ///
    /// # Errors
    ///
    /// If Compose refuses them, with what it says.
    pub fn config(&self) -> anyhow::Result<String> {
        let output = self.compose().args(["config", "--format", "json"]).output();
        let output = output.context("starting docker; is it installed?")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let faults: Vec<&str> = said.lines().filter(|line| !line.contains("level=warning")).collect();
        ensure!(output.status.success(), "{}: {}", self.folder.display(), faults.join("; "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn compose(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["compose", "--ansi", "never", "--project-name", &self.project]).current_dir(&self.folder);
        // The entry is run as it is, and not as the caller runs things of his own.
        for file in if self.overlays.is_empty() { Vec::new() } else { self.files() } {
            command.arg("--file").arg(file);
        }
        for name in ["COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"] {
            command.env_remove(name);
        }
        command
    }

    /// The files that Compose finds by itself while it is given none, and those that are laid over them.
    pub fn files(&self) -> Vec<PathBuf> {
        let first = |names: &[&str]| names.iter().map(|name| self.folder.join(name)).find(|path| path.is_file());
        let own = [first(&FILES), first(&OVERRIDES)];
        own.into_iter().flatten().chain(self.overlays.clone()).collect()
    }

    /// Notes what is there before the entry comes, and removes what a crash left of it.
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn look_before(&self) -> anyhow::Result<Before> {
        let services = self.services()?;
        self.end()?;
        let images = self.built_images(&services).map(|image| Ok((image.clone(), image_id(&image)?)));
        let folders = services.values().flat_map(|service| &service.volumes).filter_map(|volume| {
            let source = (volume.get("type")? == "bind").then(|| volume.get("source")?.as_str())??;
            topmost_missing(Path::new(source))
        });
        let images = images.collect::<anyhow::Result<_>>()?;
        Ok(Before { images, kept: self.images()?, folders: folders.collect() })
    }

    /// Builds and starts the entry. What Docker says goes to a file.
    ///
    /// # Errors
    ///
    /// If something does not build or start, with the last lines of what was said; or if the user wants an end.
    pub fn up(&self, log: &Path) -> anyhow::Result<()> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        let mut command = self.compose();
        command.args(["--progress", "plain", "up", "--build", "--detach", "--quiet-pull"]);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = command.spawn().context("starting docker; is it installed?")?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if exit::is_interrupted() {
                child.kill().and_then(|()| child.wait().map(drop))?;
                bail!("interrupted");
            }
            std::thread::sleep(LOOK);
        };
        ensure!(status.success(), "it does not start:\n{}{}", process::tail(log, LAST_LINES), self.ended_words());
        Ok(())
    }

    /// The containers of the entry, by name.
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn containers(&self) -> anyhow::Result<Vec<Container>> {
        let filter = format!("label={PROJECT}={}", self.project);
        let ids = docker(&["ps", "--all", "--quiet", "--filter", &filter])?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let text = docker(&[&["inspect", "--type", "container"], &ids[..]].concat())?;
        let found: Vec<Inspected> = serde_json::from_str(&text).context("docker inspect")?;
        let mut containers: Vec<Container> = found.into_iter().map(Inspected::container).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// The last lines of what a container wrote, each behind a bar; nothing where there are none.
    pub fn last_words(&self, container: &Container) -> String {
        let lines = LAST_LINES.to_string();
        let output = Command::new("docker").args(["logs", "--tail", &lines, &container.id]).output();
        let Ok(output) = output else { return String::new() };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().map(|line| format!("\n  {} | {}", container.name, line.trim_end())).collect()
    }

    /// The last lines of every container that ended badly.
    pub fn ended_words(&self) -> String {
        let containers = self.containers().unwrap_or_default();
        let ended = containers.iter().filter(|container| !container.running && container.exit_code != 0);
        ended.map(|container| self.last_words(container)).collect()
    }

    /// Ends the entry and removes all that came with it; images that were built for it only where they are not to be kept.
    ///
    /// # Errors
    ///
    /// If Docker does not do it, or a folder that it made cannot be removed.
    pub fn down(&self, before: &Before, keep_images: bool) -> anyhow::Result<()> {
        self.end()?;
        for folder in before.folders.iter().filter(|folder| folder.exists()) {
            let removed = if folder.is_dir() { fs::remove_dir_all(folder) } else { fs::remove_file(folder) };
            removed.with_context(|| format!("Docker made {} for {}, and it stays", folder.display(), self.name))?;
        }
        for (image, old) in before.images.iter().filter(|_| !keep_images) {
            let new = image_id(image)?;
            if new.is_some() && new != *old {
                docker(&["image", "rm", "--force", image])?;
            }
            if let Some(old) = old.as_ref().filter(|old| new.as_ref() != Some(old)) {
                docker(&["image", "tag", old, image])?;
            }
        }
        // Where several services build an image of the same name, all but one of them have lost it.
        let built = if keep_images { BTreeSet::new() } else { self.images()? };
        for image in built.difference(&before.kept) {
            docker(&["image", "rm", "--force", image])?;
        }
        Ok(())
    }

    /// Images that Compose has built for the entry, by id.
    fn images(&self) -> anyhow::Result<BTreeSet<String>> {
        let filter = format!("label={PROJECT}={}", self.project);
        let ids = docker(&["image", "ls", "--quiet", "--no-trunc", "--filter", &filter])?;
        Ok(ids.lines().map(str::to_owned).collect())
    }

    fn end(&self) -> anyhow::Result<()> {
        let output = self.compose().args(["down", "--volumes", "--remove-orphans", "--timeout", "5"]).output();
        let output = output.context("starting docker; is it installed?")?;
        ensure!(output.status.success(), "docker compose down: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    fn built_images<'a>(&'a self, services: &'a BTreeMap<String, Service>) -> impl Iterator<Item = String> + 'a {
        let built = services.iter().filter(|(_, service)| service.build.is_some());
        built.map(|(name, service)| service.image.clone().unwrap_or_else(|| format!("{}-{name}", self.project)))
    }
}

/// What the arena needs of `docker inspect`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    restart_count: u64,
    state: State,
    config: Made,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    gateway: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    exit_code: i64,
    #[serde(rename = "OOMKilled")]
    out_of_memory: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    image: String,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    nano_cpus: i64,
    cpu_quota: i64,
    cpu_period: i64,
    memory: i64,
}

impl Inspected {
    fn container(self) -> Container {
        let label = |name: &str| self.config.labels.get(&format!("com.docker.compose.{name}")).cloned();
        let service = label("service").unwrap_or_else(|| self.id.clone());
        let name = match label("container-number").filter(|number| number != "1") {
            Some(number) => format!("{service}-{number}"),
            None => service,
        };
        let limit =
            Limit { service: name.clone(), cpus: self.host_config.cpus(), memory_bytes: self.host_config.memory() };
        Container {
            id: self.id,
            name,
            image: self.config.image,
            limit,
            running: self.state.running,
            exit_code: self.state.exit_code,
            out_of_memory: self.state.out_of_memory,
            restarts: self.restart_count,
            gateways: self
                .network_settings
                .networks
                .values()
                .filter_map(|network| network.gateway.parse().ok())
                .collect(),
        }
    }
}

impl HostConfig {
    fn cpus(&self) -> Option<f64> {
        // Docker's default period is the kernel's.
        let period = if self.cpu_period > 0 { self.cpu_period } else { 100_000 };
        let quota = (self.cpu_quota > 0).then(|| self.cpu_quota as f64 / period as f64);
        (self.nano_cpus > 0).then(|| self.nano_cpus as f64 / 1e9).or(quota)
    }

    fn memory(&self) -> Option<u64> {
        u64::try_from(self.memory).ok().filter(|bytes| *bytes > 0)
    }
}

fn image_id(image: &str) -> anyhow::Result<Option<String>> {
    let ids = docker(&["image", "ls", "--quiet", "--no-trunc", image])?;
    Ok(ids.lines().next().map(str::to_owned))
}

/// The first folder on the way to a path that is not there.
fn topmost_missing(path: &Path) -> Option<PathBuf> {
    let above: Vec<&Path> = path.ancestors().collect();
    above.into_iter().rev().find(|folder| !folder.exists()).map(Path::to_owned)
}

/// A name as Compose allows it for projects.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}

/// FNV-1a: the same folder always has the same project, so that any arena finds what a crash left of it.
fn hash(folder: &Path) -> u32 {
    let bytes = folder.as_os_str().as_encoded_bytes().iter();
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_compose_file_is_no_entry_whatever_lies_above() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("docker-compose.yml"), "services: {a: {image: b}}").unwrap();
        let below = folder.path().join("entry");
        fs::create_dir(&below).unwrap();
        let error = format!("{:#}", Entry::at(&below).unwrap_err());
        assert!(error.contains("there is no compose.yaml or"), "{error}");
    }

    #[test]
    fn limits_are_read_in_each_way_that_docker_knows() {
        let cpus = |nano_cpus, cpu_quota, cpu_period| HostConfig { nano_cpus, cpu_quota, cpu_period, memory: 0 }.cpus();
        assert_eq!(cpus(250_000_000, 0, 0), Some(0.25));
        assert_eq!([cpus(0, 50_000, 0), cpus(0, 50_000, 50_000), cpus(0, 0, 0)], [Some(0.5), Some(1.0), None]);
    }

    #[test]
    fn what_docker_is_going_to_make_is_told_from_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(topmost_missing(&folder.path().join("a/b/c")), Some(folder.path().join("a")));
        assert_eq!(topmost_missing(folder.path()), None);
        assert_eq!(plain("Rinha.2023 Q3_x"), "rinha-2023-q3_x");
    }
}
