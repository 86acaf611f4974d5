//! `arena up`, `status`, `down` as a user types them, and the Compose file as Compose reads it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use arena::stack::ports::free_port;
use serde_json::Value;

/// A stack of its own, named by the flags that every command takes.
struct Which {
    folder: tempfile::TempDir,
    port: u16,
    database_port: u16,
    lab_ports: Vec<(&'static str, u16)>,
}

impl Which {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("peleja-up-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let servers = ["blocking", "nonblocking", "forms", "resource"];
        let lab_ports = servers.map(|server| (server, free_port().unwrap())).to_vec();
        Self { folder, port: free_port().unwrap(), database_port: free_port().unwrap(), lab_ports }
    }

    fn arena(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.args(words).arg("--data").arg(self.data());
        command.args(["--port", &self.port.to_string(), "--database-port", &self.database_port.to_string()]);
        for (server, port) in &self.lab_ports {
            command.env(format!("LAB_{}_PORT", server.to_uppercase()), port.to_string());
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("stack")
    }

    /// Starts `arena up`, and sends it a signal when it is making the cluster.
    fn up_until(&self, signal: &str) -> Output {
        let mut command = self.command(&["up"]);
        let up = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !self.data().join("db.new/base").exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(Command::new("kill").args([signal, &up.id().to_string()]).status().unwrap().success());
        up.wait_with_output().unwrap()
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = self.arena(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn lab_port(&self, server: &str) -> u16 {
        self.lab_ports.iter().find(|(name, _)| *name == server).unwrap().1
    }

    fn pid(&self, service: &str) -> String {
        let status = self.ok(&["status"]);
        let line = status.lines().find(|line| line.trim_start().starts_with(&format!("{service} "))).unwrap();
        line.split_whitespace().nth(2).unwrap().to_owned()
    }
}

impl Drop for Which {
    fn drop(&mut self) {
        let _ = self.arena(&["down"]);
    }
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

fn get(port: u16, path: &str) -> String {
    ask(port, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

fn post_opinion(port: u16) -> String {
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9";
    ask(port, &format!("POST /opinion-async HTTP/1.0\r\n{form}\r\n\r\nopinion=x"))
}

fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_stack_goes_up_is_mended_and_leaves_nothing() {
    let which = Which::new();
    assert_eq!(which.arena(&["status"]).status.code(), Some(1));
    assert!(which.ok(&["up", "--no-restart"]).contains(&format!("http://127.0.0.1:{}", which.port)));
    assert!(which.ok(&["up", "--no-restart"]).contains("runs already"));
    let document: Value = serde_json::from_str(&which.ok(&["status", "--json"])).unwrap();
    assert_eq!((document["running"].as_bool(), document["services"].as_array().unwrap().len()), (Some(true), 4));
    assert!(which.ok(&["logs", "db", "--lines", "50"]).contains("ready to accept connections"));

    let killed = which.pid("api1");
    kill(&killed);
    let part = which.arena(&["status"]);
    assert_eq!(part.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&part.stdout).contains("part of the stack"));
    which.ok(&["up", "--no-restart"]);
    assert_ne!(which.pid("api1"), killed);

    // At once, while what these two leave behind is still there.
    for service in ["db", "nginx"] {
        let killed = which.pid(service);
        kill(&killed);
        assert_eq!(which.arena(&["status"]).status.code(), Some(1), "{service} is dead");
        which.ok(&["up", "--no-restart"]);
        assert_ne!(which.pid(service), killed, "{service}");
        assert!(get(which.port, "/users-count").starts_with("HTTP/1.1 200"), "{service}");
    }

    assert!(which.ok(&["down"]).contains("Ended"));
    assert!(!which.folder.path().join("stack").exists(), "files are left");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, which.port)).is_err());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, which.database_port)).is_err());
    assert!(which.ok(&["down"]).contains("Nothing ran"));
}

/// Waits until something holds; a stack is to serve again within 5 s, and a machine that others use may be slower.
fn soon(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_dies_is_started_again_and_what_stands_still_is_left_alone() {
    let which = Which::new();
    which.ok(&["up"]);
    let status = || serde_json::from_slice::<Value>(&which.arena(&["status", "--json"]).stdout).unwrap();
    let serves = || std::panic::catch_unwind(|| get(which.port, "/users-count").starts_with("HTTP/1.1 200"));
    let is_back = |killed: &str, service: &str| status()["running"] == true && which.pid(service) != killed;
    for (service, times) in [("api1", 1), ("db", 1), ("nginx", 1), ("api1", 2)] {
        let killed = which.pid(service);
        kill(&killed);
        soon(&format!("{service} is back"), || is_back(&killed, service) && serves().is_ok_and(|serves| serves));
        assert_eq!(status()["restarts"][service]["times"], times, "{service}");
    }
    assert!(which.ok(&["status"]).contains("started again 2 times, last at "), "{}", which.ok(&["status"]));

    let still = which.pid("api2");
    assert!(Command::new("kill").args(["-STOP", &still]).status().unwrap().success());
    std::thread::sleep(Duration::from_secs(2));
    assert!(Command::new("kill").args(["-CONT", &still]).status().unwrap().success());
    assert_eq!((which.pid("api2"), &status()["restarts"]["api2"]), (still, &Value::Null));

    // The supervisor itself: nothing is lost but its work, and the next `up` sees to that.
    let supervisor = supervisor_of(&which.data()).unwrap();
    kill(&supervisor);
    soon("the supervisor is dead", || status()["supervised"] == false);
    assert!(which.ok(&["status"]).contains("the supervisor is dead"));
    assert!(which.ok(&["up"]).contains("Its supervisor was dead"));
    assert_eq!((&status()["supervised"], &status()["restarts"]["api1"]["times"]), (&true.into(), &2.into()));
    let killed = which.pid("api2");
    kill(&killed);
    soon("api2 is back", || is_back(&killed, "api2"));
    which.ok(&["down"]);
    assert_eq!(supervisor_of(&which.data()), None);
    assert!(!which.data().exists(), "files are left");
}

/// The process that works in the supervisor's folder.
fn supervisor_of(data: &Path) -> Option<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let mut theirs = processes.filter(|process| {
        std::fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == data.join("supervisor"))
    });
    Some(theirs.next()?.file_name()?.to_str()?.to_owned())
}

#[test]
fn the_budget_is_told_of_at_the_start_and_judged_in_the_end() {
    let which = Which::new();
    let overlay = which.folder.path().join("over.yml");
    let cpus = |service, cpus| format!("  {service}: {{deploy: {{resources: {{limits: {{cpus: {cpus}}}}}}}}}\n");
    let all =
        [("nginx", 0.45), ("api1", 0.25), ("api2", 0.25), ("db", 1.5)].map(|(service, share)| cpus(service, share));
    std::fs::write(&overlay, format!("services:\n{}", all.concat())).unwrap();
    let bench = || {
        let output = which.arena(&["bench", "--empty", "--rate", "20", "--seconds", "2", "--json", "--volatile"]);
        let run: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code(), run)
    };

    let told = which.ok(&["up", "--overlay", overlay.to_str().unwrap()]);
    let (status, run) = bench();
    // A machine on which no limits can be set has no budget.
    let limited = run["machine"]["cgroup"] != "none";
    let (outcome, sum) =
        if limited { ("over-budget", "2.45 CPUs") } else { ("no-budget", "no limits hold the services") };
    assert!(told.contains(&format!("Budget    {outcome}: ")) && told.contains(sum), "{told}");
    assert_eq!((status, run["verdict"]["outcome"].as_str()), (Some(1), Some(outcome)), "{}", run["verdict"]);
    assert!(run["verdict"]["reasons"][0].as_str().unwrap().contains(sum), "{}", run["verdict"]);
    which.ok(&["down"]);

    let told = which.ok(&["up", "--no-limits"]);
    assert!(!told.contains("Budget"), "{told}");
    let (_, run) = bench();
    assert_eq!(run["settings"]["more"]["limits"], "none");
    assert!(!run["verdict"]["outcome"].as_str().unwrap().contains("budget"), "{}", run["verdict"]);
}

#[test]
fn without_limits_nothing_is_clean_and_it_is_told_why() {
    let which = Which::new();
    // As where control groups cannot be reached.
    let hidden = |words: &[&str]| {
        let arena = which.command(words);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh"]);
        command.arg(arena.get_program()).args(arena.get_args()).output().unwrap()
    };
    let doctor = hidden(&["doctor"]);
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    if told.is_empty() {
        eprintln!("not tried here: {}", String::from_utf8_lossy(&doctor.stderr));
        return;
    }
    let fault = told.lines().find_map(|line| line.strip_prefix("missing  limits")).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(doctor.status.code(), Some(1));
    let up = hidden(&["up"]);
    let told = String::from_utf8_lossy(&up.stdout).into_owned();
    assert!(told.contains("Budget    no-budget: ") && told.contains(fault.trim()), "{up:?}");
    let bench = which.arena(&["bench", "--empty", "--rate", "20", "--seconds", "2", "--json", "--volatile"]);
    let run: Value = serde_json::from_slice(&bench.stdout).unwrap_or_else(|error| panic!("{error}: {bench:?}"));
    assert_eq!((bench.status.code(), run["verdict"]["outcome"].as_str()), (Some(1), Some("no-budget")));
    assert!(run["verdict"]["reasons"][0].as_str().unwrap().contains(fault.trim()), "{}", run["verdict"]);
}

#[test]
fn the_lab_goes_up_beside_the_stack_and_down_with_it() {
    let which = Which::new();
    let told = which.ok(&["up", "--lab", "--no-restart"]);
    for (_, port) in &which.lab_ports {
        assert!(told.contains(&format!("http://localhost:{port}/")), "{told}");
        assert!(get(*port, "/health").starts_with("HTTP/1.0 200"));
    }
    let document: Value = serde_json::from_str(&which.ok(&["status", "--json"])).unwrap();
    assert_eq!(document["lab"]["running"], true, "{document}");
    assert_eq!(document["services"].as_array().unwrap().len(), 4, "the budget is the contender's alone");
    assert!(which.ok(&["logs", "worker"]).contains("storing queued opinions"));

    let kept = which.pid("worker");
    assert!(which.ok(&["up", "--lab", "--no-restart"]).contains("The lab runs already"));
    let killed = which.pid("forms");
    kill(&killed);
    assert_eq!(which.arena(&["status"]).status.code(), Some(1));
    which.ok(&["up", "--lab", "--no-restart"]);
    assert_ne!(which.pid("forms"), killed);
    assert_eq!(which.pid("worker"), kept);
    assert!(post_opinion(which.lab_port("forms")).starts_with("HTTP/1.0 303"));
    let database = format!("host=127.0.0.1 port={} user=postgres password=rinha dbname=lab", which.database_port);
    let mut client = postgres::Client::connect(&database, postgres::NoTls).unwrap();
    let stored = |client: &mut postgres::Client| client.query("SELECT FROM opinions", &[]).unwrap().len() == 1;
    let mut patience = 100;
    while !stored(&mut client) {
        patience -= 1;
        assert!(patience > 0, "the worker stores nothing");
        std::thread::sleep(Duration::from_millis(100));
    }

    // A crash: who the lab stands on is gone, and so is what the arena wrote down.
    kill(&which.pid("db"));
    std::fs::remove_file(which.folder.path().join("stack/settings.json")).unwrap();
    assert!(which.ok(&["down"]).contains("Ended"));
    for (_, port) in &which.lab_ports {
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err());
    }
    assert!(which.ok(&["down"]).contains("Nothing ran"));
    assert!(!which.folder.path().join("stack").exists(), "files are left");
}

#[test]
fn people_who_are_kept_are_there_again() {
    let which = Which::new();
    which.ok(&["up"]);
    let database = format!("host=127.0.0.1 port={} user=postgres password=rinha", which.database_port);
    let mut client = postgres::Client::connect(&database, postgres::NoTls).unwrap();
    client.batch_execute("INSERT INTO users VALUES (gen_random_uuid(), 'kept', 'f', '2000-01-01', NULL)").unwrap();
    drop(client);
    which.ok(&["down", "--keep"]);
    which.ok(&["up"]);
    let mut client = postgres::Client::connect(&database, postgres::NoTls).unwrap();
    let row = client.query_one("SELECT nickname FROM users", &[]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "kept");
}

#[test]
fn a_run_over_people_knows_whom_the_server_must_refuse() {
    let which = Which::new();
    which.ok(&["up"]);
    // The first people of the very rows that the run sends, so that most of them are taken.
    which.ok(&["fill", "300", "--seed", "233"]);
    let runs = tempfile::tempdir().unwrap();
    let load = ["bench", "--over", "500", "--rate", "500", "--seconds", "1", "--json", "--max-lag", "60000"];
    let output = which.command(&load).env("ARENA_RUNS", runs.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    let before: u64 = run["settings"]["more"]["people before"].as_str().unwrap().parse().unwrap();
    assert!((700..=800).contains(&before), "a nickname of one letter may be in both: {before}");
    let stored = run["people"]["stored"].as_u64().unwrap();
    assert!((1..300).contains(&stored), "{}", run["people"]);
    assert_eq!(run["people"]["ceiling"], stored);
    assert!(run["requests"][0]["statuses"]["422"].as_u64().unwrap() > 250, "{}", run["requests"][0]["statuses"]);

    // A server that forgets whom it holds is found out.
    let database = format!("host=127.0.0.1 port={} user=postgres password=rinha", which.database_port);
    let mut client = postgres::Client::connect(&database, postgres::NoTls).unwrap();
    client.batch_execute("ALTER TABLE users DROP CONSTRAINT users_nickname_key").unwrap();
    let output = which.command(&load).env("ARENA_RUNS", runs.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_starts() {
    let which = Which::new();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, which.port)).unwrap();
    let output = which.arena(&["up"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--port"), "{output:?}");
    assert!(!which.folder.path().join("stack").exists());
}

/// The groups that a process is in and that hold nothing but its service.
fn own_groups(pid: &str) -> Vec<PathBuf> {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = |line: &str| {
        let (controller, name) = line.split_once(':')?.1.split_once(':')?;
        let folder = Path::new("/sys/fs/cgroup").join(controller).join(name.trim_start_matches('/'));
        (name.starts_with("/peleja-") && folder.is_dir()).then_some(folder)
    };
    membership.lines().filter_map(group).collect()
}

#[test]
fn every_service_is_held_to_its_limit_by_a_group_that_goes_with_it() {
    let which = Which::new();
    let up = which.arena(&["up"]);
    assert!(up.status.success(), "{up:?}");
    if String::from_utf8_lossy(&up.stderr).contains("no limits are set") {
        eprintln!("not tried here: {up:?}");
        return;
    }
    let document: Value = serde_json::from_str(&which.ok(&["status", "--json"])).unwrap();
    let mut all = Vec::new();
    for service in document["services"].as_array().unwrap() {
        let groups = own_groups(&which.pid(service["service"].as_str().unwrap()));
        let value = |name: &str| groups.iter().find_map(|group| std::fs::read_to_string(group.join(name)).ok());
        let quota = value("cpu.cfs_quota_us").or_else(|| Some(value("cpu.max")?.split(' ').next()?.to_owned()));
        let memory = value("memory.limit_in_bytes").or_else(|| value("memory.max"));
        let number = |text: Option<String>| text.unwrap().trim().parse::<f64>().unwrap();
        assert_eq!(number(quota), (service["cpus"].as_f64().unwrap() * 100_000.0).round(), "{service}");
        assert_eq!(number(memory), service["memory_bytes"].as_f64().unwrap(), "{service}");
        all.extend(groups);
    }
    which.ok(&["down"]);
    let left: Vec<_> = all
        .iter()
        .flat_map(|group| [group.as_path(), group.parent().unwrap()])
        .filter(|group| group.exists())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_missing_is_only_listed_where_nothing_may_be_installed() {
    let which = Which::new();
    let output = which.command(&["fight", "--no-install"]).env("PATH", "/nowhere").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("default-jdk-headless") && error.contains("maven"), "{error}");
    assert!(error.contains("--no-install") && !which.data().exists(), "{error}");
}

#[test]
fn what_the_machine_lacks_is_told_before_anything_starts() {
    let which = Which::new();
    let tools = which.folder.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    for (tool, says) in [("javac", "javac 11.0.22"), ("nginx", "nginx/1.22.1 --without-http_limit_conn_module")] {
        std::fs::write(tools.join(tool), format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(tools.join(tool), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let doctor = which.command(&["doctor"]).env("PATH", &path).output().unwrap();
    assert_eq!((doctor.status.code(), faults(&doctor).len()), (Some(1), 2), "{doctor:?}");
    for fault in faults(&doctor) {
        let fight = which.command(&["fight", "--no-install"]).env("PATH", &path).output().unwrap();
        assert!(String::from_utf8_lossy(&fight.stderr).contains(&fault), "{fault}: {fight:?}");
    }

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, which.port)).unwrap();
    let on_one_core = |words: &[&str]| {
        let arena = which.command(words);
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(arena.get_program()).args(arena.get_args()).output().unwrap()
    };
    let faults = faults(&on_one_core(&["doctor"]));
    assert!(faults[0].contains("2 cores are needed") && faults[1].contains("something else listens"), "{faults:?}");
    let refused = which.arena(&["up"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&faults[1]), "{refused:?}");
    drop(taken);
    let refused = on_one_core(&["up"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&faults[0]), "{refused:?}");
    assert!(!which.data().exists());
}

/// What `arena doctor` says is missing.
#[test]
fn an_engine_that_does_not_answer_is_all_that_is_missing_there() {
    let which = Which::new();
    let nowhere = format!("unix://{}", which.folder.path().join("none.sock").display());
    let doctor = which.command(&["doctor", "--engine", "docker"]).env("DOCKER_HOST", nowhere).output().unwrap();
    let faults = faults(&doctor);
    assert_eq!((doctor.status.code(), faults.len()), (Some(1), 1), "{doctor:?}");
    assert!(faults[0].contains("--engine native"), "{faults:?}");
}

fn faults(doctor: &Output) -> Vec<String> {
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let faults = told.lines().filter_map(|line| line.strip_prefix("missing  "));
    faults.map(|fault| fault[11..].trim().to_owned()).collect()
}

#[test]
fn an_up_that_is_interrupted_takes_along_what_it_started() {
    let which = Which::new();
    let up = which.up_until("-INT");
    assert_eq!((up.status.code(), String::from_utf8_lossy(&up.stderr).trim()), (Some(1), "arena: interrupted"));
    assert!(String::from_utf8_lossy(&which.arena(&["status"]).stdout).contains("Nothing runs"));
    assert!(which.ok(&["down"]).contains("Nothing ran"));
    assert!(!which.data().exists(), "files are left");
}

#[test]
fn an_up_that_crashes_leaves_nothing_that_down_cannot_end() {
    let which = Which::new();
    which.up_until("-KILL");
    assert!(String::from_utf8_lossy(&which.arena(&["status"]).stdout).contains("part of the stack"));
    assert!(which.ok(&["down"]).contains("Ended"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!which.data().exists(), "somebody goes on making files");
}

#[test]
fn two_ups_at_once_make_one_stack() {
    let which = Which::new();
    let other = which.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    which.ok(&["up"]);
    assert!({ other }.wait().unwrap().success());
    which.ok(&["status"]);
    which.ok(&["down"]);
    assert!(!which.data().exists(), "files are left");
}

#[test]
fn a_stack_goes_when_its_files_were_removed_under_it() {
    let which = Which::new();
    which.ok(&["up"]);
    // Whoever runs may make a file in the midst of it.
    soon("the files are gone", || std::fs::remove_dir_all(which.data()).is_ok() || !which.data().exists());
    assert!(which.ok(&["down"]).contains("Ended"));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, which.port)).is_err());
}

#[test]
fn somebody_s_folder_is_neither_filled_nor_emptied() {
    let which = Which::new();
    let own = which.data().join("bin/own");
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(&own, "").unwrap();
    for (command, said) in [("up", "holds other things"), ("down", "nothing was touched")] {
        let output = which.arena(&[command]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
        assert!(own.is_file());
    }
    std::fs::remove_dir_all(which.data()).unwrap();
}

#[test]
fn what_cannot_be_meant_is_told_on_one_line_before_anything_starts() {
    let long = format!("/var/tmp/{}", "a".repeat(100));
    let cases: [(&[&str], &str); 12] = [
        (&["up", "--port", "0"], "--port"),
        (&["up", "--port", "7", "--database-port", "7"], "both 7"),
        (&["up", "--database-port", "0"], "--database-port"),
        (&["up", "--data", "/var/tmp/two words"], "--data"),
        (&["up", "--data", &long], "bytes"),
        (&["up", "--overlay", "nowhere.yml"], "nowhere.yml"),
        (&["fight", "--overlay", "nowhere.yml"], "nowhere.yml"),
        (&["fight", "--rate-factor", "nan"], "--rate-factor"),
        (&["fight", "--quick", "--simulation", "Other"], "--quick"),
        (&["fight", "--simulation", "nowhere.scala"], "nowhere.scala"),
        (&["fight", "--payloads", "nowhere.tsv", "--terms", "nowhere.tsv"], "nowhere.tsv"),
        (&["fight", "--vocabulary", "pessoas", "--payloads", SMALL, "--terms", SMALL], "--vocabulary users"),
    ];
    for (words, said) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_arena")).args(words).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error}");
    }
}

const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../gatling/resources/small/users-payloads.tsv");

#[test]
fn a_port_of_the_lab_that_is_taken_leaves_the_stack_up_and_no_part_of_the_lab() {
    let which = Which::new();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, which.lab_port("resource"))).unwrap();
    let output = which.arena(&["up", "--lab"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--resource-port"), "{output:?}");
    let status = String::from_utf8_lossy(&which.arena(&["status"]).stdout).into_owned();
    assert!(status.contains("api1 ") && !status.contains("blocking  "), "{status}");
}

/// The file as Compose reads it, or, without Docker, as the arena does.
fn compose_config() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker-compose.yml");
    let docker = Command::new("docker")
        .args(["compose", "--profile", "*", "-f"])
        .arg(&file)
        .args(["config", "--format", "json"])
        .output();
    match docker {
        Ok(output) if output.status.success() => serde_json::from_slice(&output.stdout).unwrap(),
        _ => serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap(),
    }
}

#[test]
fn compose_keeps_to_the_budget_and_watches_every_service() {
    let config = compose_config();
    let services = config["services"].as_object().unwrap();
    let of_a_bout: Vec<_> = services.iter().filter(|(_, service)| service.get("profiles").is_none()).collect();
    let names: Vec<&str> = of_a_bout.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let mut cpus = 0.0;
    let mut memory = 0;
    for (name, service) in of_a_bout {
        let limits = &service["deploy"]["resources"]["limits"];
        let limit = |key: &str| match &limits[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        cpus += limit("cpus").parse::<f64>().unwrap_or_else(|_| panic!("{name} has no limit of CPUs"));
        memory += bytes(&limit("memory")).unwrap_or_else(|| panic!("{name} has no limit of memory"));
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no healthcheck");
        assert_eq!(service["read_only"], true, "{name} may write to its image");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name} has capabilities");
    }
    assert!(cpus <= 1.5 + 1e-9, "{cpus} CPUs");
    assert!(memory <= 3 << 30, "{memory} bytes");
}

#[test]
fn compose_holds_every_part_of_the_lab_alike() {
    let config = compose_config();
    for part in arena::stack::lab::PARTS {
        let service = &config["services"][part];
        assert_eq!(service["profiles"][0], "lab", "{part}");
        let limits = &service["deploy"]["resources"]["limits"];
        assert_eq!(limits, &config["services"]["blocking"]["deploy"]["resources"]["limits"], "{part}");
        assert!(limits["cpus"].is_string() || limits["cpus"].is_number(), "{part}: {limits}");
        assert_eq!(service["healthcheck"]["test"][3], part);
        assert_eq!((&service["read_only"], &service["cap_drop"][0]), (&true.into(), &"ALL".into()), "{part}");
    }
}

fn bytes(text: &str) -> Option<u64> {
    match text.strip_suffix('M') {
        Some(mebibytes) => Some(mebibytes.parse::<u64>().ok()? << 20),
        None => text.parse().ok(),
    }
}
