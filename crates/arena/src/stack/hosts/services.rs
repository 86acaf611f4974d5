//! What runs on each host, and when it serves.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};
use ureq::Agent;

use super::{DOOR, ETCD, Host, Hosts, INSTANCES, NODES, PROXY, patroni};
use crate::stack::compose::Compose;
use crate::stack::front_door::{self, Place};
use crate::stack::prerequisites::{self, Tool};
use crate::stack::process::Account;
use crate::stack::{DATABASE_PORT, PORT};
use crate::workspace::Workspace;

/// Where etcd answers, and where its nodes speak to each other.
const ETCD_PORTS: (u16, u16) = (2379, 2380);

/// Where an instance answers.
const INSTANCE_PORT: u16 = 8080;

/// The folder of the database's socket in `docker-compose.yml`.
const DATABASE_SOCKETS: &str = "/run/postgresql";

/// Who standbys follow the primary as.
const REPLICATION: &str = "replication";

/// Settings of the database in `docker-compose.yml` that mean something only where nobody follows it, or are Patroni's own
/// business.
const OWN_SETTINGS: [&str; 3] = ["hba_file", "wal_level", "max_wal_senders"];

/// Who follows, or is followed, and says nothing for longer than this is gone; by PostgreSQL's defaults that takes a minute.
const SETTINGS: [(&str, &str); 3] =
    [("wal_sender_timeout", "5s"), ("wal_receiver_timeout", "5s"), ("wal_retrieve_retry_interval", "1s")];

const PATIENCE: Duration = Duration::from_secs(1);

impl Hosts {
    pub(super) fn command(&self, host: Host, workspace: &Workspace, account: Account) -> anyhow::Result<Command> {
        let compose = Compose::read(&workspace.path("docker-compose.yml"), &[])?;
        let folder = self.folder(host);
        match host {
            host if ETCD.contains(&host) => etcd(host, &folder),
            host if NODES.contains(&host) => patroni(host, &folder, workspace, &compose, account),
            host if INSTANCES.contains(&host) => self.instance(host, &compose),
            PROXY => haproxy(&folder),
            _ => door(&folder, workspace, &compose),
        }
    }

    fn instance(&self, host: Host, compose: &Compose) -> anyhow::Result<Command> {
        let mut command = Command::new(self.data.join("peleja"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PELEJA_")) {
            command.env_remove(name);
        }
        // The proxy first, which knows who is the primary; without it whichever node takes writes.
        let nodes = [PROXY].into_iter().chain(NODES).map(Host::address).collect::<Vec<_>>().join(",");
        let database = format!("{nodes} target_session_attrs=read-write");
        for (name, value) in compose.environment(host.name)? {
            match name {
                "PELEJA_LISTEN" => command.env(name, format!("0.0.0.0:{INSTANCE_PORT}")),
                _ => command.env(name, value.replace(DATABASE_SOCKETS, &database)),
            };
        }
        Ok(command)
    }
}

fn etcd(host: Host, folder: &Path) -> anyhow::Result<Command> {
    let (clients, peers) = ETCD_PORTS;
    let url = |host: Host, port: u16| format!("http://{}:{port}", host.address());
    let all: Vec<String> = ETCD.iter().map(|host| format!("{}={}", host.name, url(*host, peers))).collect();
    let mut command = Command::new(prerequisites::find(Tool::Etcd)?);
    command.args(["--name", host.name, "--data-dir"]).arg(folder.join("data"));
    for flag in ["--listen-client-urls", "--advertise-client-urls"] {
        command.args([flag, &url(host, clients)]);
    }
    for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
        command.args([flag, &url(host, peers)]);
    }
    command.args(["--initial-cluster", &all.join(","), "--enable-v2", "--logger", "zap", "--log-level", "warn"]);
    Ok(command)
}

fn patroni(
    host: Host,
    folder: &Path,
    workspace: &Workspace,
    compose: &Compose,
    account: Account,
) -> anyhow::Result<Command> {
    let file = folder.join("patroni.yml");
    // YAML is a superset of JSON.
    fs::write(&file, serde_json::to_vec_pretty(&configuration(host, folder, workspace, compose)?)?)?;
    nix::unistd::chown(&file, Some(account.uid), Some(account.gid))?;
    let mut command = Command::new(prerequisites::find(Tool::Patroni)?);
    command.arg(&file);
    Ok(command)
}

/// See "YAML configuration settings" in Patroni's documentation. A primary that cannot reach etcd steps down before its
/// key there has expired (`ttl`), for which `loop_wait` and twice `retry_timeout` must fit into that.
fn configuration(host: Host, folder: &Path, workspace: &Workspace, compose: &Compose) -> anyhow::Result<Value> {
    let programs = prerequisites::find(Tool::Postgres)?;
    let password = compose.environment("db")?.get("POSTGRES_PASSWORD").copied().unwrap_or("rinha").to_owned();
    let at = |port: u16| format!("{}:{port}", host.address());
    let access = workspace.path("pg_hba.conf");
    let access = fs::read_to_string(&access).with_context(|| access.display().to_string())?;
    let rules = access.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    let rules: Vec<String> =
        [format!("host replication {REPLICATION} all scram-sha-256")].into_iter().chain(rules).collect();
    Ok(json!({
        "scope": "peleja",
        "name": host.name,
        "restapi": {"listen": at(patroni::PORT), "connect_address": at(patroni::PORT)},
        // By etcd's second API: Patroni 3.0.2 renews its key there only if it still has it. By the third it takes back what
        // another node has had since it stood still, and that one's commits are lost.
        "etcd": {"hosts": ETCD.map(|etcd| format!("{}:{}", etcd.address(), ETCD_PORTS.0))},
        "bootstrap": {
            "dcs": {
                "ttl": 20,
                "loop_wait": 2,
                "retry_timeout": 5,
                "synchronous_mode": true,
                "synchronous_mode_strict": true,
                "synchronous_node_count": 1,
                "postgresql": {"use_pg_rewind": true, "use_slots": true, "parameters": parameters(compose)?},
            },
            "initdb": ["data-checksums", {"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
        },
        "postgresql": {
            "listen": at(DATABASE_PORT),
            "connect_address": at(DATABASE_PORT),
            "data_dir": folder.join("data"),
            "bin_dir": programs,
            "pgpass": folder.join("pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": password},
                "replication": {"username": REPLICATION, "password": password},
            },
            "parameters": {"unix_socket_directories": folder},
            "pg_hba": rules,
        },
    }))
}

/// The database's settings as `docker-compose.yml` has them, and what several machines want besides.
fn parameters(compose: &Compose) -> anyhow::Result<Map<String, Value>> {
    let mut parameters: Map<String, Value> =
        SETTINGS.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    for word in compose.command("db")?.into_iter().filter(|word| *word != "postgres") {
        let setting = word.strip_prefix("-c").and_then(|setting| setting.split_once('='));
        let (name, value) = setting.with_context(|| format!("services.db.command: {word} is no setting"))?;
        if !OWN_SETTINGS.contains(&name) {
            parameters.insert(name.to_owned(), value.into());
        }
    }
    Ok(parameters)
}

/// Sends every connection to the node whose Patroni says that it is the primary, and ends those to a node that is not any
/// more.
fn haproxy(folder: &Path) -> anyhow::Result<Command> {
    let (here, port) = (PROXY.address(), patroni::PORT);
    let nodes: String = NODES
        .iter()
        .map(|node| format!("    server {} {}:{DATABASE_PORT} check port {port}\n", node.name, node.address()))
        .collect();
    let text = format!(
        "global\n    maxconn 1000\n\n\
         defaults\n    mode tcp\n    timeout connect 1s\n    timeout check 1s\n    timeout client 1h\n    timeout server 1h\n\n\
         listen primary\n    bind {here}:{DATABASE_PORT}\n    option httpchk OPTIONS /primary\n    http-check expect status 200\n    \
         default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions\n{nodes}"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    let mut command = Command::new(prerequisites::find(Tool::Haproxy)?);
    command.args(["-db", "-f"]).arg(&file);
    Ok(command)
}

fn door(folder: &Path, workspace: &Workspace, compose: &Compose) -> anyhow::Result<Command> {
    let mut instead = Vec::new();
    for instance in INSTANCES {
        let environment = compose.environment(instance.name)?;
        let listens = environment.get("PELEJA_LISTEN").context("services.api1.environment: no PELEJA_LISTEN")?;
        instead.push(((*listens).to_owned(), format!("{}:{INSTANCE_PORT}", instance.address())));
    }
    let place = Place { folder, listen: format!("{}:{PORT}", DOOR.address()), instead };
    front_door::command(workspace, compose, &place)
}

pub(super) fn etcd_is_healthy(host: Host) -> bool {
    answers(&format!("http://{}:{}/health", host.address(), ETCD_PORTS.0))
}

pub(super) fn instance_is_ready(host: Host) -> bool {
    answers(&format!("http://{}:{INSTANCE_PORT}/health/ready", host.address()))
}

pub(super) fn answers(url: &str) -> bool {
    let agent: Agent = Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
    agent.get(url).call().is_ok()
}
