//! What following the table costs while another client has a transaction open: `cargo bench --profile tool --bench following`.
//!
//! A stack of its own, one client, rounds in turns: without an open transaction, and with one that wrote one row before
//! the round began. A round creates people on one instance and finds each of them on the other, which has to look. The
//! figures of both kinds of rounds, and their ratio, come from one run.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use arena::stack::Running;
use arena::stack::native::{Native, Options};
use arena::stack::prerequisites::{self, Install, Tool};
use arena::workspace::Workspace;
use postgres::{Client, NoTls};

const ROUNDS: usize = 3;

/// Creates of a round, with a search each.
const PEOPLE: usize = 4_000;

/// Of the loopback device, away from the defaults.
const PORTS: [u16; 2] = [9_979, 5_479];

fn main() {
    prerequisites::ensure(&[Tool::Postgres, Tool::Nginx], Install::Refused).unwrap();
    let folder = tempfile::Builder::new().prefix("peleja-following-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let native = Native::at(&folder.path().join("stack"));
    let options = Options {
        port: PORTS[0],
        database_port: Some(PORTS[1]),
        limits: false,
        overlays: Vec::new(),
        program: env!("CARGO_BIN_EXE_peleja").into(),
        supervisor: None,
        detours: None,
    };
    let running = native.up(&Workspace::find().unwrap(), &options).unwrap();
    let costs = measure(&native, &running, &folder.path().join("stack/run"));
    native.down(true).unwrap();
    let [without, with] = costs;
    println!("per 1,000 requests          database's CPU    a search, mean");
    for (name, cost) in [("without an open transaction", &without), ("with one", &with)] {
        println!("{name:<27} {:>11.1} ms {:>14.3} ms", cost.processor(), cost.search());
    }
    println!(
        "ratio                       {:>11.2} {:>17.2}",
        with.processor() / without.processor(),
        with.search() / without.search()
    );
}

/// Of all rounds of a kind.
#[derive(Default)]
struct Cost {
    processor: Duration,
    searches: Duration,
    people: usize,
}

impl Cost {
    /// In milliseconds per 1,000 requests.
    fn processor(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / (2 * self.people) as f64
    }

    /// In milliseconds.
    fn search(&self) -> f64 {
        self.searches.as_secs_f64() * 1e3 / self.people as f64
    }
}

fn measure(native: &Native, running: &Running, sockets: &Path) -> [Cost; 2] {
    let mut costs = [Cost::default(), Cost::default()];
    let mut connections =
        ["api1", "api2"].map(|instance| UnixStream::connect(sockets.join(format!("{instance}.sock"))).unwrap());
    for round in 0..ROUNDS {
        for (kind, cost) in costs.iter_mut().enumerate() {
            let mut other = Client::connect(&running.database, NoTls).unwrap();
            let mut open = other.transaction().unwrap();
            if kind == 1 {
                let insert = "INSERT INTO users VALUES (gen_random_uuid(), 'open', '', '2000-01-01')";
                open.batch_execute(insert).unwrap();
            }
            let before = processor_time(native);
            for number in 0..PEOPLE {
                let nickname = format!("p{kind}-{round}-{number}-");
                cost.searches += create_and_find(&mut connections, &nickname);
            }
            cost.processor += processor_time(native) - before;
            cost.people += PEOPLE;
            open.rollback().unwrap();
        }
    }
    costs
}

/// The time that the search took.
fn create_and_find([one, other]: &mut [UnixStream; 2], nickname: &str) -> Duration {
    let body = format!(r#"{{"nickname":"{nickname}","fullname":"f","dob":"2000-01-01","stack":["a"]}}"#);
    let head = "POST /users HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length:";
    let created = exchange(one, &format!("{head} {}\r\n\r\n{body}", body.len()));
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    let start = Instant::now();
    let found = exchange(other, &format!("GET /users?q={nickname} HTTP/1.1\r\nHost: bench\r\n\r\n"));
    let time = start.elapsed();
    assert!(found.contains(nickname), "{found}");
    time
}

/// An answer that is short enough to come at once.
fn exchange(connection: &mut UnixStream, request: &str) -> String {
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let length = connection.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// That of the database's processes; those of clients that have left are not among them.
fn processor_time(native: &Native) -> Duration {
    let database = native.processes().main["db"];
    let children = fs::read_to_string(format!("/proc/{database}/task/{database}/children")).unwrap();
    children.split_whitespace().filter_map(time_of).sum()
}

/// User and system time, see proc_pid_stat(5).
fn time_of(pid: &str) -> Option<Duration> {
    /// Ticks of 10 ms: USER_HZ on every machine that this runs on.
    const TICK: Duration = Duration::from_millis(10);
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = status.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}
