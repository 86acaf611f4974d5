//! Builds simulations.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail, ensure};

use super::child::{Process, last_words};
use crate::workspace::Workspace;

/// The simulation that runs when no other is asked for.
pub(super) const OURS: &str = "PelejaSimulation";

/// A build that takes longer than this many looks of [`Process::wait`] has something to do, and people are told.
const LOOKS_OF_AN_UNCHANGED_BUILD: u32 = 5;

/// A simulation that is built and ready to run.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its class, with the package.
    pub class: String,
    sources: PathBuf,
    output: PathBuf,
    script: PathBuf,
}

/// Builds a simulation where it changed since the last time; the first time downloads Gatling, some 140 MB.
///
/// `simulation` is a Scala file from anywhere, which is built as it is, or the name of a class
/// in `gatling/src/main/scala`; without it, it is the event's load test that Peleja brings.
///
/// # Errors
///
/// No such file or class, no Maven, no JDK, or a simulation that the compiler refuses; the message holds the compiler's
/// first complaints and names the file that holds them all. Also when `interrupted` becomes true.
pub fn prepare(workspace: &Workspace, simulation: Option<&Path>, interrupted: &AtomicBool) -> anyhow::Result<Prepared> {
    let gatling = workspace.path("gatling");
    let ours = |class: &str| Prepared {
        class: class.to_owned(),
        sources: gatling.join("src/main/scala"),
        output: gatling.join("target"),
        script: gatling.join("run.sh"),
    };
    let prepared = match simulation {
        None => ours(OURS),
        Some(name) if is_class_name(name) => ours(&name.to_string_lossy()),
        Some(file) => stage(file, &workspace.path("target/gatling"), &gatling)?,
    };
    prepared.build(interrupted)?;
    prepared.check_class()?;
    Ok(prepared)
}

/// Whether `simulation`, as [`prepare`] takes it, is the one that Peleja brings.
pub fn is_ours(simulation: Option<&Path>) -> bool {
    simulation.is_none_or(|name| name == Path::new(OURS))
}

/// Whether `simulation`, as [`prepare`] takes it, can be read where it is a file.
///
/// # Errors
///
/// What is wrong with the file.
pub fn check(simulation: Option<&Path>) -> anyhow::Result<()> {
    match simulation {
        Some(file) if !is_class_name(file) => source(file).map(drop),
        _ => Ok(()),
    }
}

impl Prepared {
    /// Whether it is the simulation that Peleja brings, the one that takes base URL, vocabulary and factors as settings.
    pub(super) fn is_ours(&self) -> bool {
        self.class == OURS
    }

    /// `gatling/run.sh` with what it must know to find this simulation.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.script);
        command.env("SIMULATIONS", &self.sources).env("OUTPUT", &self.output);
        command
    }

    fn build(&self, interrupted: &AtomicBool) -> anyhow::Result<()> {
        fs::create_dir_all(&self.output).with_context(|| format!("cannot create {}", self.output.display()))?;
        let log = self.output.join("build.log");
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = self.command();
        command.arg("--build").stdout(file.try_clone()?).stderr(file);
        let mut looks = 0;
        let status = Process::spawn(&mut command)?.wait(interrupted, || {
            looks += 1;
            if looks == LOOKS_OF_AN_UNCHANGED_BUILD {
                eprintln!("building {} (the first time downloads Gatling)", self.class);
            }
            true
        })?;
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let text = fs::read_to_string(&log).unwrap_or_default();
        bail!("cannot build {}:\n{}\nall of it: {}", self.class, complaints(&text), log.display())
    }

    fn check_class(&self) -> anyhow::Result<()> {
        let file = self.output.join("classes").join(self.class.replace('.', "/")).with_extension("class");
        ensure!(file.is_file(), "there is no class {} in {}", self.class, self.sources.display());
        Ok(())
    }
}

fn is_class_name(name: &Path) -> bool {
    !name.exists() && name.extension().is_none_or(|extension| extension != "scala") && name.components().count() == 1
}

/// Puts a simulation from elsewhere into a folder of its own, untouched where it is the same as last time.
fn stage(file: &Path, folder: &Path, gatling: &Path) -> anyhow::Result<Prepared> {
    let (class, text) = source(file)?;
    let sources = folder.join(&class).join("sources");
    let staged = sources.join("Simulation.scala");
    if fs::read_to_string(&staged).ok().as_deref() != Some(&text) {
        fs::create_dir_all(&sources)?;
        fs::write(&staged, text).with_context(|| format!("cannot write {}", staged.display()))?;
    }
    Ok(Prepared { output: folder.join(&class), class, sources, script: gatling.join("run.sh") })
}

/// The class and the text of a simulation.
fn source(file: &Path) -> anyhow::Result<(String, String)> {
    let cannot_read = || format!("cannot read the simulation {}", file.display());
    let text = fs::read_to_string(file).with_context(cannot_read)?;
    Ok((simulation_class(&text).with_context(cannot_read)?, text))
}

/// The class in a Scala source that extends `Simulation`, with its package.
fn simulation_class(source: &str) -> anyhow::Result<String> {
    let code = without_comments(source);
    let words: Vec<&str> =
        code.split(|c: char| !(c.is_alphanumeric() || "_.$".contains(c))).filter(|word| !word.is_empty()).collect();
    let package = words.windows(2).find(|pair| pair[0] == "package").map(|pair| format!("{}.", pair[1]));
    let mut classes = words.windows(2).enumerate().filter_map(|(at, pair)| {
        let is_simulation = pair[0] == "extends" && pair[1].rsplit('.').next() == Some("Simulation");
        let class = words[..at].iter().rposition(|word| *word == "class")?;
        (is_simulation && words[..class].last() != Some(&"abstract")).then(|| words[class + 1])
    });
    let Some(class) = classes.next() else {
        bail!("it holds no class that extends Simulation");
    };
    ensure!(classes.next().is_none(), "it holds more than one class that extends Simulation");
    Ok(format!("{}{class}", package.unwrap_or_default()))
}

fn without_comments(source: &str) -> String {
    let mut code = String::new();
    for (number, part) in source.split("/*").enumerate() {
        code.push_str(if number == 0 { part } else { part.split_once("*/").map_or("", |(_, after)| after) });
    }
    code.lines().filter_map(|line| line.split("//").next()).collect::<Vec<_>>().join("\n")
}

/// The compiler's errors out of Maven's log, or the end of the log where there are none.
fn complaints(log: &str) -> String {
    let is_error = |line: &&str| line.starts_with("[ERROR]") && line.contains("error:");
    let errors: Vec<&str> = log.lines().filter(is_error).take(10).collect();
    if errors.is_empty() { last_words(log) } else { errors.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_simulation_is_found_with_its_package() {
        let named = |source| simulation_class(source).unwrap();
        assert_eq!(named("class A\n  extends Simulation {\n}"), "A");
        assert_eq!(
            named("package a.b\nimport x.Simulation\n/** one */ final class A extends Simulation{ val x = 1 }"),
            "a.b.A"
        );
        assert_eq!(
            named("// class Old extends Simulation\nclass New extends io.gatling.core.Predef.Simulation"),
            "New"
        );
        assert_eq!(named("class Helper(a: Int)\nclass A extends Simulation"), "A");
        assert_eq!(named("class A(x: Int = 1) extends Simulation with Other"), "A");
        assert_eq!(named("/* a class that extends Simulation */ class A extends Simulation"), "A");
        assert!(simulation_class("abstract class A extends Simulation").is_err());
        assert!(simulation_class("class A extends B").is_err());
        assert!(simulation_class("class A extends Simulation\nclass B extends Simulation").is_err());
    }

    #[test]
    fn a_failed_build_shows_the_compilers_words_or_the_end() {
        assert_eq!(
            complaints("[INFO] a\n[ERROR] A.scala:8: error: type mismatch\n\tat B\n"),
            "[ERROR] A.scala:8: error: type mismatch"
        );
        assert_eq!(complaints("gatling/run.sh: 44: mvn: not found\n"), "gatling/run.sh: 44: mvn: not found");
    }
}
