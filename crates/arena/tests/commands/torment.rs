//! `arena torment` against real stacks: one that keeps its word, and one that lies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arena::record::torment::report::Report;
use arena::stack::ports::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};
use tempfile::TempDir;

/// Commits before the log is on disk, whatever the instances' connections want.
const LIE: &str = "
CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  RETURN new;
END $$;
CREATE TRIGGER lie BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION lie()";

/// What one torment does to the machine is no part of another.
static TURN: Mutex<()> = Mutex::new(());

struct Torment {
    _turn: MutexGuard<'static, ()>,
    folder: TempDir,
    database_port: u16,
    child: Option<Child>,
}

impl Torment {
    fn start(words: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("peleja-torment-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut torment = Self { _turn: turn, folder, database_port: free_port().unwrap(), child: None };
        let mut command = torment.command(&["torment", "--json", "--no-install", "--seed", "3"]);
        torment.child = Some(command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        torment
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.env("ARENA_RUNS", self.folder.path()).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        command.args(words).arg("--data").arg(self.data());
        command.args(["--database-port", &self.database_port.to_string(), "--port", &free_port().unwrap().to_string()]);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("stack")
    }

    /// The stack's database, once the instances have made its table.
    fn database(&mut self) -> Client {
        let parameters =
            format!("host=127.0.0.1 port={} user=postgres password=rinha dbname=postgres", self.database_port);
        loop {
            let client = Client::connect(&parameters, NoTls).ok();
            let has_table = |client: &mut Client| client.execute("SELECT FROM users", &[]).is_ok();
            if let Some(client) = client.and_then(|mut client| has_table(&mut client).then_some(client)) {
                return client;
            }
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                panic!("the torment is over: {:?}", self.child.take().unwrap().wait_with_output());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(&mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }

    fn is_mounted(&self) -> bool {
        fs::read_to_string("/proc/mounts").unwrap().contains(self.data().to_str().unwrap())
    }

    fn histories(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path().join("torments")).into_iter().flatten().flatten();
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect()
    }
}

impl Drop for Torment {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT);
            let _ = child.wait();
        }
        let _ = self.command(&["down"]).output();
    }
}

fn report(output: &Output) -> Report {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_stack_that_keeps_its_word_passes_and_its_history_can_be_checked_again() {
    let mut torment =
        Torment::start(&["--for", "18s", "--faults", "kill-api1,kill-db,stop-api2,cut,delay-api1-db,cpu-db,power"]);
    let output = torment.end();
    let passed = report(&output);
    assert!(passed.passed && output.status.success(), "{:?} {output:?}", passed.reasons);
    let tried: usize = passed.faults.iter().map(|fault| fault.times).sum();
    assert!(tried >= 5 && passed.requests > 500 && passed.people > 100, "{:?}", passed.faults);
    assert!(!torment.data().exists(), "files are left");

    let histories = torment.histories();
    let page = fs::read_to_string(histories[0].with_extension("html")).unwrap();
    assert!(page.contains("Passed") && page.contains(&passed.faults[0].name), "{page}");
    let check = |file: &PathBuf| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.args(["torment", "--json", "--check"]).arg(file).output().unwrap()
    };
    assert_eq!(report(&check(&histories[0])), passed);
    // A row that is not there any more, and nothing else.
    let text = fs::read_to_string(&histories[0]).unwrap();
    let all: Vec<&str> = text.lines().collect();
    let (last, others) = all.split_last().unwrap();
    assert!(last.starts_with("{\"row\""), "{last}");
    fs::write(&histories[0], others.join("\n")).unwrap();
    let again = check(&histories[0]);
    let findings = report(&again).findings;
    assert_eq!(again.status.code(), Some(1));
    assert!(!findings.lost.is_empty() && findings.phantom.is_empty() && findings.doubled.is_empty(), "{findings:?}");
}

#[test]
fn a_stack_that_answers_before_its_log_is_on_disk_has_lost_people_after_a_power_cut() {
    let mut torment = Torment::start(&["--for", "8s", "--faults", "power"]);
    let mut database = torment.database();
    database.batch_execute(LIE).unwrap();
    // Nobody else flushes what it leaves.
    database.batch_execute("ALTER SYSTEM SET wal_writer_delay = '10s'").unwrap();
    database.batch_execute("SELECT pg_reload_conf()").unwrap();
    let output = torment.end();
    let failed = report(&output);
    assert_eq!((output.status.code(), failed.passed), (Some(1), false), "{output:?}");
    assert!(!failed.findings.lost.is_empty(), "{:?}", failed.reasons);
    assert!(failed.findings.phantom.is_empty(), "{:?}", failed.reasons);
}

#[test]
fn people_who_were_kept_are_left_alone() {
    let torment = Torment::start(&["--version"]);
    let ok = |words: &[&str]| assert!(torment.command(words).output().unwrap().status.success(), "{words:?}");
    ok(&["up"]);
    let parameters = format!("host=127.0.0.1 port={} user=postgres password=rinha", torment.database_port);
    let insert = "INSERT INTO users VALUES (gen_random_uuid(), 'kept', 'f', '2000-01-01', NULL)";
    Client::connect(&parameters, NoTls).unwrap().batch_execute(insert).unwrap();
    ok(&["down", "--keep"]);
    let output = torment.command(&["torment", "--for", "5s", "--faults", "kill-db"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("people are kept there (1)"), "{error}");
    assert!(torment.data().join("db").is_dir());
}

#[test]
fn one_that_is_interrupted_leaves_nothing_behind() {
    let mut torment = Torment::start(&["--for", "60s", "--faults", "stop-db,disk"]);
    drop(torment.database());
    std::thread::sleep(Duration::from_secs(4));
    kill(Pid::from_raw(torment.child.as_ref().unwrap().id().cast_signed()), Signal::SIGINT).unwrap();
    let output = torment.end();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).ends_with("arena: interrupted\n"), "{output:?}");
    assert!(!torment.data().exists() && !torment.is_mounted(), "files are left: {output:?}");
    assert!(torment.histories().is_empty());
    assert!(String::from_utf8_lossy(&torment.command(&["down"]).output().unwrap().stdout).contains("Nothing ran"));
}

#[test]
fn what_cannot_be_meant_is_told_on_one_line_before_anything_starts() {
    for (words, said) in [
        (&["torment", "--faults", "flood"][..], "flood"),
        (&["torment", "--for", "soon"], "--for"),
        (&["torment", "--check", "nowhere.jsonl"], "nowhere.jsonl"),
        (&["torment", "--check", "x", "--seed", "1"], "--seed"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_arena")).args(words).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error}");
    }
}
