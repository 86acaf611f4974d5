//! What `docker-compose.yml` says of the stack: the one place where its limits and settings stand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::record::run::Limit;

/// The services of a bout, in the order in which they are reported.
pub const SERVICES: [&str; 4] = ["nginx", "api1", "api2", "db"];

/// The services that make up the stack, by name.
#[derive(Clone, Debug)]
pub struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Clone, Debug, Deserialize)]
struct File {
    services: BTreeMap<String, Service>,
}

#[derive(Clone, Debug, Deserialize)]
struct Service {
    #[serde(default)]
    command: Vec<String>,
    /// A name without a value is handed on from the caller's environment.
    #[serde(default)]
    environment: BTreeMap<String, Option<String>>,
    deploy: Option<Deploy>,
}

#[derive(Clone, Debug, Deserialize)]
struct Deploy {
    resources: Resources,
}

#[derive(Clone, Debug, Deserialize)]
struct Resources {
    limits: Limits,
}

#[derive(Clone, Debug, Deserialize)]
struct Limits {
    cpus: Option<String>,
    memory: Option<String>,
}

impl Compose {
    /// Reads the file, and lays others over it as `docker compose` does: what is given later wins, variable by variable
    /// and limit by limit; a command is replaced whole.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or one of [`SERVICES`] or a limit of one is missing in the end.
    pub fn read(path: &Path, overlays: &[PathBuf]) -> anyhow::Result<Self> {
        let mut services = BTreeMap::new();
        for path in std::iter::once(path).chain(overlays.iter().map(PathBuf::as_path)) {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let file: File = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
            lay_over(&mut services, file.services);
        }
        let compose = Self { services };
        compose.limits().with_context(|| path.display().to_string())?;
        Ok(compose)
    }

    /// The limits of [`SERVICES`], in their order.
    ///
    /// # Errors
    ///
    /// If a service or its limit is missing or cannot be read.
    pub fn limits(&self) -> anyhow::Result<Vec<Limit>> {
        SERVICES.iter().map(|name| self.limit(name)).collect()
    }

    /// The limit of one service.
    ///
    /// # Errors
    ///
    /// If the service or its limit is missing or cannot be read.
    pub fn limit(&self, name: &str) -> anyhow::Result<Limit> {
        let deploy = self.service(name)?.deploy.as_ref();
        let limits =
            &deploy.with_context(|| format!("service {name} has no deploy.resources.limits"))?.resources.limits;
        let given = |limit: &Option<String>, what: &str| {
            limit.clone().with_context(|| format!("service {name} has no limit on its {what}"))
        };
        let (cpus, memory) = (given(&limits.cpus, "cpus")?, given(&limits.memory, "memory")?);
        let cpus = cpus
            .parse::<f64>()
            .ok()
            .filter(|cpus| *cpus > 0.0)
            .with_context(|| format!("service {name}: cpus: {cpus}"))?;
        let memory = bytes(&memory).with_context(|| format!("service {name}: memory: {memory}"))?;
        Ok(Limit { service: name.to_owned(), cpus: Some(cpus), memory_bytes: Some(memory) })
    }

    /// The command of a service.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn command(&self, name: &str) -> anyhow::Result<&[String]> {
        Ok(&self.service(name)?.command)
    }

    /// The environment of a service, as far as the file gives it.
    ///
    /// # Errors
    ///
    /// If there is no such service.
    pub fn environment(&self, name: &str) -> anyhow::Result<BTreeMap<&str, &str>> {
        let environment = &self.service(name)?.environment;
        Ok(environment.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?))).collect())
    }

    fn service(&self, name: &str) -> anyhow::Result<&Service> {
        self.services.get(name).with_context(|| format!("there is no service {name}"))
    }
}

fn lay_over(services: &mut BTreeMap<String, Service>, others: BTreeMap<String, Service>) {
    for (name, over) in others {
        let Some(service) = services.get_mut(&name) else {
            services.insert(name, over);
            continue;
        };
        service.environment.extend(over.environment);
        if !over.command.is_empty() {
            service.command = over.command;
        }
        let over = over.deploy.map(|deploy| deploy.resources.limits);
        match (&mut service.deploy, over) {
            (Some(deploy), Some(over)) => {
                let limits = &mut deploy.resources.limits;
                limits.cpus = over.cpus.or(limits.cpus.take());
                limits.memory = over.memory.or(limits.memory.take());
            }
            (deploy @ None, Some(limits)) => *deploy = Some(Deploy { resources: Resources { limits } }),
            (_, None) => {}
        }
    }
}

/// Compose's byte values: a number and one of b, k, kb, m, mb, g, gb in either case, all powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor: u64 = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_s_file_keeps_to_the_budget() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker-compose.yml");
        let limits = Compose::read(&path, &[]).unwrap().limits().unwrap();
        let cpus: f64 = limits.iter().filter_map(|limit| limit.cpus).sum();
        let memory: u64 = limits.iter().filter_map(|limit| limit.memory_bytes).sum();
        assert!(cpus <= 1.5, "{cpus} CPUs");
        assert!(memory <= 3 << 30, "{memory} bytes");
    }

    #[test]
    fn a_service_without_a_limit_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "services: {nginx: {image: x}}").unwrap();
        let error = format!("{:#}", Compose::read(file.path(), &[]).unwrap_err());
        assert!(error.contains("nginx has no deploy.resources.limits"), "{error}");
    }

    #[test]
    fn what_is_laid_over_wins() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker-compose.yml");
        let over = tempfile::NamedTempFile::new().unwrap();
        let text =
            "services: {api1: {environment: {PELEJA_BATCH: \"1\"}, deploy: {resources: {limits: {cpus: \"0.25\"}}}}}";
        std::fs::write(over.path(), text).unwrap();
        let plain = Compose::read(&path, &[]).unwrap();
        let compose = Compose::read(&path, &[over.path().to_owned()]).unwrap();
        let environment = compose.environment("api1").unwrap();
        assert_eq!((environment["PELEJA_BATCH"], environment.contains_key("PELEJA_LISTEN")), ("1", true));
        assert_eq!(compose.limit("api1").unwrap(), Limit { cpus: Some(0.25), ..plain.limit("api1").unwrap() });
        assert_eq!(compose.limit("api2").unwrap(), plain.limit("api2").unwrap());
        assert_eq!(compose.command("db").unwrap(), plain.command("db").unwrap());
    }

    #[test]
    fn every_experiment_can_be_laid_over_and_keeps_to_the_budget() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let files = std::fs::read_dir(root.join("experiments")).unwrap();
        for overlay in files.map(|file| file.unwrap().path()) {
            let compose = Compose::read(&root.join("docker-compose.yml"), std::slice::from_ref(&overlay)).unwrap();
            let cpus: f64 = compose.limits().unwrap().iter().filter_map(|limit| limit.cpus).sum();
            assert!(cpus <= 1.5, "{}: {cpus} CPUs", overlay.display());
            let plain = Compose::read(&root.join("docker-compose.yml"), &[]).unwrap();
            let changes = |service: &&str| compose.environment(service).unwrap() != plain.environment(service).unwrap();
            assert!(["api1", "db"].iter().any(changes), "{}", overlay.display());
        }
    }

    #[test]
    fn sizes_are_read_as_compose_reads_them() {
        assert_eq!(bytes("1536M"), Some(1536 << 20));
        assert_eq!(bytes("1gb"), Some(1 << 30));
        assert_eq!(bytes("12"), Some(12));
        assert_eq!(bytes("1.5G"), None);
    }
}
