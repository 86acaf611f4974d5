//! The stacks of `deploy/swarm.yml` and `deploy/swarm-db.yml` on a real engine, one machine: a rolling update of the instances
//! and of nginx under load, without a failed request; and that both describe the stack of `docker-compose.yml`.
//!
//! Where no engine answers, it is part of a swarm already, or it has not the base images, nothing is deployed, and the test
//! says so, unless `ARENA_REQUIRE_DOCKER=1`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use arena::stack::compose::{Compose, DESCRIPTION, NGINX_CONF};
use arena::workspace::Workspace;
use serde_json::Value;

/// What the services run in, and what the instances' image is made from.
const IMAGES: [&str; 3] = ["postgres:17-trixie", "nginx:1.29.1", "debian:trixie-slim"];

/// What connections do that wait in the line of an nginx that goes: move to the line of the one beside it.
const MIGRATION: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

#[test]
fn both_files_describe_the_stack_of_compose() {
    let compose = Compose::read(&root().join("docker-compose.yml"), &[]).unwrap();
    let (front, back) = (read("swarm.yml"), read("swarm-db.yml"));
    for (service, name) in [(&front["nginx"], "nginx"), (&front["api"], "api1"), (&back["db"], "db")] {
        let swarm = Compose::of_entry(&serde_json::json!({ "services": { name: service } }).to_string()).unwrap();
        assert_eq!(swarm.limit(name).unwrap(), compose.limit(name).unwrap());
        assert_eq!(swarm.command(name).unwrap(), compose.command(name).unwrap());
        if name != "api1" {
            assert_eq!(swarm.image(name).unwrap(), compose.image(name).unwrap());
        }
    }
    assert_eq!(front["api"]["deploy"]["replicas"], 2);
    for (slot, name) in [("1", "api1"), ("2", "api2")] {
        let environment = front["api"]["environment"].as_object().unwrap();
        for (variable, value) in compose.environment(name).unwrap() {
            let own = environment[variable].as_str().unwrap().replace("{{.Task.Slot}}", slot);
            let words = value.split(' ').filter(|word| !word.starts_with("password="));
            let expected =
                words.map(|word| word.replace("host=/run/postgresql", "host=db")).collect::<Vec<_>>().join(" ");
            assert_eq!(own, expected, "{name}: {variable}");
        }
    }
    let targets: Vec<&Value> = front["nginx"]["configs"].as_array().unwrap().iter().map(|one| &one["target"]).collect();
    assert_eq!(targets, [NGINX_CONF, DESCRIPTION]);
}

#[test]
fn a_rolling_update_of_the_instances_and_of_nginx_fails_no_request() {
    let Some(swarm) = Swarm::start() else { return };
    swarm.deploy_front("one");
    swarm.wait_until_served();
    let before = swarm.containers();

    let bench = swarm.bench();
    std::thread::sleep(Duration::from_secs(3));
    swarm.deploy_front("two");
    swarm.wait_for_update("api");
    let conf = swarm.path("nginx.conf");
    fs::write(&conf, format!("{}# The same.\n", fs::read_to_string(&conf).unwrap())).unwrap();
    swarm.deploy_front("two");
    swarm.wait_for_update("nginx");
    // What was asked while the last one went.
    std::thread::sleep(Duration::from_secs(3));
    // As at Ctrl-C: it judges what there was until then.
    assert!(Command::new("kill").args(["-INT", &bench.id().to_string()]).status().unwrap().success());
    let output = bench.wait_with_output().unwrap();

    let run: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    let kinds = run["requests"].as_array().unwrap();
    let failures: Vec<&Value> = kinds.iter().map(|kind| &kind["failures"]).collect();
    assert!(failures.iter().all(|failures| failures.as_object().unwrap().is_empty()), "{failures:?}");
    assert!(kinds.iter().filter_map(|kind| kind["count"].as_u64()).sum::<u64>() > 5_000, "{kinds:?}");
    let after = swarm.containers();
    assert!(before.len() == 3 && after.len() == 3, "{before:?} {after:?}");
    assert!(after.iter().all(|container| !before.contains(container)), "{before:?} {after:?}");
}

/// An engine that is a swarm of one machine, for as long as this lives.
struct Swarm {
    folder: tempfile::TempDir,
    node: String,
    migration: Option<String>,
}

impl Swarm {
    fn start() -> Option<Self> {
        let state = docker_quiet(&["info", "--format", "{{.Swarm.LocalNodeState}}"]);
        let has_images = IMAGES.iter().all(|image| docker_quiet(&["image", "inspect", image]).is_some());
        let there = state.as_deref() == Some("inactive") && has_images;
        let required = std::env::var_os("ARENA_REQUIRE_DOCKER").is_some_and(|value| value == "1");
        assert!(there || !required, "no Docker engine outside of a swarm with {IMAGES:?} answers");
        if !there {
            eprintln!("not tried: no Docker engine outside of a swarm with {IMAGES:?} answers");
            return None;
        }
        docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
        let node = docker(&["info", "--format", "{{.Name}}"]);
        let migration = fs::read_to_string(MIGRATION).ok().filter(|_| fs::write(MIGRATION, "1").is_ok());
        let swarm = Self { folder: tempfile::tempdir().unwrap(), node, migration };
        docker(&["node", "update", "--label-add", "database=true", &swarm.node]);
        swarm.copy_files();
        swarm.build_images();
        swarm.deploy("swarm-db.yml", "peleja-test", &[]);
        Some(swarm)
    }

    fn copy_files(&self) {
        for folder in ["deploy", "secrets", "image"] {
            fs::create_dir(self.path(folder)).unwrap();
        }
        for file in ["deploy/swarm.yml", "deploy/swarm-db.yml", "nginx.conf", "openapi.json", "pg_hba.conf"] {
            fs::copy(root().join(file), self.path(file)).unwrap();
        }
        for name in ["postgres", "peleja"] {
            fs::write(self.path("secrets").join(name), "of a test").unwrap();
        }
    }

    /// Two that differ in their label alone.
    fn build_images(&self) {
        let program = Workspace::at(&root()).build("peleja", "release").unwrap();
        fs::copy(program, self.path("image/peleja")).unwrap();
        for tag in ["one", "two"] {
            let text = format!(
                "FROM debian:trixie-slim\nCOPY peleja /usr/local/bin/peleja\nUSER 10001:10001\nLABEL which={tag}\n\
                 ENTRYPOINT [\"peleja\"]\n"
            );
            fs::write(self.path("image/Dockerfile"), text).unwrap();
            docker(&["build", "--quiet", "--tag", &image(tag), self.path("image").to_str().unwrap()]);
        }
    }

    fn deploy_front(&self, tag: &str) {
        let text = fs::read(self.path("nginx.conf")).unwrap();
        let configuration = text.len().to_string();
        let variables = [("IMAGE", image(tag)), ("NODE", self.node.clone()), ("CONFIGURATION", configuration)];
        self.deploy("swarm.yml", "front-test", &variables);
    }

    fn deploy(&self, file: &str, stack: &str, variables: &[(&str, String)]) {
        let mut command = Command::new("docker");
        command.args(["stack", "deploy", "--detach=true", "--resolve-image", "never", "--compose-file"]);
        command.arg(self.path("deploy").join(file)).arg(stack);
        let output = command.envs(variables.iter().map(|(name, value)| (name, value))).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    fn bench(&self) -> Child {
        let runs = self.path("runs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.args(["bench", "--url", "http://127.0.0.1:9999", "--rate", "100", "--seconds", "240", "--json"]);
        command.env("ARENA_RUNS", runs).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn wait_until_served(&self) {
        let answers = || {
            let answer = ureq::get("http://127.0.0.1:9999/users-count").call();
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        wait_until("the stack answers", answers);
        // Both instances, not only the first.
        wait_until("all are healthy", || self.containers().len() == 3);
    }

    fn wait_for_update(&self, service: &str) {
        let name = format!("front-test_{service}");
        let state =
            || docker(&["service", "inspect", "--format", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}", &name]);
        wait_until("an update is complete", || match state().as_str() {
            "completed" => true,
            "updating" | "" => false,
            other => panic!("{name}: {other}"),
        });
    }

    /// Containers of the front that are healthy.
    fn containers(&self) -> Vec<String> {
        let filter = "label=com.docker.stack.namespace=front-test";
        let ids = docker(&["ps", "--quiet", "--filter", filter, "--filter", "health=healthy"]);
        ids.lines().map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for stack in ["front-test", "peleja-test"] {
            let _ = docker_quiet(&["stack", "rm", stack]);
        }
        wait_for_the_end_of(&["ps", "--quiet"]);
        let _ = docker_quiet(&["swarm", "leave", "--force"]);
        // Until they are gone they hold on to their volumes.
        wait_for_the_end_of(&["ps", "--all", "--quiet"]);
        for volume in ["front-test_sockets", "peleja-test_data", "peleja-test_socket"] {
            let _ = docker_quiet(&["volume", "rm", "--force", volume]);
        }
        let _ = docker_quiet(&["image", "rm", "--force", &image("one"), &image("two")]);
        if let Some(before) = &self.migration {
            let _ = fs::write(MIGRATION, before);
        }
    }
}

fn image(tag: &str) -> String {
    format!("peleja-swarm-test:{tag}")
}

fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().unwrap();
    assert!(output.status.success(), "docker {words:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a command of Docker's prints, unless it fails.
fn docker_quiet(words: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(words).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(180);
    while !is_so() {
        assert!(Instant::now() < until, "not within three minutes: {what}");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Waits until a list of containers holds none of a stack's, for a minute at most.
fn wait_for_the_end_of(list: &[&str]) {
    let of_stacks = [list, &["--filter", "label=com.docker.stack.namespace"]].concat();
    let until = Instant::now() + Duration::from_secs(60);
    while docker_quiet(&of_stacks).is_some_and(|ids| !ids.is_empty()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The services of a file, whose anchors and merge keys are resolved.
fn read(file: &str) -> Value {
    let text = fs::read_to_string(root().join("deploy").join(file)).unwrap();
    let mut stack: Value = serde_saphyr::from_str(&text).unwrap();
    stack["services"].take()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
