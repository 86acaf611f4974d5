//! Other clients of the database: whatever they do, what the instances answer is what the table holds.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arena::stack::prerequisites::{self, Tool};
use arena::stack::process::wait_until;
use postgres::Client;
use serde_json::json;

use crate::http::{get, json_request, post, repeatable_create, request, send_unix};
use crate::stack::Stack;

/// For what shows within a second.
const SHOWS: Duration = Duration::from_secs(1);

/// A table of the contender as it was before rows bore their transactions' numbers by themselves, and two of its people:
/// one whose number is above all of the cluster's, and one whom no look at transactions would see.
const EARLIER: &str = "
    CREATE TABLE users (
        id uuid NOT NULL, nickname varchar(32) COLLATE \"C\" NOT NULL, fullname varchar(100) NOT NULL, dob date NOT NULL,
        stack text[], written xid8 NOT NULL DEFAULT pg_current_xact_id()
    );
    COPY users (id, nickname, fullname, dob, stack, written) FROM stdin;
00000000-0000-4000-8000-000000000001\thigh\tfrom before\t2000-01-01\t{Rust}\t999999999
00000000-0000-4000-8000-000000000002\tzero\tfrom before\t2000-01-01\t\\N\t0
\\.
    ALTER TABLE users ADD PRIMARY KEY (id), ADD UNIQUE (nickname);
    CREATE INDEX users_written ON users (written);
    CREATE FUNCTION tell_of_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_notify('users_changed', ''); RETURN NULL; END $$;
    CREATE TRIGGER users_changed AFTER UPDATE OR DELETE OR TRUNCATE ON users
        FOR EACH STATEMENT EXECUTE FUNCTION tell_of_change();
    COMMENT ON TABLE users IS 'peleja: schema 00';
";

fn person(nickname: &str) -> String {
    json!({"nickname": nickname, "fullname": "f", "dob": "2000-01-01", "stack": ["a", "b"]}).to_string()
}

fn insert(nickname: &str) -> String {
    format!("INSERT INTO users VALUES (gen_random_uuid(), '{nickname}', 'f', '2000-01-01', '{{a}}')")
}

fn insert_many(nickname: &str, count: usize) -> String {
    format!(
        "INSERT INTO users SELECT gen_random_uuid(), '{nickname} ' || n, 'f', '2000-01-01', '{{a}}' \
        FROM generate_series(1, {count}) AS n"
    )
}

/// How many each instance finds.
fn found(stack: &Stack, term: &str) -> [usize; 2] {
    finds(stack, term).map(|found| found.unwrap_or_else(|answer| panic!("{answer}")))
}

/// How many each instance finds, or what it says instead.
fn finds(stack: &Stack, term: &str) -> [Result<usize, String>; 2] {
    let search = request("GET", &format!("/users?q={}", term.replace(' ', "+")));
    ["api1", "api2"].map(|instance| {
        let answer = send_unix(&stack.socket(instance), &search).unwrap();
        match answer.status {
            200 => Ok(answer.json().as_array().unwrap().len()),
            _ => Err(format!("{instance}: {answer:?}")),
        }
    })
}

/// Rows of `users` that anybody has read, as of a second ago; sessions tell of theirs that often.
fn rows_read(stack: &Stack, database: &mut Client) -> i64 {
    thread::sleep(Duration::from_millis(1_100));
    // Whoever rests does not tell.
    found(stack, "nobody has this");
    thread::sleep(Duration::from_millis(300));
    let read = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'users'";
    database.query_one(read, &[]).unwrap().get(0)
}

/// Rows that looks read which find nothing new.
fn rows_read_by_looks(stack: &Stack, database: &mut Client) -> i64 {
    found(stack, "nobody has this");
    let before = rows_read(stack, database);
    for _ in 0..50 {
        assert_eq!(found(stack, "nobody has this"), [0, 0]);
    }
    rows_read(stack, database) - before
}

fn postgres(program: &str, stack: &Stack) -> Command {
    let mut command = Command::new(prerequisites::find(Tool::Postgres).unwrap().join(program));
    command.args(["--dbname", stack.database_parameters()]);
    command
}

fn dump(stack: &Stack, options: &[&str]) -> Vec<u8> {
    let output = postgres("pg_dump", stack).args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn psql(stack: &Stack, options: &[&str], script: &[u8]) -> Output {
    let mut command = postgres("psql", stack);
    command.args(["--no-psqlrc", "--quiet"]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // Fails where psql has ended at an error.
        scope.spawn(move || drop(stdin.write_all(script)));
        child.wait_with_output().unwrap()
    })
}

#[test]
fn a_transaction_that_stays_open_costs_a_look_nothing() {
    const LATER: usize = 2_000;
    let stack = Stack::own();
    let (mut idle, mut database) = (stack.database(), stack.database());
    let mut open = idle.transaction().unwrap();
    open.batch_execute(&insert("open")).unwrap();
    database.batch_execute(&insert_many("later", LATER)).unwrap();
    assert_eq!(found(&stack, "later"), [50, 50]);
    let read = rows_read_by_looks(&stack, &mut database);
    assert!(read < LATER as i64, "{read} rows read for nothing");
    open.batch_execute(&insert_many("not yet", LATER)).unwrap();
    let read = rows_read_by_looks(&stack, &mut database);
    assert!(read < LATER as i64, "{read} rows read that are not there yet");
    assert_eq!(found(&stack, "open"), [0, 0]);
    open.commit().unwrap();
    assert_eq!((found(&stack, "open"), found(&stack, "not yet 2000")), ([1, 1], [1, 1]));
}

#[test]
fn changes_show_one_by_one_whoever_makes_them_and_however() {
    let stack = Stack::own();
    let mut database = stack.database();
    database.batch_execute(&insert_many("someone", 60)).unwrap();
    assert_eq!(found(&stack, "someone 60"), [1, 1]);
    for role in ["origin", "replica"] {
        database.batch_execute(&format!("SET session_replication_role = {role}")).unwrap();
        let change = format!("UPDATE users SET fullname = 'Changed {role}' WHERE nickname = 'someone 1'");
        database.batch_execute(&change).unwrap();
        assert!(wait_until(SHOWS, || found(&stack, &format!("changed {role}")) == [1, 1]), "an update as {role}");
        let rename = "UPDATE users SET id = gen_random_uuid() WHERE nickname = 'someone 2'";
        database.batch_execute(rename).unwrap();
        assert!(wait_until(SHOWS, || found(&stack, "someone 2") == [11, 11]), "another id as {role}");
        database.batch_execute("DELETE FROM users WHERE nickname = 'someone 60'").unwrap();
        assert!(wait_until(SHOWS, || found(&stack, "someone 60") == [0, 0]), "a deletion as {role}");
        database.batch_execute(&insert("someone 60")).unwrap();
        assert_eq!(found(&stack, "someone 60"), [1, 1], "who comes back as {role}");
        database.batch_execute(&format!("TRUNCATE users; {}", insert_many("someone", 60))).unwrap();
        assert!(wait_until(SHOWS, || found(&stack, "changed") == [0, 0]), "a truncation as {role}");
        assert_eq!((found(&stack, "someone 60"), found(&stack, "someone 2")), ([1, 1], [11, 11]), "{role}");
        assert_eq!(get(stack.address(), "/users-count").body, "60");
    }
}

#[test]
fn the_count_is_right_at_once() {
    let stack = Stack::own();
    let mut database = stack.database();
    let count = || ["/users-count", "/users-count"].map(|path| get(stack.address(), path).body);
    for round in 0..20 {
        database.batch_execute(&insert_many("one", 3)).unwrap();
        assert_eq!(count(), ["3", "3"], "{round}");
        database.batch_execute("DELETE FROM users WHERE nickname = 'one 2'").unwrap();
        assert_eq!(count(), ["2", "2"], "{round}");
        database.batch_execute("TRUNCATE users").unwrap();
        assert_eq!(count(), ["0", "0"], "{round}");
    }
}

#[test]
fn a_dump_is_put_back_into_another_cluster() {
    let (from, to) = (Stack::own(), Stack::own());
    let mut database = from.database();
    // Numbers of transactions that the other cluster has not given out yet.
    for _ in 0..3_000 {
        database.batch_execute("SELECT pg_current_xact_id()").unwrap();
    }
    database.batch_execute(&insert_many("dumped", 2_000)).unwrap();
    database.batch_execute("DELETE FROM users WHERE nickname = 'dumped 7'").unwrap();
    assert_eq!(post(to.address(), "/users", person("to be replaced")).status, 201);
    let output =
        psql(&to, &["--single-transaction", "-v", "ON_ERROR_STOP=1"], &dump(&from, &["--clean", "--if-exists"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(wait_until(SHOWS, || found(&to, "replaced") == [0, 0]), "people of the old table stay");
    assert_eq!((found(&to, "dumped 1999"), get(to.address(), "/users-count").body), ([1, 1], "1999".to_owned()));
    let read = rows_read_by_looks(&to, &mut to.database());
    assert!(read < 2_000, "{read} rows read for nothing");
    assert_eq!(post(to.address(), "/users", person("new")).status, 201);
    assert_eq!(found(&to, "new"), [1, 1]);
}

#[test]
fn a_table_of_an_earlier_schema_is_carried_over() {
    let stack = Stack::own();
    stack.kill("api1");
    stack.kill("api2");
    let script = format!("DROP TABLE users, departed; DROP FUNCTION transaction_of, write_down_departures; {EARLIER}");
    let output = psql(&stack, &["-v", "ON_ERROR_STOP=1"], script.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stack.mend();
    let mut database = stack.database();
    database.batch_execute(&insert_many("later", 2_000)).unwrap();
    assert_eq!((found(&stack, "from before"), found(&stack, "later 2000")), ([2, 2], [1, 1]));
    let read = rows_read_by_looks(&stack, &mut database);
    assert!(read < 2_000, "{read} rows read for nothing");
    let taken = post(stack.address(), "/users", person("zero"));
    assert_eq!(taken.status, 422, "{taken:?}");
    database.batch_execute("DELETE FROM users WHERE nickname = 'zero'").unwrap();
    assert!(wait_until(SHOWS, || found(&stack, "from before") == [1, 1]));
}

/// The table of a running stack takes no numbers of transactions from elsewhere, and says so.
#[test]
fn a_dump_of_an_earlier_schema_is_refused_by_a_table_of_this_one() {
    let stack = Stack::own();
    let output = psql(&stack, &[], EARLIER.as_bytes());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("\"written\" is a generated column"), "{errors}");
    assert_eq!(found(&stack, "from before"), [0, 0]);
    let script = format!("DROP TABLE users; DROP FUNCTION tell_of_change; {EARLIER}");
    let output = psql(&stack, &["--single-transaction", "-v", "ON_ERROR_STOP=1"], script.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The instances give whoever puts back a table a while to finish it, and may not read it until its rights are back too.
    assert!(wait_until(Duration::from_secs(10), || finds(&stack, "from before") == [Ok(2), Ok(2)]));
    assert_eq!(post(stack.address(), "/users", person("new")).status, 201);
    assert_eq!(found(&stack, "new"), [1, 1]);
}

#[test]
fn a_table_that_is_dropped_is_made_again() {
    let stack = Stack::own();
    assert_eq!(post(stack.address(), "/users", person("before")).status, 201);
    stack.database().batch_execute("DROP TABLE users").unwrap();
    let create = repeatable_create("00000000000000000000000000000001", person("after").as_bytes());
    let stored = || send_unix(&stack.socket("api1"), &create).unwrap().status == 201;
    assert!(wait_until(Duration::from_secs(20), stored), "no table");
    assert_eq!((found(&stack, "after"), found(&stack, "before")), ([1, 1], [0, 0]));
    assert_eq!(get(stack.address(), "/users-count").body, "1");
}

/// A create that cannot know yet whether its nickname is taken waits, and nobody else does.
#[test]
fn a_nickname_that_somebody_holds_open_holds_up_nobody_else() {
    let stack = Stack::own();
    let mut other = stack.database();
    let mut open = other.transaction().unwrap();
    open.batch_execute(&insert("held")).unwrap();
    let under_way = AtomicBool::new(true);
    let statuses = thread::scope(|scope| {
        let mut wanting = Vec::new();
        for client in 0..4 {
            let (stack, under_way) = (&stack, &under_way);
            scope.spawn(move || {
                let mut number = 0;
                while under_way.load(Ordering::Relaxed) {
                    number += 1;
                    let answer = post(stack.address(), "/users", person(&format!("free {client} {number}")));
                    assert_eq!(answer.status, 201, "{answer:?}");
                }
            });
        }
        // Long enough for the first to have given up.
        for _ in 0..12 {
            wanting.push(scope.spawn(|| post(stack.address(), "/users", person("held")).status));
            thread::sleep(Duration::from_millis(500));
        }
        // They wait one after the other. One whose turn has just come does not give up meanwhile.
        let fresh = "SELECT count(*) FROM pg_locks \
            WHERE locktype = 'transactionid' AND clock_timestamp() - waitstart < interval '0.1 s'";
        let mut database = stack.database();
        let turn_came = || database.query_one(fresh, &[]).unwrap().get::<_, i64>(0) == 1;
        let came = wait_until(Duration::from_secs(5), turn_came);
        open.rollback().unwrap();
        under_way.store(false, Ordering::Relaxed);
        assert!(came, "nobody waits");
        wanting.into_iter().map(|wanting| wanting.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!((statuses[0], statuses.iter().filter(|status| **status == 201).count()), (503, 1), "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 422, 503].contains(status)), "{statuses:?}");
    assert_eq!(found(&stack, "held"), [1, 1]);
}

/// Who came back from the INSERT is stored, and is told so, also where the look for the others fails.
#[test]
fn what_is_known_of_a_group_is_told_where_a_look_for_the_rest_fails() {
    let stack = Stack::own();
    let mut database = stack.database();
    database
        .batch_execute(&format!(
            "{}; CREATE ROLE limited LOGIN PASSWORD 'limited'; \
            GRANT SELECT, INSERT ON users TO limited; GRANT SELECT ON departed TO limited; \
            CREATE FUNCTION take_sight() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
                IF EXISTS (SELECT FROM new WHERE nickname = 'b') THEN REVOKE SELECT ON users FROM limited; END IF; \
                RETURN NULL; END $$; \
            CREATE TRIGGER take_sight AFTER INSERT ON users REFERENCING NEW TABLE AS new \
                FOR EACH STATEMENT EXECUTE FUNCTION take_sight()",
            insert("c")
        ))
        .unwrap();
    let parameters =
        stack.database_parameters().replace("user=postgres password=rinha", "user=limited password=limited");
    assert_ne!(parameters, stack.database_parameters());
    let instance = stack.another_instance_at("limited", &parameters, &[]);
    let ready = || send_unix(&instance.socket, &request("GET", "/health/ready")).unwrap().status == 200;
    assert!(wait_until(Duration::from_secs(10), ready));
    let mut lock = database.transaction().unwrap();
    lock.batch_execute("LOCK TABLE users IN SHARE MODE").unwrap();
    let statuses = thread::scope(|scope| {
        let creates = ["first", "b", "c", "d"].map(|nickname| {
            let socket = &instance.socket;
            let create = scope.spawn(move || send_unix(socket, &json_request("/users", person(nickname).as_bytes())));
            // The first goes alone, and the others wait for it together.
            thread::sleep(Duration::from_millis(200));
            create
        });
        lock.rollback().unwrap();
        creates.map(|create| create.join().unwrap().unwrap().status)
    });
    assert_eq!(statuses, [201, 201, 500, 201]);
}

#[test]
fn a_full_queue_says_that_nothing_was_done() {
    let stack = Stack::own();
    let instance = stack.another_instance("short", &["--queue", "1", "--patience", "2"]);
    let create =
        |nickname: &str| send_unix(&instance.socket, &json_request("/users", person(nickname).as_bytes())).unwrap();
    assert_eq!(create("before").status, 201);
    let mut locker = stack.database();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("LOCK TABLE users IN SHARE MODE").unwrap();
    let answers = thread::scope(|scope| {
        let creates = ["under way", "waiting", "too many"].map(|nickname| {
            let create = scope.spawn(move || create(nickname));
            thread::sleep(Duration::from_millis(200));
            create
        });
        creates.map(|create| create.join().unwrap())
    });
    lock.rollback().unwrap();
    assert_eq!(answers[2].status, 503);
    assert_eq!(answers[2].header("retry-after"), Some("1"));
    assert!(answers[2].body.contains("nothing was done"), "{:?}", answers[2]);
    assert!(answers[0].body.contains("may or may not be done"), "{:?}", answers[0]);
}

/// A commit that is acknowledged before it is flushed would be lost in a crash.
#[test]
fn commits_are_flushed_whatever_is_set_for_the_role() {
    let stack = Stack::own();
    let mut database = stack.database();
    database
        .batch_execute(
            "ALTER ROLE peleja SET synchronous_commit = off; CREATE TABLE settings (synchronous_commit text); \
            GRANT INSERT ON settings TO peleja; \
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                INSERT INTO settings VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
            CREATE TRIGGER note AFTER INSERT ON users FOR EACH STATEMENT EXECUTE FUNCTION note()",
        )
        .unwrap();
    let parameters = stack.database_parameters().replace("user=postgres password=rinha", "user=peleja password=peleja");
    let instance = stack.another_instance_at("pinned", &parameters, &[]);
    let create = || send_unix(&instance.socket, &json_request("/users", person("flushed").as_bytes())).unwrap();
    assert_eq!(create().status, 201);
    let settings: String =
        database.query_one("SELECT string_agg(synchronous_commit, ' ') FROM settings", &[]).unwrap().get(0);
    assert_eq!(settings, "on");
}
