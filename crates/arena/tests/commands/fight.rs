//! `arena fight` against a real stack that lies, under a real Gatling, which looks at statuses alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arena::record::run::{Outcome, Run};
use arena::stack::ports::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};
use tempfile::TempDir;

/// Commits before the log is on disk, whatever the instances' connections want; stores some people under another id than the
/// instance gave, which then answers 422, and some under another name.
const LIE: &str = "
CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  IF pg_trigger_depth() > 1 OR new.nickname ~ '^(warm-up|flush probe) ' THEN
    RETURN new;
  END IF;
  IF new.nickname < 'N' THEN
    INSERT INTO users VALUES (gen_random_uuid(), new.nickname, new.fullname, new.dob, new.stack) ON CONFLICT DO NOTHING;
    RETURN NULL;
  END IF;
  IF new.nickname < 'Z' THEN
    new.fullname := left(new.fullname, 50) || '!';
  END IF;
  RETURN new;
END $$;
CREATE TRIGGER lie BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION lie()";

/// Bouts build the same simulation and want the machine for themselves.
static TURN: Mutex<()> = Mutex::new(());

/// A bout of six seconds over a database in memory.
struct Bout {
    _turn: MutexGuard<'static, ()>,
    folder: TempDir,
    database_port: u16,
    child: Option<Child>,
}

impl Bout {
    fn start(arguments: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("peleja-fight-").tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut bout = Self { _turn: turn, folder, database_port: free_port().unwrap(), child: None };
        let mut command = bout.command("fight");
        command.args(["--json", "--duration-factor", "0.03", "--no-install"]).args(arguments);
        bout.child = Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        bout
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.env("ARENA_RUNS", self.folder.path()).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        command.arg(verb).arg("--data").arg(self.folder.path().join("stack"));
        command.args(["--database-port", &self.database_port.to_string(), "--port", &free_port().unwrap().to_string()]);
        command
    }

    /// The stack's database, once the instances have made its table.
    fn database(&mut self) -> Client {
        let parameters =
            format!("host=127.0.0.1 port={} user=postgres password=rinha dbname=postgres", self.database_port);
        loop {
            let client = Client::connect(&parameters, NoTls).ok();
            if let Some(client) =
                client.and_then(|mut client| client.execute("SELECT FROM users", &[]).ok().map(|_| client))
            {
                return client;
            }
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                panic!("the bout is over: {:?}", self.child.take().unwrap().wait_with_output());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn gatling(&self) -> Pid {
        let arena = self.child.as_ref().unwrap().id();
        let children = fs::read_to_string(format!("/proc/{arena}/task/{arena}/children")).unwrap();
        let is_gatling = |pid: &&str| fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"java\n");
        Pid::from_raw(children.split_whitespace().find(is_gatling).unwrap().parse().unwrap())
    }

    fn end(mut self) -> (i32, Run) {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let run = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        (output.status.code().unwrap(), run)
    }
}

impl Drop for Bout {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.command("down").output();
    }
}

#[test]
fn a_stack_that_lies_to_gatling_does_not_lie_to_the_judge() {
    let mut bout = Bout::start(&[]);
    bout.database().batch_execute(LIE).unwrap();
    let (status, run) = bout.end();
    let verdict = run.verdict();
    assert_eq!((status, verdict.outcome, run.failed()), (1, Outcome::Failed, 0), "{verdict:?}");
    for reason in [
        "people are stored whom nobody was told of",
        "the table holds somebody who is not as was sent",
        "searches after the load find somebody who is not as was sent",
        "people were not on disk when their 201 came",
        "the data directory is in memory",
    ] {
        assert!(verdict.reasons.iter().any(|said| said.contains(reason)), "{reason}: {verdict:?}");
    }
    assert!(!run.durability.unwrap().honoured);
}

#[test]
fn a_gatling_that_stood_still_says_nothing_of_the_server() {
    let mut bout = Bout::start(&["--volatile"]);
    let mut database = bout.database();
    let sent = "SELECT count(*) FROM users WHERE nickname !~ '^(warm-up|flush probe) '";
    while database.query_one(sent, &[]).unwrap().get::<_, i64>(0) < 200 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let gatling = bout.gatling();
    kill(gatling, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    kill(gatling, Signal::SIGCONT).unwrap();
    let (status, run) = bout.end();
    let verdict = run.verdict();
    assert_eq!((status, verdict.outcome), (98, Outcome::Invalid), "{verdict:?}");
    assert!(run.generator.as_ref().unwrap().send_lag_p99 >= 1000.0, "{:?}", run.generator);
    assert!(verdict.unchecked.iter().any(|said| said.contains("in memory")), "{verdict:?}");
}
