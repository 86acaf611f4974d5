//! A PostgreSQL of one's own for a while: for experiments when no stack runs, and for tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::{self, Account};
use crate::stack::prerequisites::{self, Tool};

const READY_PATIENCE: Duration = Duration::from_secs(60);
const GONE_PATIENCE: Duration = Duration::from_secs(10);

/// A cluster on a Unix socket in a folder of its own. It ends, and its files go, when this is dropped.
pub struct Cluster {
    server: Option<Child>,
    folder: TempDir,
    programs: PathBuf,
    account: Account,
    settings: Vec<String>,
}

impl Cluster {
    /// Makes a cluster and starts it with `settings`, each `name=value`; what they leave out is PostgreSQL's default,
    /// so that a commit is on disk.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is not installed, or does not come up.
    pub fn start(settings: &[&str]) -> anyhow::Result<Self> {
        let mut cluster = Self::without_files(settings)?;
        let arguments = ["-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"];
        initialize(&cluster.programs, &cluster.data(), cluster.account, arguments)?;
        cluster.start_again()?;
        Ok(cluster)
    }

    /// Starts a standby that follows this one.
    ///
    /// # Errors
    ///
    /// When its files cannot be copied, or it does not come up.
    pub fn standby(&self, settings: &[&str]) -> anyhow::Result<Self> {
        let mut standby = Self::without_files(settings)?;
        let mut copy = Command::new(self.programs.join("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname"]);
        copy.arg(self.connection("postgres")).arg("--pgdata").arg(standby.data()).current_dir(standby.folder.path());
        process::prepare(&mut copy, self.account, None);
        let output = copy.output().context("starting pg_basebackup")?;
        ensure!(output.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        standby.start_again()?;
        Ok(standby)
    }

    fn without_files(settings: &[&str]) -> anyhow::Result<Self> {
        let programs = prerequisites::find(Tool::Postgres)?;
        let account = Account::choose()?;
        let folder =
            tempfile::Builder::new().prefix("peleja-db-").tempdir_in("/var/tmp").context("a folder for PostgreSQL")?;
        account.create_folder(folder.path())?;
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Ok(Self { server: None, folder, programs, account, settings })
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a signal to all of the server's processes.
    pub fn signal(&self, signal: Signal) {
        let Some(server) = &self.server else { return };
        let group = i32::try_from(server.id()).unwrap_or(i32::MAX);
        process::signal(children(group).into_iter().chain([group]), signal);
    }

    /// How to connect to a database of the cluster, in PostgreSQL's `key=value` form.
    pub fn connection(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.folder.path().display())
    }

    /// Ends the server as a crash would, with all its processes.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let group = i32::try_from(server.id()).unwrap_or(i32::MAX);
        // Who is stopped has no more children than those that are seen now; each of them leads a group.
        process::signal([group], Signal::SIGSTOP);
        let children = children(group);
        process::signal(children.iter().copied().chain([group]), Signal::SIGKILL);
        // It was told by a signal that cannot be refused.
        let _ = server.wait();
        // The next server refuses to start while one of them still holds the shared memory.
        process::wait_until(GONE_PATIENCE, || !children.iter().copied().any(process::lives));
    }

    /// Starts the server on the files that are there, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not come up; the error holds the end of its log.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-clisten_addresses=");
        command.arg(format!("-cunix_socket_directories={}", self.folder.path().display()));
        command.args(self.settings.iter().map(|setting| format!("-c{setting}")));
        command.current_dir(self.folder.path());
        let log = File::create(self.log()).context("PostgreSQL's log")?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        process::prepare(&mut command, self.account, None);
        let mut server = command.spawn().context("starting postgres")?;
        let mut ended = false;
        let came = process::wait_until(READY_PATIENCE, || {
            ended = matches!(server.try_wait(), Ok(Some(_)));
            ended || self.is_ready()
        });
        if ended || !came {
            bail!("PostgreSQL did not come up:\n{}", process::tail(&self.log(), 8));
        }
        self.server = Some(server);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(self.programs.join("pg_isready"));
        command.args(["-q", "-h"]).arg(self.folder.path());
        command.status().is_ok_and(|status| status.success())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes the files of a cluster in `data`, below a folder that the account may enter. Its superuser is `postgres`.
///
/// # Errors
///
/// What `initdb` says.
pub(super) fn initialize<'a>(
    programs: &Path,
    data: &Path,
    account: Account,
    arguments: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<()> {
    account.create_folder(data)?;
    let mut command = Command::new(programs.join("initdb"));
    command.arg("-D").arg(data).args(["-U", "postgres"]).args(arguments);
    // By which it is found, should nobody be left to wait for it.
    command.current_dir(data);
    process::prepare(&mut command, account, None);
    let output = command.output().context("starting initdb")?;
    ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Processes whose parent is `pid`.
fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let listed = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_after_a_crash_and_leaves_nothing() {
        let mut cluster = Cluster::start(&[]).unwrap();
        let folder = cluster.folder.path().to_owned();
        assert!(cluster.is_ready());
        cluster.kill();
        assert!(!cluster.is_ready());
        cluster.start_again().unwrap();
        assert!(cluster.is_ready());
        drop(cluster);
        assert!(!folder.exists());
    }
}
