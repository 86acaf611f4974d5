//! A cluster on one machine: hosts of their own, each a network namespace with an address, that run what several machines
//! would: three database nodes under Patroni, three of etcd, HAProxy that follows the primary, two instances, nginx.

mod network;
mod patroni;
mod services;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Uid;

use super::prerequisites::{self, Install, Tool};
use super::process::{self, Account};
use super::{Engine, Running};
use crate::exit;
use crate::workspace::Workspace;
pub use patroni::{Member, Role};

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, and what its processes are called.
    pub name: &'static str,
    /// The last byte of its address.
    number: u8,
}

/// What keeps who is the primary.
pub const ETCD: [Host; 3] = [host("etcd1", 11), host("etcd2", 12), host("etcd3", 13)];

/// The database nodes.
pub const NODES: [Host; 3] = [host("pg1", 21), host("pg2", 22), host("pg3", 23)];

/// What leads to the primary.
pub const PROXY: Host = host("haproxy", 31);

/// The instances.
pub const INSTANCES: [Host; 2] = [host("api1", 41), host("api2", 42)];

/// The front door.
pub const DOOR: Host = host("nginx", 51);

/// All of them, in the order in which they are started.
pub const HOSTS: [Host; 10] =
    [ETCD[0], ETCD[1], ETCD[2], NODES[0], NODES[1], NODES[2], PROXY, INSTANCES[0], INSTANCES[1], DOOR];

/// What runs on them, and what makes them.
pub const TOOLS: [Tool; 6] = [Tool::Postgres, Tool::Nginx, Tool::Etcd, Tool::Patroni, Tool::Haproxy, Tool::Ip];

/// Where the files are, for whoever looks for a cluster that runs.
const RECORD: &str = "/run/peleja-cluster";

/// Tells a cluster's folder from anybody else's.
const MARK: &str = ".peleja-cluster";

/// From nothing to everybody served.
const READY_PATIENCE: Duration = Duration::from_secs(60);

const fn host(name: &'static str, number: u8) -> Host {
    Host { name, number }
}

impl Host {
    /// Its address.
    pub fn address(self) -> String {
        format!("10.83.0.{}", self.number)
    }

    fn namespace(self) -> String {
        format!("peleja-{}", self.name)
    }
}

/// A cluster of hosts. There is at most one on a machine.
#[derive(Clone, Debug)]
pub struct Hosts {
    data: PathBuf,
}

impl Hosts {
    /// The one whose files are to be in a folder, a new or an empty one.
    pub fn at(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// The one that was started last, if it was not ended. The machine's own end leaves nothing but its files.
    pub fn found() -> Option<Self> {
        let record = fs::read_to_string(RECORD).ok().map(PathBuf::from);
        let usual = Self::default_data();
        let is_left = network::is_there() || usual.join(MARK).exists();
        record.or_else(|| is_left.then_some(usual)).map(|data| Self { data })
    }

    /// Where the files are unless told otherwise.
    pub fn default_data() -> PathBuf {
        "/var/tmp/peleja-cluster".into()
    }

    /// Fails for whoever cannot make network namespaces.
    ///
    /// # Errors
    ///
    /// One line that says so.
    pub fn ensure_allowed() -> anyhow::Result<()> {
        ensure!(
            Uid::effective().is_root(),
            "a cluster's hosts are network namespaces, which only root may make: start this as root (sudo), or in a \
             virtual machine where you are"
        );
        ensure!(
            network::may_be_made(),
            "a cluster's hosts are network namespaces, which may not be made here, by root neither: in a container they \
             take --privileged"
        );
        Ok(())
    }

    /// Builds and installs what is missing, starts all hosts and waits until they serve.
    ///
    /// # Errors
    ///
    /// If something of it fails; then nothing is left.
    pub fn up(&self, workspace: &Workspace, install: Install) -> anyhow::Result<Running> {
        Self::ensure_allowed()?;
        ensure!(
            !network::is_there(),
            "a cluster is there already, or what is left of one; `cargo arena cluster down` ends it"
        );
        let empty = fs::read_dir(&self.data).map_or(true, |mut entries| entries.next().is_none());
        ensure!(empty, "{} is not empty; choose another folder with --data", self.data.display());
        prerequisites::ensure(&TOOLS, install)?;
        let program = workspace.build("peleja", "release")?;
        exit::fail_if_interrupted()?;
        let started = self.start_all(workspace, &program);
        if started.is_err() {
            self.down()?;
        }
        started
    }

    fn start_all(&self, workspace: &Workspace, program: &Path) -> anyhow::Result<Running> {
        fs::write(RECORD, self.data.as_os_str().as_encoded_bytes()).context(RECORD)?;
        let account = Account::choose()?;
        account.create_folder(&self.data)?;
        fs::write(self.data.join(MARK), "")?;
        account.ensure_entry(&self.data)?;
        fs::create_dir_all(self.data.join("logs"))?;
        fs::copy(program, self.data.join("peleja")).with_context(|| program.display().to_string())?;
        network::create()?;
        for host in HOSTS {
            self.start(host, workspace)?;
        }
        let came = process::wait_until(READY_PATIENCE, || self.is_whole() || exit::is_interrupted());
        exit::fail_if_interrupted()?;
        if !came {
            bail!("the cluster is not whole after {} s:\n{}", READY_PATIENCE.as_secs(), self.told());
        }
        Ok(self.running())
    }

    /// Starts what runs on a host.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(&self, host: Host, workspace: &Workspace) -> anyhow::Result<()> {
        let account = Account::choose()?;
        account.create_folder(&self.folder(host))?;
        let mut command = self.command(host, workspace, account)?;
        command.current_dir(self.folder(host));
        network::enter(&mut command, host)?;
        process::spawn(command, account, None, &self.log(host))
    }

    /// Sends a signal to everything that runs on a host.
    pub fn signal(&self, host: Host, signal: Signal) {
        process::signal(network::processes(host), signal);
    }

    /// Kills everything that runs on a host.
    pub fn kill(&self, host: Host) {
        process::wait_until(Duration::from_secs(5), || {
            self.signal(host, Signal::SIGKILL);
            !self.runs(host)
        });
    }

    /// Whether anything runs on a host.
    pub fn runs(&self, host: Host) -> bool {
        !network::processes(host).is_empty()
    }

    /// Cuts a host off from others.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn cut(&self, host: Host, others: &[Host]) -> anyhow::Result<()> {
        others.iter().try_for_each(|other| network::cut(host, *other))
    }

    /// Undoes [`Self::cut`].
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub fn join(&self, host: Host, others: &[Host]) -> anyhow::Result<()> {
        others.iter().try_for_each(|other| network::join(host, *other))
    }

    /// The database nodes as they see each other, from the first one that answers.
    pub fn members(&self) -> Vec<Member> {
        NODES.iter().find_map(|node| patroni::members(*node)).unwrap_or_default()
    }

    /// The node that is the primary.
    pub fn primary(&self) -> Option<Host> {
        NODES.into_iter().find(|node| patroni::is_primary(*node))
    }

    /// The node that each commit waits for.
    pub fn synchronous_standby(&self) -> Option<Host> {
        let members = self.members();
        let standby = members.iter().find(|member| member.role == Role::SyncStandby && member.is_well())?;
        NODES.into_iter().find(|node| node.name == standby.name)
    }

    /// Has the synchronous standby become the primary, and the primary a standby.
    ///
    /// # Errors
    ///
    /// If Patroni refuses.
    pub fn switch_over(&self) -> anyhow::Result<()> {
        let primary = self.primary().context("there is no primary")?;
        let standby = self.synchronous_standby().context("there is no synchronous standby")?;
        patroni::switch_over(primary, standby)
    }

    /// Has Patroni restart PostgreSQL on a node.
    ///
    /// # Errors
    ///
    /// If Patroni refuses.
    pub fn restart(&self, node: Host) -> anyhow::Result<()> {
        patroni::restart(node)
    }

    /// Whether every host serves, and the database has a primary, a synchronous standby, and another one that follows.
    pub fn is_whole(&self) -> bool {
        self.is_served() && ETCD.into_iter().all(services::etcd_is_healthy) && patroni::is_whole(&self.members())
    }

    /// Whether the front door and both instances serve.
    pub fn is_served(&self) -> bool {
        let instances = INSTANCES.into_iter().all(services::instance_is_ready);
        instances && services::answers(&format!("{}/health", self.url()))
    }

    /// The API's base URL.
    pub fn url(&self) -> String {
        format!("http://{}:{}", DOOR.address(), super::PORT)
    }

    /// The cluster as loads and checks see it.
    pub fn running(&self) -> Running {
        Running {
            engine: Engine::Native,
            url: self.url(),
            database: format!("host={} user=postgres password=rinha dbname=postgres", PROXY.address()),
            database_folder: None,
            limits: Vec::new(),
            without_limits: true,
            unlimited_because: None,
            overlays: Vec::new(),
            observe: Vec::new(),
            cgroup: "none",
        }
    }

    /// What each host is and does, a line for each.
    pub fn told(&self) -> String {
        let members = self.members();
        let what = |host: Host| {
            let member = members.iter().find(|member| member.name == host.name);
            match (self.runs(host), member) {
                (false, _) => "dead".to_owned(),
                (true, Some(member)) => member.to_string(),
                (true, None) => "runs".to_owned(),
            }
        };
        HOSTS.iter().map(|host| format!("{:<8} {:<11} {}\n", host.name, host.address(), what(*host))).collect()
    }

    /// Ends all hosts and removes the network and the files, also after a crash. Returns how many processes there were.
    ///
    /// # Errors
    ///
    /// If something of it stays.
    pub fn down(&self) -> anyhow::Result<usize> {
        Self::ensure_allowed()?;
        let ended = network::destroy()?;
        if self.data.join(MARK).exists() {
            fs::remove_dir_all(&self.data).with_context(|| self.data.display().to_string())?;
        }
        match fs::remove_file(RECORD) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(RECORD),
            _ => Ok(ended),
        }
    }

    /// What a host's processes wrote.
    pub fn log(&self, host: Host) -> PathBuf {
        self.data.join("logs").join(host.name)
    }

    fn folder(&self, host: Host) -> PathBuf {
        self.data.join(host.name)
    }
}
