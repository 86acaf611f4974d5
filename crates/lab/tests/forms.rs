//! The forms and their worker, from outside, over a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end so")]

use arena::stack::cluster::Cluster;

mod support;
use support::{Answer, Lab, eventually};

const WAYS: [&str; 4] = ["/opinion", "/opinion-async", "/form", "/async-form"];
const EMPTY: &str = "Your opinion must have at least one character!";

fn serve(cluster: &Cluster, more: &[&str]) -> Lab {
    let database = cluster.connection("lab");
    let mut arguments = vec!["forms", "--database-url", &database];
    arguments.extend(more);
    let lab = Lab::serve(&arguments);
    eventually("the server makes the tables", || lab.get("/dead-letters").status == 200);
    // Waits for the rest, which the server is still at: without the queue's functions an opinion is refused.
    assert!(Lab::start(&["init", "--database-url", &database]).wait().success());
    lab
}

fn work(cluster: &Cluster, more: &[&str]) -> Lab {
    let database = cluster.connection("lab");
    let mut arguments = vec!["worker", "--database-url", &database];
    arguments.extend(more);
    Lab::start(&arguments)
}

fn stored(cluster: &Cluster) -> Vec<(String, String)> {
    let mut client = postgres::Client::connect(&cluster.connection("lab"), postgres::NoTls).unwrap();
    let rows = client.query("SELECT name, text FROM opinions ORDER BY created_at", &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn multipart(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    fields.iter().map(part).collect::<String>() + "--edge--\r\n"
}

#[test]
fn every_way_takes_both_encodings_and_redirects() {
    let cluster = Cluster::start(&[]).unwrap();
    let (lab, _worker) = (serve(&cluster, &[]), work(&cluster, &[]));
    let mut expected = Vec::new();
    for way in WAYS {
        let status = if way.ends_with("form") { 302 } else { 303 };
        let told = |answer: Answer| {
            assert_eq!((answer.status, answer.header("location")), (status, "/"), "{way}: {answer:?}");
        };
        told(lab.post_form(way, &format!("opinion=plain+{way}&name=Ana%26Z%C3%A9")));
        expected.push(("Ana&Zé".to_owned(), format!("plain {way}")));
        told(lab.post_form(way, &format!("opinion={way}&name=")));
        expected.push(("Anonymous".to_owned(), way.to_owned()));
        let parts = multipart(&[("opinion", &format!("line\nline {way} 🙂")), ("name", "Rui"), ("other", "x")]);
        told(lab.post(way, "multipart/form-data; boundary=edge", parts.as_bytes(), &[]));
        expected.push(("Rui".to_owned(), format!("line\nline {way} 🙂")));
    }
    eventually("the worker stores the queued ones", || stored(&cluster).len() == expected.len());
    assert_eq!(stored(&cluster), expected, "in order of acceptance, stored at once or later");
}

#[test]
fn an_empty_opinion_is_explained() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    for body in ["opinion=&name=%3Cb%3E%22Ana%22", "name=%3Cb%3E%22Ana%22"] {
        for way in ["/form", "/async-form"] {
            let answer = lab.post_form(way, body);
            assert_eq!(answer.status, 200);
            assert!(answer.body.contains(EMPTY) && answer.body.contains("&lt;b&gt;&quot;Ana&quot;"), "{answer:?}");
        }
        for way in ["/opinion", "/opinion-async"] {
            let answer = lab.post_form(way, body);
            let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!((answer.status, &problem["field"]), (422, &"opinion".into()));
        }
    }
    assert!(!lab.get("/form").body.contains(EMPTY));
    assert_eq!(lab.post_form("/opinion", "opinion=a%00b").status, 422);
    assert_eq!(lab.post("/opinion", "application/json", b"{}", &[]).status, 415);
    assert_eq!(lab.post_form("/opinion", &format!("opinion={}", "x".repeat(200_000))).status, 413);
    assert_eq!(lab.get("/opinion").status, 405);
    assert!(stored(&cluster).is_empty());
}

#[test]
fn whatever_the_form_lets_one_type_is_taken() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    let form = lab.get("/form").body;
    assert!(form.contains("maxlength=\"10000\"") && form.contains("maxlength=\"200\""), "{form}");
    let body = format!("opinion={}&name={}", "%E7%95%8C".repeat(10_000), "%E7%95%8C".repeat(200));
    for way in ["/form", "/async-form"] {
        assert_eq!(lab.post_form(way, &body).status, 302, "{way}");
    }
    assert_eq!(stored(&cluster)[0].1.chars().count(), 10_000);
}

#[test]
fn the_five_latest_are_shown_escaped() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    for number in 1..=6 {
        assert_eq!(lab.post_form("/opinion", &format!("opinion=number-{number}%3Cscript%3E&name=%3Ci%3E")).status, 303);
    }
    let page = lab.get("/opinions").body;
    let places: Vec<_> = (1..=6).rev().map(|number| page.find(&format!("number-{number}&lt;script&gt;"))).collect();
    assert!(places[..5].iter().all(Option::is_some) && places[..5].is_sorted(), "newest first: {places:?}");
    assert_eq!(places[5], None, "five only");
    assert!(!page.contains("<script>") && !page.contains("<i>"), "{page}");
    let home = lab.get("/").body;
    for link in ["/form", "/async-form", "/opinions"] {
        assert!(home.contains(&format!("href=\"{link}\"")), "{link}");
    }
}

#[test]
fn forms_of_other_sites_are_refused() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    let host = lab.url.trim_start_matches("http://").to_owned();
    let own = format!("http://{host}");
    for (headers, status) in [
        (&[("sec-fetch-site", "cross-site")][..], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("origin", "https://elsewhere.example")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "same-origin"), ("origin", &own)], 303),
        (&[("origin", &own)], 303),
        (&[], 303),
    ] {
        let form = "application/x-www-form-urlencoded";
        let answer = lab.post("/opinion", form, b"opinion=x", headers);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        if status == 403 {
            for way in ["/form", "/async-form", "/opinion-async", "/dead-letters/retry", "/guess"] {
                assert_eq!(lab.post(way, form, b"opinion=x", headers).status, 403, "{way} {headers:?}");
            }
        }
    }
    assert_eq!(stored(&cluster).len(), 3);
}

#[test]
fn a_dead_letter_is_seen_and_tried_again() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &["--max-attempts", "1"]);
    let refusing = work(&cluster, &["--refuse", "poison"]);
    for opinion in ["poison-1", "good", "poison-2"] {
        assert_eq!(lab.post_form("/opinion-async", &format!("opinion={opinion}")).status, 303);
    }
    let dead = |word: &str| lab.get("/dead-letters").body.contains(word);
    eventually("both are dead letters", || dead("poison-1") && dead("poison-2"));
    let page = lab.get("/dead-letters").body;
    assert!(page.contains(">this worker was told to refuse") && !page.contains("TaskError"), "it says why: {page}");
    assert!(!page.contains("good"), "{page}");
    lab.watch("/live", |message| message["dead"].as_f64() == Some(2.0));
    refusing.kill();

    let _worker = work(&cluster, &[]);
    let page = lab.get("/dead-letters").body;
    let (_, rest) = page.split_once("action=\"/dead-letters/").unwrap();
    let one = rest.split_once("action=\"/dead-letters/").unwrap().1.split_once('"').unwrap().0;
    assert_eq!(lab.post_form(&format!("/dead-letters/{one}"), "").status, 303);
    eventually("one is stored", || stored(&cluster).len() == 2);
    assert_eq!(lab.post_form("/dead-letters/retry", "").status, 303);
    eventually("all are stored", || stored(&cluster).len() == 3);
    eventually("no dead letter is left", || dead("There are none"));
}

#[test]
fn a_job_that_runs_twice_stores_one_row() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    assert_eq!(lab.post_form("/opinion-async", "opinion=x").status, 303);
    let mut client = postgres::Client::connect(&cluster.connection("lab"), postgres::NoTls).unwrap();
    // As when a worker is killed between the opinion's commit and the job's.
    let again = "SELECT graphile_worker.add_job('store_opinion', payload) FROM graphile_worker._private_jobs";
    client.query(again, &[]).unwrap();
    let _worker = work(&cluster, &[]);
    let left = "SELECT count(*) FROM graphile_worker._private_jobs";
    eventually("both are done", || client.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0);
    assert_eq!(stored(&cluster).len(), 1);
}

#[test]
fn every_dead_letter_is_tried_again_at_once() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    for _ in 0..120 {
        assert_eq!(lab.post_form("/opinion-async", "opinion=x").status, 303);
    }
    let figure =
        |name: &str, text: &str| lab.get("/").body.contains(&format!("data-figure=\"{name}\" data-format=\"{text}"));
    assert!(figure("waiting", "count\">120<") && figure("database", "presence\">answers<"), "without scripts too");
    // As after many attempts, the last of which is followed by a long pause.
    let mut client = postgres::Client::connect(&cluster.connection("lab"), postgres::NoTls).unwrap();
    let kill = "UPDATE graphile_worker._private_jobs SET attempts = max_attempts, run_at = now() + interval '1 hour'
        RETURNING id";
    let one: i64 = client.query(kill, &[]).unwrap()[0].get(0);
    let due = "SELECT count(*) FROM graphile_worker._private_jobs WHERE attempts = 0 AND run_at <= now()";
    let mut due = || client.query_one(due, &[]).unwrap().get::<_, i64>(0);
    assert_eq!(lab.get("/dead-letters").body.matches("<article").count(), 100);
    assert_eq!((lab.post_form(&format!("/dead-letters/{one}/retry"), "").status, due()), (303, 1));
    assert_eq!((lab.post_form("/dead-letters/retry", "").status, due()), (303, 120));
    let _worker = work(&cluster, &[]);
    eventually("all are stored", || stored(&cluster).len() == 120);
}

/// One job a poll and slot, which is what a worker does that waits for notifications, would take four minutes.
#[test]
fn a_backlog_is_drained_until_it_is_empty_with_nobody_posting() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    for _ in 0..500 {
        assert_eq!(lab.post_form("/opinion-async", "opinion=x").status, 303);
    }
    let _worker = work(&cluster, &["--jobs", "2"]);
    eventually("all are stored", || stored(&cluster).len() == 500);
    let mut client = postgres::Client::connect(&cluster.connection("lab"), postgres::NoTls).unwrap();
    let took = "SELECT extract(epoch FROM max(stored_at) - min(stored_at))::float8 FROM opinions";
    let took: f64 = client.query_one(took, &[]).unwrap().get(0);
    assert!(took < 5.0, "{took} s from the first to the last");
}

#[test]
fn a_worker_with_nothing_to_do_rests() {
    let cluster = Cluster::start(&[]).unwrap();
    let (lab, _worker) = (serve(&cluster, &[]), work(&cluster, &["--jobs", "2"]));
    assert_eq!(lab.post_form("/opinion-async", "opinion=x").status, 303);
    eventually("it is stored", || stored(&cluster).len() == 1);
    let mut client = postgres::Client::connect(&cluster.connection("lab"), postgres::NoTls).unwrap();
    let mut transactions = || -> i64 {
        let count = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'lab'";
        client.query_one(count, &[]).unwrap().get(0)
    };
    // Sessions tell of what they did a little later.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let before = transactions();
    std::thread::sleep(std::time::Duration::from_secs(4));
    let asked = transactions() - before;
    assert!(asked < 800, "{asked} transactions in 4 s, of a worker, a server and this test");
}

#[test]
fn a_job_that_fails_is_tried_again_by_itself() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    let refusing = work(&cluster, &["--refuse", "later"]);
    assert_eq!(lab.post_form("/opinion-async", "opinion=later").status, 303);
    let mut client = postgres::Client::connect(&cluster.connection("lab"), postgres::NoTls).unwrap();
    let failed = "SELECT count(*) FROM graphile_worker.jobs WHERE last_error IS NOT NULL";
    eventually("it failed once", || client.query_one(failed, &[]).unwrap().get::<_, i64>(0) == 1);
    refusing.kill();
    let _worker = work(&cluster, &[]);
    eventually("it is stored", || stored(&cluster).len() == 1);
}

#[test]
fn a_full_queue_says_so() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &["--max-queue", "3"]);
    let mut statuses = Vec::new();
    eventually("the queue takes one", || lab.post_form("/opinion-async", "opinion=x").status == 303);
    eventually("the queue is full", || {
        statuses.push(lab.post_form("/opinion-async", "opinion=x").status);
        statuses.last() == Some(&503)
    });
    assert!(statuses.iter().filter(|status| **status == 303).count() >= 2, "{statuses:?}");
    assert_eq!(lab.post_form("/opinion", "opinion=x").status, 303, "what needs no queue goes on");
}

#[test]
fn what_was_typed_survives_a_lost_database() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    cluster.kill();
    for way in WAYS {
        let answer = lab.post_form(way, "opinion=typed+%3Cb%3E&name=Ana");
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{way}: {answer:?}");
        assert!(answer.body.contains("The database does not answer."), "{way}: {answer:?}");
        let kept = answer.body.contains("typed &lt;b&gt;</textarea>") && answer.body.contains("value=\"Ana\"");
        assert_eq!(kept, way.ends_with("form"), "{way}: {answer:?}");
    }
    cluster.start_again().unwrap();
    eventually("it is taken again", || lab.post_form("/form", "opinion=again").status == 302);
}

#[test]
fn a_run_s_outcome_is_known_where_no_page_was_open() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    for _ in 0..7 {
        assert_eq!(lab.post_form("/opinion-async", "opinion=x").status, 303);
    }
    // A run ends after two quiet seconds; until then nobody but the server itself has looked at the queue.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let _worker = work(&cluster, &[]);
    eventually("all are stored", || stored(&cluster).len() == 7);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let outcome: serde_json::Value = serde_json::from_str(&lab.get("/outcome").body).unwrap();
    assert_eq!((outcome["most_waiting"].as_f64(), outcome["running"].as_bool()), (Some(7.0), Some(false)), "{outcome}");
    assert!(outcome["lag"].as_f64() >= Some(500.0), "{outcome}");
    let page = lab.get("/").body;
    assert!(page.contains("data-outcome=\"queued.most_waiting\" data-format=\"count\">7<"), "{page}");
    assert!(lab.get("/metrics").body.contains("\nlab_queue_jobs 0.0\n"));
}

#[test]
fn a_check_tells_who_works() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    let (_, port) = lab.url.rsplit_once(':').unwrap();
    let database = cluster.connection("lab");
    let check = |arguments: &[&str]| {
        let words = [&["check"], arguments, &["--database-url", &database]].concat();
        Lab::start(&words).wait().success()
    };
    assert!(check(&["forms", "--forms-port", port]));
    // Nobody listens on port 1, and who listens on the other is no worker.
    assert!(!check(&["forms", "--forms-port", "1"]));
    assert!(!check(&["worker", "--forms-port", port]));
    let worker = work(&cluster, &[]);
    eventually("the worker is seen", || check(&["worker"]));
    worker.kill();
    eventually("its death is seen", || !check(&["worker"]));
}

const ID: &str = "id=01890000-0000-7000-8000-000000000001";

#[test]
fn a_form_that_is_sent_twice_is_stored_once() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    let page = lab.get("/form").body;
    let id = page.split_once("name=\"id\" value=\"").unwrap().1.split_once('"').unwrap().0;
    for way in WAYS {
        let id = format!("{}{}", &id[..35], WAYS.iter().position(|known| *known == way).unwrap());
        let worker = work(&cluster, &[]);
        for _ in 0..3 {
            let answer = lab.post_form(way, &format!("opinion={way}&name=Ana&id={id}"));
            assert!([302, 303].contains(&answer.status), "{way}: {answer:?}");
        }
        eventually("it is stored", || stored(&cluster).iter().any(|(_, text)| text == way));
        let again = lab.post_form(way, &format!("opinion={way}&name=Ana&id={id}"));
        assert!([302, 303].contains(&again.status), "after it was stored too: {again:?}");
        let changed = lab.post_form(way, &format!("opinion=changed&name=Ana&id={id}"));
        assert_eq!(changed.status, 409, "{way}: {changed:?}");
        assert!(!changed.body.contains(&id), "{way}: what was changed gets a form of its own");
        eventually("the queue is empty", || lab.get("/class.json").body.contains("\"running\":0,\"waiting\":0"));
        worker.kill();
    }
    assert_eq!(stored(&cluster).len(), WAYS.len());
    assert_eq!(lab.post_form("/opinion", "opinion=x&id=12").status, 422);
}

#[test]
fn a_form_that_waits_in_the_queue_is_not_taken_for_another() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    assert_eq!(lab.post_form("/opinion-async", &format!("opinion=first&{ID}")).status, 303);
    assert_eq!(lab.post_form("/opinion-async", &format!("opinion=second&{ID}")).status, 409);
    assert_eq!(lab.post_form("/opinion-async", &format!("opinion=first&{ID}")).status, 303);
    let _worker = work(&cluster, &[]);
    eventually("it is stored", || stored(&cluster) == [("Anonymous".to_owned(), "first".to_owned())]);
}

#[test]
fn what_no_form_lets_one_type_is_refused() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    let long = format!("opinion={}", "x".repeat(90_000));
    for (way, status) in [("/opinion", 422), ("/opinion-async", 422), ("/form", 200), ("/async-form", 200)] {
        let answer = lab.post_form(way, &long);
        assert_eq!(answer.status, status, "{way}");
        assert!(answer.body.contains("at most 10,000 characters"), "{way}");
        assert_eq!(lab.post_form(way, "opinion=a%ffb").status, 400, "{way}");
        let broken = b"--edge\r\nContent-Disposition: form-data; name=\"opinion\"\r\n\r\na\xffb\r\n--edge--\r\n";
        assert_eq!(lab.post(way, "multipart/form-data; boundary=edge", broken, &[]).status, 400, "{way}");
    }
    assert!(stored(&cluster).is_empty());
    assert_eq!(lab.post_form("/form", "opinion=").status, 200);
    let outcome: serde_json::Value = serde_json::from_str(&lab.get("/outcome").body).unwrap();
    assert_eq!(outcome["failed"], outcome["requests"], "an empty form is not taken: {outcome}");
}

#[test]
fn a_body_that_never_comes_begins_no_run() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    let head = "POST /opinion HTTP/1.1\r\nhost: lab\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\nopi";
    let mut stream = lab.connect(head);
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(lab.get("/outcome").body, "null");
}

#[test]
fn gauges_do_not_tell_of_a_queue_that_nobody_sees() {
    let mut cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    assert_eq!(lab.post_form("/opinion-async", "opinion=x").status, 303);
    lab.watch("/live", |message| message["waiting"].as_f64() == Some(1.0));
    cluster.kill();
    lab.watch("/live", |message| message["database"].as_f64() == Some(0.0) && message["waiting"].is_null());
    eventually("the metrics say so too", || lab.get("/metrics").body.contains("\nlab_queue_jobs NaN\n"));
    cluster.start_again().unwrap();
    lab.watch("/live", |message| message["waiting"].as_f64() == Some(1.0));
}

#[test]
fn the_page_tells_of_workers_and_how_they_are_killed_and_brought_back() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &["--engine", "native"]);
    lab.watch("/live", |message| message["workers"].as_f64() == Some(0.0));
    let worker = work(&cluster, &[]);
    lab.watch("/live", |message| message["workers"].as_f64() == Some(1.0));
    let page = lab.get("/").body;
    assert!(page.contains(&format!("kill -9 {}", worker.pid())) && page.contains("cargo arena up --lab"), "{page}");
    worker.kill();
    lab.watch("/live", |message| message["workers"].as_f64() == Some(0.0));
}

#[test]
fn a_run_s_time_until_stored_is_its_own() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &[]);
    assert_eq!(lab.post_form("/opinion-async?run=early", "opinion=x").status, 303);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let _worker = work(&cluster, &[]);
    let outcome = |name: &str| -> serde_json::Value {
        serde_json::from_str(&lab.get(&format!("/outcomes?run={name}")).body).unwrap()
    };
    let ended = |name: &str| outcome(name)["queued"]["running"].as_bool() == Some(false);
    eventually("it is stored", || stored(&cluster).len() == 1 && ended("early"));
    for _ in 0..5 {
        assert_eq!(lab.post_form("/opinion-async?run=late", "opinion=x").status, 303);
    }
    eventually("they are stored", || stored(&cluster).len() == 6 && ended("late"));
    let (early, late) = (outcome("early"), outcome("late"));
    assert!(early["queued"]["lag_p50"].as_f64() >= Some(3_000.0), "{early}");
    assert!(late["queued"]["lag_p99"].as_f64() < Some(3_000.0), "{late}");
    assert_eq!(late["queued"]["stored"].as_f64(), Some(5.0));
}

#[test]
fn work_and_refusal_are_switched_for_all_processes() {
    let cluster = Cluster::start(&[]).unwrap();
    let (lab, _worker) = (serve(&cluster, &["--max-attempts", "1"]), work(&cluster, &[]));
    assert_eq!(lab.post_form("/class/switch", "refuse=poison&work=300").status, 303);
    eventually("the worker refuses", || {
        lab.post_form("/opinion-async", "opinion=poison");
        lab.get("/dead-letters").body.contains("told to refuse")
    });
    let before = std::time::Instant::now();
    assert_eq!(lab.post_form("/opinion?run=ana", "opinion=slow").status, 303);
    assert!(before.elapsed() >= std::time::Duration::from_millis(300), "storing takes its work");
    assert_eq!(lab.post_form("/class/reset", "").status, 303);
    eventually("nothing is left", || {
        let document: serde_json::Value = serde_json::from_str(&lab.get("/class.json").body).unwrap();
        document["holds"]["opinions"] == 0 && document["holds"]["dead"] == 0 && document["settings"][0]["value"] == ""
    });
    eventually("the worker refuses no more", || {
        lab.post_form("/opinion-async", "opinion=poison");
        stored(&cluster).iter().any(|(_, text)| text == "poison")
    });
}

#[test]
fn trying_again_asks_for_the_word() {
    let cluster = Cluster::start(&[]).unwrap();
    let lab = serve(&cluster, &["--word", "giz"]);
    for path in ["/dead-letters/retry", "/dead-letters/1/retry"] {
        assert_eq!(lab.post_form(path, "").status, 403);
        assert_eq!(lab.post_form(path, "word=chalk").status, 403);
        assert_eq!(lab.post_form(path, "word=giz").status, 303);
    }
}
