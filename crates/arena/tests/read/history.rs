//! Runs are kept whole, found again by any name that fits, and described by the schema in the repository.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::thread;

use arena::record::history::History;
use arena::record::run::Run;
use serde_json::{Value, json};
use tempfile::TempDir;

mod common;

#[test]
fn a_saved_run_is_found_by_path_id_beginning_label_and_age() {
    let directory = TempDir::new().unwrap();
    let history = History::at(directory.path());
    let older = Run { started: "2026-11-21T01:00:00Z".into(), ..common::run("20261121T010000Z-bench-0001", 5, 1.0) };
    let newer = Run { label: None, ..common::run("20261121T034500Z-fight-0002", 5, 1.0) };
    let path = history.save(&newer).unwrap();
    history.save(&older).unwrap();

    assert_eq!(history.load(path.to_str().unwrap()).unwrap(), newer);
    for name in ["20261121T034500Z-fight-0002", "20261121T03", "latest", "latest~0"] {
        assert_eq!(history.load(name).unwrap(), newer, "{name}");
    }
    for name in ["sample", "latest~1"] {
        assert_eq!(history.load(name).unwrap(), older, "{name}");
    }
}

#[test]
fn a_name_that_fits_no_run_or_several_is_refused_with_what_there_is() {
    let directory = TempDir::new().unwrap();
    let history = History::at(directory.path());
    for id in ["20261121-a", "20261121-b"] {
        history.save(&common::run(id, 1, 1.0)).unwrap();
    }
    let refusal = |name: &str| history.load(name).unwrap_err().to_string();

    assert!(refusal("2027").contains("cargo arena history"), "{}", refusal("2027"));
    assert!(refusal("2026").contains("20261121-a, 20261121-b"), "{}", refusal("2026"));
    assert!(refusal("sample").contains("2 runs"), "{}", refusal("sample"));
    assert!(refusal("latest~2").contains("2 runs"), "{}", refusal("latest~2"));
    assert!(refusal("").contains("empty"), "{}", refusal(""));
    assert_eq!(history.select("sample").unwrap().len(), 2);
}

#[test]
fn an_id_that_leads_out_of_the_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let history = History::at(directory.path().join("runs"));
    for id in ["../escaped", "", ".hidden", "a/b", "a\0b"] {
        assert!(history.save(&common::run(id, 1, 1.0)).is_err(), "{id:?}");
    }
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none());
}

#[test]
fn readers_never_see_a_part_of_a_document() {
    let directory = TempDir::new().unwrap();
    let history = History::at(directory.path());
    let versions = [common::run("same", 3, 1.0), common::run("same", 205, 2.0)];
    history.save(&versions[0]).unwrap();

    thread::scope(|scope| {
        let writer = scope.spawn(|| (0..100).try_for_each(|nth| history.save(&versions[nth % 2]).map(drop)));
        while !writer.is_finished() {
            let contents = history.all().unwrap();
            assert!(contents.unreadable.is_empty(), "{:?}", contents.unreadable);
            assert_eq!(contents.runs.len(), 1);
            assert!(versions.contains(&contents.runs[0]));
        }
        writer.join().unwrap().unwrap();
    });
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn a_document_of_a_newer_schema_is_refused_even_where_its_shape_is_unknown() {
    let directory = TempDir::new().unwrap();
    let history = History::at(directory.path());
    fs::write(directory.path().join("new.json"), r#"{"schema": 2, "all": "else differs"}"#).unwrap();

    let refusal = history.load("new").unwrap_err().to_string();

    assert!(refusal.contains("schema is 2") && refusal.contains("up to 1"), "{refusal}");
}

#[test]
fn a_document_that_cannot_be_read_hides_no_other() {
    let directory = TempDir::new().unwrap();
    let history = History::at(directory.path());
    history.save(&common::run("whole", 1, 1.0)).unwrap();
    fs::write(directory.path().join("torn.json"), r#"{"schema": 1, "id": "to"#).unwrap();

    let contents = history.all().unwrap();

    assert_eq!(contents.runs.len(), 1);
    assert!(contents.unreadable[0].to_string().contains("torn.json"), "{:?}", contents.unreadable);
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_types() {
    let of_types = serde_json::to_value(schemars::schema_for!(Run)).unwrap();

    assert_eq!(
        schema(),
        of_types,
        "refresh it: cargo arena history --schema > crates/arena/run.schema.json; \
         raise SCHEMA in run.rs if old readers would misread new documents"
    );
}

#[test]
fn documents_fit_the_schema_and_damaged_ones_do_not() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let full = serde_json::to_value(common::run("full", 205, 1.0)).unwrap();
    assert!(validator.is_valid(&full), "{:?}", validator.iter_errors(&full).next());

    let damages: [(&str, Value); 6] = [
        ("/schema", json!("1")),
        ("/driver", json!("k6")),
        ("/verdict/outcome", json!("fine")),
        ("/requests/0/count", json!(-1)),
        ("/series/in_flight/0", json!("many")),
        ("/people/stored", Value::Null),
    ];
    for (pointer, value) in damages {
        let mut damaged = full.clone();
        *damaged.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&damaged), "{pointer}");
    }
}

#[test]
fn a_document_without_the_optional_parts_fits_the_schema_and_is_read() {
    let mut bare = serde_json::to_value(common::run("bare", 1, 1.0)).unwrap();
    let parts = bare.as_object_mut().unwrap();
    for optional in ["label", "commit", "people", "durability", "generator"] {
        parts.remove(optional).unwrap();
    }

    let validator = jsonschema::validator_for(&schema()).unwrap();

    assert!(validator.is_valid(&bare), "{:?}", validator.iter_errors(&bare).next());
    serde_json::from_value::<Run>(bare).unwrap();
}

/// A document of schema 1 as it was kept in the field: every later arena must read it.
#[test]
fn documents_kept_long_ago_are_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read/fixtures/run-1.json");
    let kept: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();

    assert!(validator.is_valid(&kept), "{:?}", validator.iter_errors(&kept).next());
    assert_eq!(arena::record::history::read(path.as_ref()).unwrap().schema, 1);
}

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/run.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
