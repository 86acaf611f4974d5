//! Reads Compose files without Compose, into the form that `docker compose config --format json` gives.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use super::merge::{clear, extend, lay_over, normalize};
use super::variables::{Variables, read_file};
use super::yaml::{self, Document};

/// Services that extend each other deeper than this go in a circle.
const DEEPEST: usize = 16;

/// The stack after each of the files, of which every one is laid over those before it.
///
/// # Errors
///
/// If a file cannot be read, or is none that Compose takes; the message begins with its path.
pub(super) fn read(files: &[&Path]) -> anyhow::Result<Vec<Value>> {
    let folder = files.first().and_then(|file| file.parent()).unwrap_or(Path::new("."));
    let project = Project { folder, variables: Variables::of_project(folder)? };
    let mut laid = Value::Null;
    let mut stacks = Vec::new();
    for file in files {
        let shown = || file.display().to_string();
        for document in project.documents(file)? {
            document.cleared.iter().for_each(|path| clear(&mut laid, path));
            lay_over(&mut laid, document.tree).with_context(shown)?;
        }
        let mut stack = laid.clone();
        project.resolve_environments(&mut stack).with_context(shown)?;
        stacks.push(stack);
    }
    Ok(stacks)
}

struct Project<'a> {
    folder: &'a Path,
    variables: Variables,
}

impl Project<'_> {
    /// The documents of a file, with their variables filled in, each service by itself and in one notation.
    fn documents(&self, file: &Path) -> anyhow::Result<Vec<Document>> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        self.parse(&text, file, DEEPEST).with_context(|| file.display().to_string())
    }

    fn parse(&self, text: &str, file: &Path, depth: usize) -> anyhow::Result<Vec<Document>> {
        let mut documents = yaml::parse(text)?;
        for document in &mut documents {
            ensure!(document.tree.get("include").is_none(), "include: only Docker's own reading knows it");
            self.fill(&mut document.tree, &mut Vec::new())?;
            let Some(services) = document.tree.get_mut("services").filter(|services| !services.is_null()) else {
                continue;
            };
            let services = services.as_object_mut().context("services: it must be a map")?;
            for (name, service) in services.iter_mut() {
                let map = service.as_object_mut().with_context(|| format!("services.{name}: it must be a map"))?;
                normalize(map).with_context(|| format!("services.{name}"))?;
            }
            let names: Vec<String> = services.keys().cloned().collect();
            for name in names {
                let whole = self.extended(services, &name, file, depth).with_context(|| format!("services.{name}"))?;
                services.insert(name, whole);
            }
        }
        Ok(documents)
    }

    fn fill(&self, value: &mut Value, path: &mut Vec<String>) -> anyhow::Result<()> {
        match value {
            Value::String(text) => *text = self.variables.fill(text).with_context(|| path.join("."))?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill(item, path))?,
            Value::Object(map) => {
                for (key, value) in map {
                    path.push(key.clone());
                    self.fill(value, path)?;
                    path.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A service laid over the one that it extends, if it does.
    fn extended(&self, services: &Map<String, Value>, name: &str, file: &Path, depth: usize) -> anyhow::Result<Value> {
        let mut service = services.get(name).cloned().with_context(|| format!("there is no service {name}"))?;
        let Some(extends) = service.as_object_mut().and_then(|map| map.remove("extends")) else { return Ok(service) };
        ensure!(depth > 0, "extends: in a circle");
        let base = extends.as_str().or_else(|| extends.get("service")?.as_str());
        let base = base.context("extends: it must name a service")?;
        let mut whole = match extends.get("file").and_then(Value::as_str) {
            None => self.extended(services, base, file, depth - 1)?,
            Some(other) => {
                let other = file.parent().unwrap_or(self.folder).join(other);
                let text = std::fs::read_to_string(&other).with_context(|| other.display().to_string())?;
                let mut documents =
                    self.parse(&text, &other, depth - 1).with_context(|| other.display().to_string())?;
                let found =
                    documents.iter_mut().find_map(|document| document.tree.pointer_mut("/services")?.get_mut(base));
                found.with_context(|| format!("extends: {} has no service {base}", other.display()))?.take()
            }
        };
        extend(&mut whole, service)?;
        Ok(whole)
    }

    /// Puts the variables of `env_file` beneath a service's own, and fills in those that are handed on from the caller.
    fn resolve_environments(&self, stack: &mut Value) -> anyhow::Result<()> {
        let services = stack.get_mut("services").and_then(Value::as_object_mut);
        for (name, service) in services.into_iter().flatten() {
            let service = service.as_object_mut().with_context(|| format!("services.{name}: it must be a map"))?;
            let mut environment = Map::new();
            for file in service.remove("env_file").iter().flat_map(entries) {
                environment.extend(self.env_file(file).with_context(|| format!("services.{name}.env_file"))?);
            }
            if let Some(Value::Object(own)) = service.remove("environment") {
                environment.extend(own);
            }
            for (name, value) in environment.iter_mut().filter(|(_, value)| value.is_null()) {
                *value = self.variables.get(name).into();
            }
            if !environment.is_empty() {
                service.insert("environment".into(), environment.into());
            }
        }
        Ok(())
    }

    fn env_file(&self, file: &Value) -> anyhow::Result<Map<String, Value>> {
        let path = file.as_str().or_else(|| file.get("path")?.as_str());
        let Some(path) = path else { bail!("{file} is no file") };
        let path = self.folder.join(path);
        let required = file.get("required").and_then(Value::as_bool).unwrap_or(true);
        if !required && !path.exists() {
            return Ok(Map::new());
        }
        Ok(read_file(&path)?.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}

/// One or several of something.
fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}
