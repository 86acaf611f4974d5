//! Opinions under `kill -9` of every process: each one that was accepted is stored exactly once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arena::stack::cluster::Cluster;

mod support;
use support::{Lab, eventually};

const WAYS: [&str; 2] = ["/opinion", "/opinion-async"];

/// Names of the opinions that a 303 accepted, and how many were sent in all.
#[derive(Default)]
struct Sent {
    accepted: Vec<String>,
    sent: usize,
}

fn database(cluster: &Cluster) -> String {
    cluster.connection("lab")
}

fn serve(cluster: &Cluster) -> Lab {
    Lab::serve(&["forms", "--database-url", &database(cluster)])
}

fn work(cluster: &Cluster) -> Lab {
    Lab::start(&["worker", "--database-url", &database(cluster)])
}

/// Sends opinions both ways until `done`; answers that do not come are what the test is about.
fn send(lab: &Mutex<Lab>, sender: usize, done: &AtomicBool, sent: &Mutex<Sent>) {
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("sender {sender} number {number}");
        let url = lab.lock().unwrap().url.clone();
        let body = format!("opinion=x&name={name}");
        let accepted = post(&format!("{url}{}", WAYS[number % 2]), &body) == Some(303);
        let mut sent = sent.lock().unwrap();
        sent.sent += 1;
        if accepted {
            sent.accepted.push(name);
        }
    }
}

fn post(url: &str, body: &str) -> Option<u16> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build();
    let request = ureq::Agent::new_with_config(config).post(url);
    let response = request.header("content-type", "application/x-www-form-urlencoded").send(body).ok()?;
    Some(response.status().as_u16())
}

/// How often each name is stored.
fn stored(cluster: &Cluster) -> BTreeMap<String, i64> {
    let mut client = postgres::Client::connect(&database(cluster), postgres::NoTls).unwrap();
    let rows = client.query("SELECT name, count(*) FROM opinions GROUP BY name", &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn waiting(cluster: &Cluster) -> i64 {
    let mut client = postgres::Client::connect(&database(cluster), postgres::NoTls).unwrap();
    client.query_one("SELECT count(*) FROM graphile_worker.jobs", &[]).unwrap().get(0)
}

/// Ends the senders, also where the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends under kills, then lets the queue run empty and counts.
fn under(kill: impl FnOnce(&mut Cluster, &Mutex<Lab>, &Mutex<Lab>)) {
    let mut cluster = Cluster::start(&[]).unwrap();
    assert!(Lab::start(&["init", "--database-url", &database(&cluster)]).wait().success());
    let (lab, worker) = (Mutex::new(serve(&cluster)), Mutex::new(work(&cluster)));
    let (done, sent) = (AtomicBool::new(false), Mutex::new(Sent::default()));
    thread::scope(|scope| {
        for sender in 0..4 {
            let (lab, done, sent) = (&lab, &done, &sent);
            scope.spawn(move || send(lab, sender, done, sent));
        }
        let _end = Done(&done);
        kill(&mut cluster, &lab, &worker);
        let before = sent.lock().unwrap().accepted.len();
        eventually("opinions are taken again", || sent.lock().unwrap().accepted.len() > before + 50);
    });
    eventually("the queue runs empty", || waiting(&cluster) == 0);

    let stored = stored(&cluster);
    let Sent { accepted, sent } = sent.into_inner().unwrap();
    let lost: Vec<_> = accepted.iter().filter(|name| !stored.contains_key(*name)).collect();
    let doubled: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
    println!("sent {sent}, accepted {}, lost {}, doubled {}", accepted.len(), lost.len(), doubled.len());
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
}

fn for_a_while() {
    thread::sleep(Duration::from_millis(700));
}

#[test]
fn the_worker_is_killed() {
    under(|cluster, _lab, worker| {
        for _ in 0..5 {
            for_a_while();
            let successor = work(cluster);
            std::mem::replace(&mut *worker.lock().unwrap(), successor).kill();
        }
    });
}

#[test]
fn the_server_is_killed() {
    under(|cluster, lab, _worker| {
        for _ in 0..5 {
            for_a_while();
            let successor = serve(cluster);
            std::mem::replace(&mut *lab.lock().unwrap(), successor).kill();
        }
    });
}

#[test]
fn the_database_is_killed() {
    under(|cluster, _lab, _worker| {
        for _ in 0..3 {
            for_a_while();
            cluster.kill();
            cluster.start_again().unwrap();
        }
    });
}
