//! `openapi.json` against the stack that it describes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use arena::stack::prerequisites;
use arena::workspace::Workspace;
use peleja::vocabulary;
use serde_json::Value;

use crate::http::{Answer, get, json_request, post, request, send};
use crate::stack::Stack;

fn description() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The examples of each of an operation's answers: status, name, value.
fn examples(description: &Value, path: &str, method: &str) -> Vec<(u16, String, Value)> {
    let responses = description["paths"][path][method]["responses"].as_object().unwrap();
    let mut examples = Vec::new();
    for (status, response) in responses {
        let named = response["$ref"].as_str().map(|name| &name["#/components/responses/".len()..]);
        let response = named.map_or(response, |name| &description["components"]["responses"][name]);
        for content in response["content"].as_object().into_iter().flat_map(|content| content.values()) {
            for (name, example) in content["examples"].as_object().unwrap() {
                examples.push((status.parse().unwrap(), name.clone(), example["value"].clone()));
            }
        }
    }
    examples
}

#[test]
fn the_description_is_served_as_it_is_here() {
    let stack = Stack::shared();
    let answer = get(stack.address(), "/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), description());
}

#[test]
fn paths_and_methods_are_those_that_there_are() {
    let stack = Stack::shared();
    let description = description();
    let described = description["paths"].as_object().unwrap();
    let of_people = vocabulary::ALL.iter().flat_map(|words| {
        let collection = words.collection;
        [format!("/{collection}"), format!("/{collection}/{{id}}"), format!("/{}", words.count)]
    });
    let expected: BTreeSet<String> = of_people.chain(["/health".into(), "/openapi.json".into()]).collect();
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (path, operations) in described {
        let mut methods: Vec<String> = operations.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect();
        methods.sort();
        let refused = send(stack.address(), &request("DELETE", &path.replace("{id}", "x"))).unwrap();
        assert_eq!((refused.status, refused.header("allow")), (405, Some(methods.join(", ").as_str())), "{path}");
    }
}

#[test]
fn every_status_has_an_example() {
    let description = description();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let with_body = examples(&description, path, method).into_iter().map(|(status, ..)| status.to_string());
            let with_body: BTreeSet<String> = with_body.collect();
            for status in operation["responses"].as_object().unwrap().keys() {
                let without = method == "head" || ["201", "304"].contains(&status.as_str());
                assert!(without != with_body.contains(status), "{method} {path} {status}");
            }
        }
    }
}

/// What is asked here is answered with an example, to the letter, and each example but a few is an answer to something here.
#[test]
fn examples_are_what_is_answered() {
    let stack = Stack::own();
    let description = description();
    for words in vocabulary::ALL {
        let collection = format!("/{}", words.collection);
        let [nickname, fullname, dob, _] = peleja::person::Field::ALL.map(|field| words.key(field));
        let bodies = &description["paths"][&collection]["post"]["requestBody"]["content"]["application/json"];
        let whole = bodies["examples"]["whole"]["value"].clone();
        for name in ["whole", "without_a_stack"] {
            // The nicknames are the same in both vocabularies, and so are the people.
            stack.database().batch_execute("TRUNCATE users").unwrap();
            let created = post(stack.address(), &collection, bodies["examples"][name]["value"].to_string());
            assert_eq!(created.status, 201, "{created:?}");
        }
        assert_eq!(post(stack.address(), &collection, whole.to_string()).status, 201);
        let with = |key: &str, value: Value| {
            let mut body = whole.clone();
            body[key] = value;
            body.to_string()
        };
        let without_fullname = whole.to_string().replace(fullname, "other");
        let create = |body: &str| json_request(&collection, body.as_bytes());
        let head = |header: &str| {
            format!(
                "POST {collection} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{header}\r\nContent-Length: 2\r\n\r\n{{}}"
            )
        };
        let search = |query: &str| request("GET", &format!("{collection}{query}"));
        let requests = [
            (create(&whole.to_string()), "post", "taken"),
            (create(&with(nickname, Value::from(1))), "post", "wrong_type"),
            (create(&with(nickname, Value::Null)), "post", "null"),
            (create(&with(nickname, Value::from("x".repeat(33)))), "post", "too_long"),
            (create(&with(dob, Value::from("2001-02-29"))), "post", "no_date"),
            (create(&with("stack", Value::Array(Vec::new()))), "post", "empty_stack"),
            (create(&without_fullname), "post", "missing"),
            (create("{"), "post", "no_json"),
            (create(&" ".repeat(16_385)), "post", "large"),
            (head("Content-Type: text/plain").into_bytes(), "post", "media_type"),
            (head("Content-Type: application/json\r\nContent-Encoding: gzip").into_bytes(), "post", "coding"),
            (head("Transfer-Encoding: gzip").replace("\r\nContent-Length: 2", "").into_bytes(), "post", "coding"),
            (search(""), "get", "missing"),
            (search(&format!("?{}=", words.term)), "get", "empty"),
            (search(&format!("?{}=%ff", words.term)), "get", "not_utf_8"),
            (search(&format!("?{}=josé", words.term)), "get", "found"),
            (search(&format!("?{}=nobody", words.term)), "get", "nobody"),
            (search(&format!("?{}", "x".repeat(17_000))), "get", "long"),
            (
                format!("GET {collection} HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(17_000)).into(),
                "get",
                "long",
            ),
            (format!("GET {collection} HTTP/2.0\r\nHost: test\r\n\r\n").into(), "get", "version"),
            (request("DELETE", &collection), "get", "method"),
        ];
        let mut answered = BTreeSet::new();
        for (bytes, method, name) in requests {
            let answer = send(stack.address(), &bytes).unwrap();
            let all = examples(&description, &collection, method);
            let example = all.iter().find(|(status, other, _)| (*status, other.as_str()) == (answer.status, name));
            let (status, _, example) = example.unwrap_or_else(|| panic!("{method} {name}: {answer:?}"));
            assert_eq!(without_id(&answer), without_ids(example.clone()), "{method} {collection} {status} {name}");
            answered.insert((method, *status, name.to_owned()));
        }
        for method in ["get", "post"] {
            let left = examples(&description, &collection, method).into_iter().filter(|(status, name, _)| {
                // These take a server in need, and are answered in other tests.
                !answered.iter().any(|(_, s, n)| (s, n) == (status, name)) && ![408, 500, 503].contains(status)
            });
            assert_eq!(left.map(|(status, name, _)| (status, name)).collect::<Vec<_>>(), [], "{method} {collection}");
        }
        let nobody = examples(&description, &format!("{collection}/{{id}}"), "get")
            .into_iter()
            .find(|(status, ..)| *status == 404);
        assert_eq!(get(stack.address(), &format!("{collection}/x")).json(), nobody.unwrap().2);
    }
    assert_eq!(get(stack.address(), "/health").body, "healthy");
}

fn without_id(answer: &Answer) -> Value {
    without_ids(answer.json())
}

fn without_ids(mut value: Value) -> Value {
    for person in value.as_array_mut().into_iter().flatten() {
        person.as_object_mut().unwrap().remove("id");
    }
    value
}

/// Everything that the description says, with values that nobody thought of. `cargo arena test` installs what it takes.
#[test]
fn schemathesis_finds_no_difference() {
    let workspace = Workspace::find().unwrap();
    let program = prerequisites::schemathesis(&workspace);
    if !program.is_file() {
        let is_required = std::env::var_os("ARENA_REQUIRE_SCHEMATHESIS").is_some();
        assert!(!is_required, "there is no {}", program.display());
        eprintln!("left out: there is no {}", program.display());
        return;
    }
    let stack = Stack::own();
    let url = format!("http://{}", stack.address());
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .current_dir(folder.path())
        .env("PYTHONPATH", workspace.path("tests/e2e"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .args(["run", &format!("{url}/openapi.json"), "--url", &url, "--no-color"])
        .args(["--checks", "all", "--mode", "all", "--max-examples", "30", "--seed", "1"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{}", told.lines().rev().find(|line| line.contains("generated")).unwrap_or_default());
}
