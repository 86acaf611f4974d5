//! What `docker-compose.yml` says of the stack: the one place where its limits and settings stand.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::run::Limit;

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
    cpus: String,
    memory: String,
}

impl Compose {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or lacks one of [`SERVICES`] or a limit of one.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let File { services } = serde_saphyr::from_str(text)?;
        let compose = Self { services };
        compose.limits()?;
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

    fn limit(&self, name: &str) -> anyhow::Result<Limit> {
        let deploy = self.service(name)?.deploy.as_ref();
        let limits =
            &deploy.with_context(|| format!("service {name} has no deploy.resources.limits"))?.resources.limits;
        let cpus: f64 = limits.cpus.parse().with_context(|| format!("service {name}: cpus: {}", limits.cpus))?;
        ensure!(cpus > 0.0, "service {name}: cpus: {}", limits.cpus);
        let memory = bytes(&limits.memory).with_context(|| format!("service {name}: memory: {}", limits.memory))?;
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
        let limits = Compose::read(&path).unwrap().limits().unwrap();
        let cpus: f64 = limits.iter().filter_map(|limit| limit.cpus).sum();
        let memory: u64 = limits.iter().filter_map(|limit| limit.memory_bytes).sum();
        assert!(cpus <= 1.5, "{cpus} CPUs");
        assert!(memory <= 3 << 30, "{memory} bytes");
    }

    #[test]
    fn a_service_without_a_limit_is_refused() {
        let text = "services: {nginx: {image: x}}";
        assert!(format!("{:#}", Compose::parse(text).unwrap_err()).contains("nginx has no deploy.resources.limits"));
    }

    #[test]
    fn sizes_are_read_as_compose_reads_them() {
        assert_eq!(bytes("1536M"), Some(1536 << 20));
        assert_eq!(bytes("1gb"), Some(1 << 30));
        assert_eq!(bytes("12"), Some(12));
        assert_eq!(bytes("1.5G"), None);
    }
}
