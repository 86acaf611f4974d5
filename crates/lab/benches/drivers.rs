//! What part of the blocking side's price is its driver's: the same insert over the same connection, from a plain thread
//! that speaks the protocol itself up to what the two servers do. It prints CPU time and context switches of this process
//! for each insert; how long one takes is the database's affair.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may end so")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use arena::stack::cluster::Cluster;
use bytes::BytesMut;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use postgres::{Client, NoTls};
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

const INSERTS: u32 = 4_000;

const INSERT: &str = "INSERT INTO users (name) VALUES ($1)";

fn main() {
    let cluster = Cluster::start(&[]).unwrap();
    let database = cluster.connection("postgres");
    let mut client = Client::connect(&database, NoTls).unwrap();
    client.batch_execute("CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY, name text NOT NULL)").unwrap();
    let socket = format!("{}/.s.PGSQL.5432", database.split_once("host=").unwrap().1.split(' ').next().unwrap());

    println!(
        "{:<58} {:>12} {:>12} {:>12}",
        "an insert, awaited one after the other", "CPU, µs", "switches", "took, ms"
    );
    let mut plain = Plain::connect(&socket);
    measure("a plain thread that speaks the protocol itself", || plain.insert("one"));

    let insert = client.prepare(INSERT).unwrap();
    measure("a plain thread, the blocking driver", || {
        client.execute(&insert, &[&"one"]).unwrap();
    });

    let manager = Manager { database: database.clone() };
    let pool = r2d2::Pool::builder().max_size(1).build(manager).unwrap();
    let pooled = move || {
        let mut connection = pool.get().unwrap();
        let (client, insert) = &mut *connection;
        client.execute(&*insert, &[&"one"]).unwrap();
    };
    measure("the same out of a pool", &pooled);

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    measure_in(&runtime, "the same handed over to a thread that waits: blocking", async || {
        tokio::task::spawn_blocking(pooled.clone()).await.unwrap();
    });

    let (client, insert) = runtime.block_on(connect(&database));
    measure_in(&runtime, "a task that waits: non-blocking", async || {
        client.execute(&insert, &[&"one"]).await.unwrap();
    });
}

async fn connect(database: &str) -> (tokio_postgres::Client, tokio_postgres::Statement) {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await.unwrap();
    tokio::spawn(connection);
    let insert = client.prepare(INSERT).await.unwrap();
    (client, insert)
}

fn measure(name: &str, mut insert: impl FnMut()) {
    (0..INSERTS / 10).for_each(|_| insert());
    let before = Cost::now();
    (0..INSERTS).for_each(|_| insert());
    before.print(name);
}

/// The same in a task of its own, as a server's requests are.
fn measure_in(runtime: &tokio::runtime::Runtime, name: &str, insert: impl AsyncFn()) {
    runtime.block_on(async {
        for _ in 0..INSERTS / 10 {
            insert().await;
        }
        let before = Cost::now();
        for _ in 0..INSERTS {
            insert().await;
        }
        before.print(name);
    });
}

struct Cost {
    at: Instant,
    cpu_micros: i64,
    switches: i64,
}

impl Cost {
    fn now() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        Self {
            at: Instant::now(),
            cpu_micros: usage.user_time().num_microseconds() + usage.system_time().num_microseconds(),
            switches: usage.voluntary_context_switches() + usage.involuntary_context_switches(),
        }
    }

    fn print(&self, name: &str) {
        let now = Self::now();
        let each = |total: f64| total / f64::from(INSERTS);
        let (cpu, switches) = ((now.cpu_micros - self.cpu_micros) as f64, (now.switches - self.switches) as f64);
        let took = (now.at - self.at).as_secs_f64() * 1e3;
        println!("{name:<58} {:>12.1} {:>12.2} {:>12.3}", each(cpu), each(switches), each(took));
    }
}

struct Manager {
    database: String,
}

impl r2d2::ManageConnection for Manager {
    type Connection = (Client, postgres::Statement);
    type Error = postgres::Error;

    fn connect(&self) -> Result<Self::Connection, postgres::Error> {
        let mut client = Client::connect(&self.database, NoTls)?;
        let insert = client.prepare(INSERT)?;
        Ok((client, insert))
    }

    fn is_valid(&self, _connection: &mut Self::Connection) -> Result<(), postgres::Error> {
        Ok(())
    }

    fn has_broken(&self, (client, _): &mut Self::Connection) -> bool {
        client.is_closed()
    }
}

/// A connection without a runtime: it writes what it asks and blocks until the answer has come.
struct Plain {
    stream: UnixStream,
    received: BytesMut,
}

impl Plain {
    fn connect(socket: &str) -> Self {
        let mut plain = Self { stream: UnixStream::connect(socket).unwrap(), received: BytesMut::new() };
        let parameters = [("user", "postgres"), ("database", "postgres")];
        plain.ask(|ask| frontend::startup_message(parameters, ask).unwrap());
        plain.ask(|ask| {
            frontend::parse("insert", INSERT, [], ask).unwrap();
            frontend::sync(ask);
        });
        plain
    }

    fn insert(&mut self, name: &str) {
        self.ask(|ask| {
            let text = |name: &str, buffer: &mut BytesMut| {
                buffer.extend_from_slice(name.as_bytes());
                Ok(IsNull::No)
            };
            if frontend::bind("", "insert", [1], [name], text, [1], ask).is_err() {
                panic!("this can be bound");
            }
            frontend::execute("", 0, ask).unwrap();
            frontend::sync(ask);
        });
    }

    fn ask(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut asked = BytesMut::new();
        write(&mut asked);
        self.stream.write_all(&asked).unwrap();
        loop {
            match Message::parse(&mut self.received).unwrap() {
                Some(Message::ReadyForQuery(_)) => return,
                Some(Message::ErrorResponse(_)) => panic!("PostgreSQL refuses"),
                Some(_) => {}
                None => self.receive(),
            }
        }
    }

    fn receive(&mut self) {
        let mut part = [0; 4096];
        let length = self.stream.read(&mut part).unwrap();
        assert!(length > 0, "PostgreSQL went away");
        self.received.extend_from_slice(&part[..length]);
    }
}
