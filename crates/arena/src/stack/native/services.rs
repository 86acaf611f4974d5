//! How each service is started in plain processes, and when it serves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Native;
use super::settings::Settings;
use crate::exit;
use crate::stack::cluster;
use crate::stack::compose::Compose;
use crate::stack::entrance::Entrance;
use crate::stack::front_door::{self, Place, SOCKETS};
use crate::stack::members::{self, NEW_CLUSTER};
use crate::stack::prerequisites::{self, Tool};
use crate::stack::process::{self, Account};
use crate::workspace::Workspace;

/// The folder of the database's socket there.
const DATABASE_SOCKETS: &str = "/run/postgresql";

/// Where PostgreSQL finds there who may connect.
const ACCESS: &str = "/etc/postgresql/pg_hba.conf";

const READY_PATIENCE: Duration = Duration::from_secs(60);

impl Native {
    /// Makes the cluster, under another name until it is whole.
    pub(super) fn create_cluster(&self, account: Account, compose: &Compose) -> anyhow::Result<()> {
        if self.data.join("db").is_dir() {
            return Ok(());
        }
        let new = self.data.join(NEW_CLUSTER);
        if new.is_dir() {
            fs::remove_dir_all(&new).with_context(|| new.display().to_string())?;
        }
        let environment = compose.environment("db")?;
        let password = self.data.join("run/password");
        fs::write(&password, environment.get("POSTGRES_PASSWORD").copied().unwrap_or("rinha"))?;
        nix::unistd::chown(&password, Some(account.uid), Some(account.gid))?;
        let password_file = format!("--pwfile={}", password.display());
        let own = ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", &password_file];
        let given = environment.get("POSTGRES_INITDB_ARGS").copied().unwrap_or_default().split_whitespace();
        let programs = prerequisites::find(Tool::Postgres)?;
        let made = cluster::initialize(&programs, &new, account, own.into_iter().chain(given));
        fs::remove_file(&password)?;
        made?;
        fs::rename(&new, self.data.join("db")).context("the new cluster")
    }

    /// With none of the database's processes left, its locks name a dead one, and a number that is in use all the same (by
    /// a zombie, or anybody new) would keep PostgreSQL from starting.
    fn remove_stale_locks(&self, settings: &Settings) -> anyhow::Result<()> {
        let socket = format!("run/.s.PGSQL.{}.lock", settings.database_port);
        for lock in ["db/postmaster.pid", &socket].map(|name| self.data.join(name)) {
            match fs::remove_file(&lock) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| lock.display().to_string());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Starts a service, or a part of the lab, that does not run. Whether it serves is for others to see.
    pub(super) fn start(
        &self,
        service: &str,
        workspace: &Workspace,
        account: Account,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &settings.overlays)?;
        members::end_orphans(&self.data, service)?;
        match service {
            "db" => {
                self.remove_stale_locks(settings)?;
                self.start_database(workspace, account, &compose, settings)
            }
            "api1" | "api2" => self.start_instance(service, account, &compose, settings),
            "nginx" => self.start_nginx(workspace, account, &compose, settings),
            part => self.start_part(part, account, &compose, settings),
        }
    }

    fn start_database(
        &self,
        workspace: &Workspace,
        account: Account,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let (source, access) = (workspace.path("pg_hba.conf"), self.data.join("run/pg_hba.conf"));
        fs::copy(&source, &access).with_context(|| format!("copying {}", source.display()))?;
        let mut command = Command::new(prerequisites::find(Tool::Postgres)?.join("postgres"));
        command.envs(compose.environment("db")?);
        // The first word may be the program's name, the rest are settings.
        let words = compose.command("db")?;
        let words = words.strip_prefix(&["postgres"]).unwrap_or(&words);
        command.args(words.iter().map(|word| word.replace(ACCESS, &access.display().to_string())));
        command.arg("-D").arg(self.data.join("db"));
        command.arg(format!("-cport={}", settings.database_port));
        command.arg("-clisten_addresses=127.0.0.1");
        command.arg(format!("-cunix_socket_directories={}", self.data.join("run").display()));
        self.spawn("db", command, account, settings)
    }

    fn start_instance(
        &self,
        service: &str,
        account: Account,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(self.data.join("bin/peleja"));
        // Under Compose an instance knows nothing of what the caller's shell has set either.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PELEJA_")) {
            command.env_remove(name);
        }
        command.envs(self.instance_environment(service, compose, settings)?);
        self.spawn(service, command, account, settings)
    }

    pub(super) fn instance_environment(
        &self,
        service: &str,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let run = self.data.join("run").display().to_string();
        let detour = settings.detours.as_ref().map(|folder| folder.join(service).display().to_string());
        let to_database = detour.as_ref().unwrap_or(&run);
        let here = |(name, value): (&str, &str)| {
            let mut value = value.replace(DATABASE_SOCKETS, to_database).replace(SOCKETS, &run);
            if ["PELEJA_DATABASE", "PELEJA_MIGRATION"].contains(&name) {
                value.push_str(&format!(" port={}", settings.database_port));
            }
            (name.to_owned(), value)
        };
        Ok(compose.environment(service)?.into_iter().map(here).collect())
    }

    fn start_nginx(
        &self,
        workspace: &Workspace,
        account: Account,
        compose: &Compose,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        // An overlay may have the instances listen elsewhere.
        let plain = Compose::read(&workspace.path("docker-compose.yml"), &[])?;
        let mut instead = Vec::new();
        for service in ["api1", "api2"] {
            let listens = |compose: &Compose| -> anyhow::Result<String> {
                Ok(compose.environment(service)?.get("PELEJA_LISTEN").copied().unwrap_or_default().to_owned())
            };
            instead.push((listens(&plain)?, listens(compose)?));
            if let Some(folder) = &settings.detours {
                let socket = format!("{service}.sock");
                let detour = folder.join(&socket).display().to_string();
                instead.push((format!("{SOCKETS}/{socket}"), detour));
            }
        }
        let listen = format!("127.0.0.1:{}", settings.port);
        let place = Place { folder: &self.data.join("run"), listen, instead };
        let command = front_door::command(workspace, compose, &place)?;
        self.spawn("nginx", command, account, settings)
    }

    /// Starts a service in its folder, by which it is found again.
    pub(super) fn spawn(
        &self,
        service: &str,
        mut command: Command,
        account: Account,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        command.current_dir(self.data.join(service));
        let entrance = self.entrance(service, settings)?;
        process::spawn(command, account, entrance, &self.log(service))
    }

    fn entrance(&self, service: &str, settings: &Settings) -> anyhow::Result<Option<Entrance>> {
        let limit = settings.limit(service).filter(|_| settings.is_limited());
        limit.map(|limit| self.hierarchy.create(&members::group(&self.data), limit)).transpose()
    }

    pub(super) fn wait_for(&self, service: &str, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let ended = || !members::find(&self.data).main.contains_key(service);
        let (mut missed, mut gone) = (false, false);
        let came = process::wait_until(READY_PATIENCE, || {
            let is_ready = ready();
            // Who is missed once may only have begun: a program has no title in its first moment.
            let misses = !is_ready && ended();
            gone = misses && std::mem::replace(&mut missed, misses);
            is_ready || gone || exit::is_interrupted()
        });
        exit::fail_if_interrupted()?;
        if came && !gone {
            return Ok(());
        }
        let what = if gone { "ended at once" } else { "did not become ready" };
        bail!(
            "{service} {what}; the end of {}:\n{}",
            self.log(service).display(),
            process::tail(&self.log(service), 8)
        );
    }

    pub(super) fn instance_is_ready(&self, listen: &str) -> bool {
        let mut command = Command::new(self.data.join("bin/peleja"));
        command.arg("--check").env("PELEJA_LISTEN", listen);
        command.output().is_ok_and(|output| output.status.success())
    }
}

pub(super) fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
