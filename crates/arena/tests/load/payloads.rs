//! `arena payloads` as its user sees it.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use arena::load::payloads::{self, Files};
use arena::load::vocabulary::Vocabulary;
use serde_json::Value;

fn arena(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arena")).arg("payloads").args(args).current_dir(dir).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = arena(dir.path(), args);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// The event's size of file. A change of these hashes changes what every seed means: never let one through unnoticed.
#[test]
fn a_seed_names_the_same_bytes_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let users = json(&arena(dir.path(), &["--out", ".", "--json"]));
    assert_eq!(users["seed"], 233);
    assert_eq!(users["files"][0]["path"], "./users-payloads.tsv");
    assert_eq!(users["files"][0]["rows"], 100_000);
    assert_eq!(users["files"][0]["sha256"], "0c1e70488be0c4b6ac4000caa03685b5033cc60b2d39a0907b83bab77c2de205");
    assert_eq!(users["files"][1]["path"], "./search-terms.tsv");
    assert_eq!(users["files"][1]["rows"], 5_000);
    assert_eq!(users["files"][1]["sha256"], "d73fea0b8476ebeceaf5f67a60948ac2a34fcf808671425101d9603e46967547");
    assert_eq!(users["ceilings"][0]["rows_sent"], 54_635);
    assert_eq!(users["ceilings"][0]["people"], 46_576);

    let pessoas = json(&arena(dir.path(), &["--out", ".", "--json", "--vocabulary", "pessoas"]));
    assert_eq!(pessoas["files"][0]["path"], "./pessoas-payloads.tsv");
    assert_eq!(pessoas["files"][0]["sha256"], "89e75e239ac0149cdb9a5ed8042837443a58c36eed4e777643fd6ec050848a18");
    assert_eq!(pessoas["files"][1]["path"], "./termos-busca.tsv");
    assert_eq!(pessoas["files"][1]["sha256"], users["files"][1]["sha256"]);
}

#[test]
fn rows_of_a_shorter_file_begin_a_longer_one() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&arena(dir.path(), &["--seed", "5", "--rows", "30", "--terms", "20", "--out", "short"]));
    stdout(&arena(dir.path(), &["--seed", "5", "--rows", "300", "--terms", "10", "--out", "deep/long"]));
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(read("deep/long/users-payloads.tsv").starts_with(&read("short/users-payloads.tsv")));
    assert!(read("short/search-terms.tsv").starts_with(&read("deep/long/search-terms.tsv")));
    assert_eq!(read("short/users-payloads.tsv").lines().next(), Some("payload"));
    assert_eq!(read("short/users-payloads.tsv").lines().count(), 31);
    assert_eq!(read("short/search-terms.tsv").lines().next(), Some("t"));
    assert_eq!(read("short/search-terms.tsv").lines().count(), 21);
}

#[test]
fn leaves_no_temporary_file_and_lets_others_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    stdout(&arena(dir.path(), &["--rows", "3", "--terms", "3", "--out", "made"]));
    stdout(&arena(dir.path(), &["--rows", "4", "--terms", "4", "--out", "made"]));
    let made: Vec<_> = dir.path().join("made").read_dir().unwrap().map(Result::unwrap).collect();
    assert_eq!(made.len(), 2);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
    assert!(made.iter().all(|entry| mode(&entry.path()) == mode(&plain)));
}

#[test]
fn tells_the_ceiling_of_a_seed_and_of_a_file_alike() {
    let dir = tempfile::tempdir().unwrap();
    for vocabulary in ["users", "pessoas"] {
        let seed = ["--seed", "9", "--rows", "2000", "--vocabulary", vocabulary];
        stdout(&arena(dir.path(), &[&seed[..], &["--out", "."]].concat()));
        let file = format!("{vocabulary}-payloads.tsv");
        let mut last = 0;
        for sent in ["0", "1", "700", "2000", "2001", "54635", "18446744073709551615"] {
            let of_seed = stdout(&arena(dir.path(), &[&seed[..], &["--ceiling", sent]].concat()));
            let of_file = stdout(&arena(dir.path(), &["--ceiling", sent, "--file", &file]));
            assert_eq!(of_seed, of_file);
            let people: u64 = of_file.trim_end().parse().unwrap();
            assert!(people >= last && people <= sent.parse().unwrap());
            last = people;
        }
        assert!((1_500..1_900).contains(&last), "{last}");
    }
    let document = json(&arena(dir.path(), &["--ceiling", "0", "--file", "users-payloads.tsv", "--json"]));
    assert_eq!(document["schema"], 1);
    assert_eq!(document["rows_sent"], 0);
    assert_eq!(document["people"], 0);
}

#[test]
fn reads_payload_files_of_other_tools() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("windows.tsv");
    let row = |nickname: &str| format!(r#"{{"apelido":"{nickname}","nome":"b","nascimento":"2000-02-29"}}"#);
    let rows = ["payload", "not JSON", &row("a"), "", &row("a"), &row("\\u0061"), &row("b")].join("\r\n");
    std::fs::write(&path, rows).unwrap();
    assert_eq!(payloads::ceiling(&path, 2).unwrap(), 1);
    assert_eq!(payloads::ceiling(&path, 4).unwrap(), 1);
    assert_eq!(payloads::ceiling(&path, 5).unwrap(), 2);
}

#[test]
fn says_why_a_file_is_no_payload_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("terms.tsv"), "t\na\n").unwrap();
    std::fs::write(dir.path().join("other.tsv"), "payload\n{}\n").unwrap();
    for (file, why) in [
        ("missing.tsv", "cannot read missing.tsv"),
        ("terms.tsv", "its first line is not `payload`"),
        ("other.tsv", "no row has a `nickname` or an `apelido`"),
    ] {
        let output = arena(dir.path(), &["--ceiling", "1", "--file", file]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn makes_what_is_missing_and_keeps_what_is_the_same() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let inode = |path: &Path| path.metadata().unwrap().ino();
    let ensure = |rows, seed| payloads::ensure(dir.path(), Vocabulary::Users, rows, seed).unwrap();

    let files = ensure(50, 1);
    assert_eq!(files, Files::at(dir.path(), Vocabulary::Users));
    let made = std::fs::read(&files.payloads).unwrap();
    let inodes = (inode(&files.payloads), inode(&files.terms));
    ensure(50, 1);
    assert_eq!((inode(&files.payloads), inode(&files.terms)), inodes);

    for spoiled in [&made[..made.len() / 2], b"", &[&made[..], b"{}\n"].concat()] {
        std::fs::write(&files.payloads, spoiled).unwrap();
        ensure(50, 1);
        assert_eq!(std::fs::read(&files.payloads).unwrap(), made);
    }
    ensure(51, 1);
    assert!(std::fs::read(&files.payloads).unwrap().starts_with(&made));
    ensure(50, 2);
    assert!(!std::fs::read(&files.payloads).unwrap().starts_with(&made));
}

#[test]
fn hard_rows_decode_to_the_cases_of_the_seed() {
    use base64::Engine;
    let dir = tempfile::tempdir().unwrap();
    stdout(&arena(dir.path(), &["--hard", "--rows", "2500", "--seed", "4", "--vocabulary", "pessoas", "--out", "."]));
    let text = std::fs::read_to_string(dir.path().join("pessoas-hard.tsv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("payload\tstatus\tname"));
    let mut rows = 0;
    for (line, case) in lines.zip(payloads::hard_cases(Vocabulary::Pessoas, 4)) {
        let columns: Vec<&str> = line.split('\t').collect();
        let body = base64::prelude::BASE64_STANDARD.decode(columns[0]).unwrap();
        assert_eq!((body, columns[1], columns[2]), (case.body, case.status.to_string().as_str(), case.name.as_str()));
        rows += 1;
    }
    assert_eq!(rows, 2_500);
}

#[test]
fn the_small_file_of_the_repository_is_what_the_command_makes() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gatling/resources/small");
    let dir = tempfile::tempdir().unwrap();
    stdout(&arena(dir.path(), &["--rows", "1000", "--terms", "200", "--out", "."]));
    for name in ["users-payloads.tsv", "search-terms.tsv"] {
        assert_eq!(std::fs::read(kept.join(name)).unwrap(), std::fs::read(dir.path().join(name)).unwrap(), "{name}");
    }
}

#[test]
fn writes_into_the_checkout_and_nowhere_else_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let output = arena(dir.path(), &["--rows", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not inside a checkout"));

    std::fs::create_dir_all(dir.path().join("crates/arena")).unwrap();
    std::fs::write(dir.path().join("docker-compose.yml"), "").unwrap();
    stdout(&arena(&dir.path().join("crates"), &["--rows", "1"]));
    assert!(dir.path().join("gatling/resources/users-payloads.tsv").is_file());
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["--rows", "5", "--terms", "5", "--out", "."][..], &["--ceiling", "5"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
        let output = command.arg("payloads").args(words).current_dir(dir.path()).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{words:?}: {output:?}");
    }
}

#[test]
fn refuses_what_it_does_not_understand_on_one_line() {
    assert!(refusal(&["--rows", "0"]).contains("--rows"));
    assert!(refusal(&["--rows", "many"]).contains("many"));
    assert!(refusal(&["--terms", "-1"]).contains("-1"));
    assert!(refusal(&["--vocabulary", "people"]).contains("pessoas"));
    assert!(refusal(&["--file", "a.tsv"]).contains("--ceiling"));
    assert!(refusal(&["--ceiling", "1", "--file", "a.tsv", "--seed", "1"]).contains("--seed"));
    assert!(refusal(&["--ceiling", "1", "--hard"]).contains("--hard"));
}
