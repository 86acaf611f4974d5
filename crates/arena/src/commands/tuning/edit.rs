//! Changes to a Compose file as a person would make them: in its text, where each value stands, and nothing else.
//!
//! A value is found by its text and changed there; the file is then read again, and the change counts only if that made what
//! was wanted and nothing more.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use similar::TextDiff;

use super::subject::written;
use crate::record::run::Limit;
use crate::stack::compose::{Compose, bytes};

/// A Compose file that is changed.
pub struct Edit {
    text: String,
    /// A folder with the text and the variables that it may use, to read both again.
    folder: tempfile::TempDir,
}

/// One of a service's limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Cpus,
    Memory,
}

impl Edit {
    /// Begins with a file as it is.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn of(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let folder = tempfile::tempdir()?;
        let variables = file.with_file_name(".env");
        if variables.is_file() {
            fs::copy(&variables, folder.path().join(".env"))?;
        }
        Ok(Self { text, folder })
    }

    /// The text as it is by now.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Holds services to other limits, all of them to the same.
    ///
    /// # Errors
    ///
    /// If the file says it in a way that cannot be changed by itself.
    pub fn limit(&mut self, services: &[String], cpus: f64, memory_bytes: u64) -> anyhow::Result<()> {
        self.limit_one(services, Key::Cpus, |limit| limit.cpus = Some(cpus), &cpus.to_string())?;
        self.limit_one(services, Key::Memory, |limit| limit.memory_bytes = Some(memory_bytes), &written(memory_bytes))
    }

    fn limit_one(
        &mut self,
        services: &[String],
        key: Key,
        change: impl Fn(&mut Limit),
        value: &str,
    ) -> anyhow::Result<()> {
        let before = self.read(&self.text)?;
        let wanted = |name: &str| -> anyhow::Result<Limit> {
            let mut limit = before.limit(name)?;
            if services.iter().any(|service| service == name) {
                change(&mut limit);
            }
            Ok(limit)
        };
        let is_made = |after: &Compose| {
            before.names().all(|name| matches!((after.limit(name), wanted(name)), (Ok(a), Ok(b)) if a == b))
        };
        let first = services.first().context("no service")?;
        if is_made(&before) {
            return Ok(());
        }
        let old = before.limit(first)?;
        let is_old = |line: &str| says(line, key, &old);
        let replaced = |line: &str| with_value(line, key, value);
        self.change(services, is_old, replaced, is_made)
            .with_context(|| format!("the limits of {} are not said in a way that can be changed", services.join(", ")))
    }

    /// Gives a variable of services' environment another value.
    ///
    /// # Errors
    ///
    /// If the file does not give it one where it can be changed.
    pub fn environment(&mut self, services: &[String], name: &str, value: &str) -> anyhow::Result<()> {
        let is_old = |line: &str| after_name(line, name).is_some();
        let replaced = |line: &str| {
            let (head, _) = after_name(line, name)?;
            // A map's value that YAML might take for a number is quoted; a list's is a part of a text.
            Some(if head.ends_with('=') { format!("{head}{value}") } else { format!("{head} \"{value}\"") })
        };
        let is_made = |after: &Compose| {
            let is_so = |service: &String| after.environment(service).is_ok_and(|all| all.get(name) == Some(&value));
            services.iter().all(is_so)
        };
        self.change(services, is_old, replaced, is_made)
            .with_context(|| format!("the environment does not say {name} where it can be changed"))
    }

    /// Gives a setting of PostgreSQL on a service's command line another value.
    ///
    /// # Errors
    ///
    /// If the command is not one to which it can be added.
    pub fn postgres(&mut self, service: &str, name: &str, value: &str) -> anyhow::Result<()> {
        let services = [service.to_owned()];
        let made = format!("{name}={value}");
        let is_made = |after: &Compose| {
            after.command(service).is_ok_and(|words| words.iter().any(|word| word.trim_start_matches("-c") == made))
        };
        let is_old = |line: &str| line.contains(&format!("{name}="));
        let replaced = |line: &str| {
            let (head, rest) = line.split_once(&format!("{name}="))?;
            let end = rest.find([' ', '"', '\'', ',', ']']).unwrap_or(rest.len());
            Some(format!("{head}{made}{}", &rest[end..]))
        };
        if self.change(&services, is_old, replaced, is_made).is_ok() {
            return Ok(());
        }
        // Behind the last setting of its kind.
        let is_setting = |line: &str| line.trim_start().starts_with("- -c");
        let last = self.lines_of(service).rfind(|nth| self.text.lines().nth(*nth).is_some_and(is_setting));
        let added = last.map(|last| {
            let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
            let indent = lines[last].len() - lines[last].trim_start().len();
            lines.insert(last + 1, format!("{}- -c{made}", " ".repeat(indent)));
            lines.join("\n") + "\n"
        });
        match added.filter(|text| self.read(text).is_ok_and(|after| is_made(&after))) {
            Some(text) => self.text = text,
            None => bail!("the command of {service} is not one to which {name} can be added"),
        }
        Ok(())
    }

    /// Changes lines until the file says what is wanted: those of the services themselves, all together; else any other one.
    fn change(
        &mut self,
        services: &[String],
        is_old: impl Fn(&str) -> bool,
        replaced: impl Fn(&str) -> Option<String>,
        is_made: impl Fn(&Compose) -> bool,
    ) -> anyhow::Result<()> {
        let old: Vec<usize> =
            self.text.lines().enumerate().filter(|(_, line)| is_old(line)).map(|(nth, _)| nth).collect();
        let own: Vec<usize> = services.iter().flat_map(|service| self.lines_of(service)).collect();
        let own: Vec<usize> = old.iter().copied().filter(|nth| own.contains(nth)).collect();
        let others = old.iter().filter(|nth| !own.contains(nth)).map(|nth| vec![*nth]);
        for chosen in std::iter::once(own.clone()).chain(others).filter(|chosen| !chosen.is_empty()) {
            let line = |(nth, line): (usize, &str)| match chosen.contains(&nth) {
                true => replaced(line),
                false => Some(line.to_owned()),
            };
            let Some(lines) = self.text.lines().enumerate().map(line).collect::<Option<Vec<_>>>() else { continue };
            let text = lines.join("\n") + "\n";
            if self.read(&text).is_ok_and(|after| is_made(&after)) {
                self.text = text;
                return Ok(());
            }
        }
        bail!("no line of the Compose file says it by itself")
    }

    /// The lines of a service: from its name to the next line that is indented no more than that.
    fn lines_of(&self, service: &str) -> std::ops::Range<usize> {
        let lines: Vec<&str> = self.text.lines().collect();
        let indent = |line: &str| line.len() - line.trim_start().len();
        let is_text = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let services = lines.iter().position(|line| line.trim_end() == "services:").unwrap_or(0);
        let head = format!("{service}:");
        let start =
            lines.iter().skip(services).position(|line| line.trim_start().starts_with(&head) && indent(line) > 0);
        let Some(start) = start.map(|nth| nth + services) else { return 0..0 };
        let rest = lines.iter().skip(start + 1);
        let length = rest.take_while(|line| !is_text(line) || indent(line) > indent(lines[start])).count();
        start..start + 1 + length
    }

    fn read(&self, text: &str) -> anyhow::Result<Compose> {
        let file = self.folder.path().join("compose.yml");
        fs::write(&file, text)?;
        Compose::read_any(&file)
    }
}

/// The difference between two texts of a file, as `patch` and `git apply` take it.
pub fn unified(name: &str, before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    diff.unified_diff().header(&format!("a/{name}"), &format!("b/{name}")).to_string()
}

/// Where in a line a limit's value stands.
fn place(line: &str, key: Key) -> Option<(usize, usize)> {
    let names: &[&str] = if key == Key::Cpus { &["cpus:"] } else { &["memory:", "mem_limit:"] };
    let (name, at) = names.iter().find_map(|name| Some((name, line.find(name)?)))?;
    if line.trim_start().starts_with('#') {
        return None;
    }
    let rest = &line[at + name.len()..];
    let start = at + name.len() + (rest.len() - rest.trim_start().len());
    let length = line[start..].find([',', '}', '#']).unwrap_or(line.len() - start);
    let end = start + line[start..start + length].trim_end().len();
    (end > start).then_some((start, end))
}

fn says(line: &str, key: Key, old: &Limit) -> bool {
    let Some((start, end)) = place(line, key) else { return false };
    let value = line[start..end].trim_matches(['"', '\'']);
    match key {
        Key::Cpus => value.parse::<f64>().is_ok_and(|cpus| Some(cpus) == old.cpus),
        Key::Memory => bytes(&value.into()).is_some_and(|bytes| Some(bytes) == old.memory_bytes),
    }
}

fn with_value(line: &str, key: Key, value: &str) -> Option<String> {
    let (start, end) = place(line, key)?;
    let quote = line[start..].chars().next().filter(|first| ['"', '\''].contains(first));
    let quote = quote.map(String::from).unwrap_or_default();
    Some(format!("{}{quote}{value}{quote}{}", &line[..start], &line[end..]))
}

/// The head of a line that gives a variable a value, up to its `:` or `=`, and what stands behind.
fn after_name<'a>(line: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let trimmed = line.trim_start().trim_start_matches("- ").trim_start_matches(['"', '\'']);
    let rest = trimmed.strip_prefix(name).filter(|rest| rest.starts_with([':', '=']))?;
    let at = line.len() - rest.len() + 1;
    Some((&line[..at], &line[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHORED: &str = "\
x-api: &api
  image: api
  # cpus: \"0.25\" was too little
  deploy: { resources: { limits: { cpus: \"0.25\", memory: 128M } } }
services:
  nginx:
    image: nginx
    cpus: 0.25
    mem_limit: 128m # enough
  api1: { <<: *api }
  api2:
    <<: *api
    environment:
      - POOL=5
  db:
    image: postgres
    command:
      - postgres
      - -cshared_buffers=64MB
    deploy:
      resources:
        limits:
          cpus: '0.5'
          memory: '1GB'
";

    fn edit() -> (tempfile::TempDir, Edit) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("compose.yml"), ANCHORED).unwrap();
        let edit = Edit::of(&folder.path().join("compose.yml")).unwrap();
        (folder, edit)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_value_changes_where_it_stands_and_nothing_else_does() {
        let (_folder, mut edit) = edit();
        edit.limit(&names(&["nginx"]), 0.31, 64 << 20).unwrap();
        edit.limit(&names(&["api1", "api2"]), 0.2, 128 << 20).unwrap();
        edit.limit(&names(&["db"]), 0.6, 1 << 30).unwrap();
        edit.environment(&names(&["api2"]), "POOL", "7").unwrap();
        edit.postgres("db", "shared_buffers", "32MB").unwrap();
        edit.postgres("db", "jit", "off").unwrap();
        let expected = ANCHORED
            .replace("cpus: 0.25\n    mem_limit: 128m", "cpus: 0.31\n    mem_limit: 64M")
            .replace("{ cpus: \"0.25\",", "{ cpus: \"0.2\",")
            .replace("'0.5'", "'0.6'")
            .replace("POOL=5", "POOL=7")
            .replace("shared_buffers=64MB", "shared_buffers=32MB\n      - -cjit=off");
        assert_eq!(edit.text(), expected);
    }

    #[test]
    fn what_cannot_be_changed_by_itself_is_refused() {
        let (_folder, mut edit) = edit();
        assert!(edit.limit(&names(&["api1"]), 0.2, 128 << 20).is_err(), "its twin would change too");
        assert!(edit.environment(&names(&["api1"]), "POOL", "7").is_err());
        assert!(edit.postgres("nginx", "jit", "off").is_err());
        assert_eq!(edit.text(), ANCHORED);
    }

    #[test]
    fn a_difference_applies() {
        let (folder, mut edit) = edit();
        edit.limit(&names(&["db"]), 0.6, 1 << 30).unwrap();
        edit.postgres("db", "jit", "off").unwrap();
        fs::write(folder.path().join("change.diff"), unified("compose.yml", ANCHORED, edit.text())).unwrap();
        let git = std::process::Command::new("git").args(["apply", "change.diff"]).current_dir(folder.path()).output();
        assert!(git.as_ref().unwrap().status.success(), "{git:?}");
        assert_eq!(fs::read_to_string(folder.path().join("compose.yml")).unwrap(), edit.text());
    }
}
