//! The README in English and in Portuguese: both tell the same commands, show the same verdict and lead to the same places.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::fs;
use std::path::Path;

#[test]
fn both_readmes_tell_the_same_commands() {
    assert_same(commands);
}

#[test]
fn both_readmes_show_the_same_verdict() {
    assert_same(|text| {
        let verdict = text.lines().skip_while(|line| !line.starts_with("**CLEAN**"));
        verdict.take_while(|line| !line.ends_with("cgroup v1.")).map(str::to_owned).collect()
    });
}

#[test]
fn both_readmes_lead_to_the_same_places() {
    assert_same(|text| {
        let targets =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
        targets.filter(|target| !target.starts_with("README")).collect()
    });
}

fn assert_same(of: impl Fn(&str) -> Vec<String>) {
    let [english, portuguese] = ["README.md", "README.pt-BR.md"].map(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
        of(&fs::read_to_string(path).unwrap())
    });
    assert!(!english.is_empty());
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|one| !others.contains(one)).cloned().collect()
    };
    let (here, there) = (only(&english, &portuguese), only(&portuguese, &english));
    assert!(here.is_empty() && there.is_empty(), "only in English: {here:#?}\nonly in Portuguese: {there:#?}");
    assert_eq!(english.len(), portuguese.len());
}

/// Lines of code without their comments, except commands that a comment names, and everything that stands between
/// backquotes, but for the verdict, which has a test of its own.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            let (command, comment) = line.split_once(" #").unwrap_or((line, ""));
            commands.push(command.trim().to_owned());
            commands.extend(comment.split_once("docker compose").map(|(_, rest)| format!("docker compose{rest}")));
        } else {
            commands.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    commands
}
