//! `arena floor` and `arena tune` from outside: what they refuse, that they go on where they were, and that they leave nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use arena::stack::ports::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// A place for runs and for a stack.
struct Place {
    folder: TempDir,
    ports: [u16; 2],
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("peleja-floor-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder, ports: [free_port().unwrap(), free_port().unwrap()] }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        command.args(words).arg("--data").arg(self.folder.path().join("stack"));
        command.env("ARENA_RUNS", self.folder.path().join("runs")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A search over a load that takes two seconds and that everybody can bear.
    fn search(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.args(["--port", &self.ports[0].to_string(), "--database-port", &self.ports[1].to_string()]);
        command.args(["--rate", "20", "--seconds", "2", "--short", "0.5", "--no-install"]);
        command
    }

    /// The only search that was kept.
    fn kept(&self) -> Option<Value> {
        let files = fs::read_dir(self.folder.path().join("runs/searches")).ok()?;
        let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        serde_json::from_str(&fs::read_to_string(files.last()?).ok()?).ok()
    }

    fn attempts(&self) -> usize {
        self.kept().map_or(0, |search| search["attempts"].as_array().unwrap().len())
    }

    /// Lets a search go on until so many attempts are kept, and then asks it to end.
    fn interrupt(&self, mut search: Child, attempts: usize) -> Output {
        while self.attempts() < attempts {
            assert!(search.try_wait().unwrap().is_none(), "{:?}", search.wait_with_output());
            std::thread::sleep(Duration::from_millis(50));
        }
        kill(Pid::from_raw(search.id().cast_signed()), Signal::SIGINT).unwrap();
        search.wait_with_output().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).output();
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let place = Place::new();
    for (words, told) in [
        (&["floor", "--budget", "999,1g"][..], "cores"),
        (&["floor", "--budget", "1,1g"], "the budget is 1 CPUs"),
        (&["floor", "--pass", "create.p98<1ms"], "--pass"),
        (&["floor", "--short", "2"], "--short"),
        (&["floor", "--driver", "gatling", "--rate", "5"], "--rate"),
        (&["floor", "--write", "/nowhere/floor.yml"], "/nowhere"),
        (&["floor", "--overlay", "nowhere.yml"], "nowhere.yml"),
        (&["floor", "--resume", "--anew"], "--anew"),
        (&["tune", "--cpus", "7"], "--cpus"),
        (&["tune", "--cpus", "0.01"], "each service needs"),
        (&["tune", "--memory", "100m"], "settings need"),
        (&["tune", "--try", "shared_buffers"], "--try"),
        (&["tune", "--try", "apache:keep=1"], "--try"),
        (&["tune", "--for", "rate", "--driver", "gatling"], "--for rate"),
    ] {
        let output = place.command(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(told) && said.lines().count() == 1, "{words:?}: {said}");
        assert!(!place.folder.path().join("stack").exists(), "{words:?} started something");
    }
}

#[test]
fn an_interrupted_search_leaves_nothing_and_goes_on_where_it_was() {
    let place = Place::new();
    let output = place.interrupt(place.search(&["floor"]).spawn().unwrap(), 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("attempts of 1 s") && said.ends_with("goes on where it was\n"), "{said}");
    let status = place.command(&["status"]).output().unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).starts_with("Nothing runs."), "{status:?}");
    let left = fs::read_dir(place.folder.path().join("runs/searches")).unwrap().count();
    assert_eq!(left, 1, "the document alone");
    let first = place.kept().unwrap();

    fs::remove_dir_all(place.folder.path().join("stack")).unwrap_or_default();
    let again = place.search(&["floor"]).spawn().unwrap();
    while place.kept().as_ref().is_none_or(|search| search["id"] == first["id"]) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = place.interrupt(again, 2);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("from before"), "{said}");
    let second = place.kept().unwrap();
    assert_eq!(second["attempts"][0], first["attempts"][0]);
    let narrowed = &second["attempts"][1];
    let cpus = |attempt: &Value| {
        attempt["limits"].as_array().unwrap().iter().map(|limit| limit["cpus"].as_f64().unwrap()).sum::<f64>()
    };
    assert!(cpus(narrowed) < cpus(&first["attempts"][0]), "{narrowed}");
    // The kernel held the services to what the attempt says: the run tells what it found.
    let run = place.folder.path().join("runs").join(format!("{}.json", narrowed["run"].as_str().unwrap()));
    let run: Value = serde_json::from_str(&fs::read_to_string(run).unwrap()).unwrap();
    assert_eq!(run["budget"], narrowed["limits"]);
}

#[test]
fn settings_are_compared_in_pairs_and_nothing_is_changed_without_a_proposal() {
    let place = Place::new();
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let before = fs::read_to_string(format!("{workspace}/docker-compose.yml")).unwrap();
    let words = ["tune", "--for", "cost", "--no-split", "--pairs", "2", "--try", "keepalive_requests=1", "--json"];
    let output = place.search(&words).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let search: Value = serde_json::from_slice(&output.stdout).unwrap();
    let attempts = search["attempts"].as_array().unwrap();
    let tried = |attempt: &&Value| attempt["settings"]["keepalive_requests"] == "1";
    assert!(
        attempts.iter().any(|attempt| tried(&attempt)) && attempts.iter().any(|attempt| !tried(&attempt)),
        "{said}"
    );
    assert!(attempts.iter().all(|attempt| attempt["run"].is_string()), "{said}");
    let after = fs::read_to_string(format!("{workspace}/docker-compose.yml")).unwrap();
    assert!(before == after, "changed without --apply");
    let page = fs::read_to_string(
        place.folder.path().join("runs/searches").join(format!("{}.html", search["id"].as_str().unwrap())),
    );
    let page = page.unwrap();
    let heading = if search["found"]["is_confirmed"] == true { "<h1>Proposal" } else { "<h1>No proposal" };
    for told in [heading, "The path", "CPU time for every thousand requests", "keepalive_requests=1"] {
        assert!(page.contains(told), "{told}");
    }
    assert!(!page.contains("over the total"), "all have the same total");
    assert!(said.lines().filter(|line| line.contains("CPU ms per 1,000")).count() >= attempts.len(), "{said}");
}
