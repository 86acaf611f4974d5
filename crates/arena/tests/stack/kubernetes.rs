//! The manifests of `deploy/kubernetes/` describe the stack of `docker-compose.yml`: the same services, limits and settings,
//! but for what has to differ. Kubernetes itself takes no part: `deploy/kubernetes/validate` holds them against its schemas.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so and end")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use arena::stack::compose::{Compose, DESCRIPTION, NGINX_CONF, SERVICES, bytes};
use serde_json::Value;

/// Settings of PostgreSQL that Compose's database has and a replicated one cannot: the operator's own, or `pg_hba` below.
const OF_THE_OPERATOR: [&str; 3] = ["hba_file", "wal_level", "max_wal_senders"];

#[test]
fn limits_are_those_of_compose() {
    let compose = compose();
    for name in SERVICES {
        let (limits, limit) = (&limits(name), compose.limit(name).unwrap());
        let cpus = limits["cpu"].as_str().unwrap().parse().ok();
        // Kubernetes says Mi where Compose says MiB.
        let memory = bytes(&format!("{}B", text(&limits["memory"])).into());
        assert_eq!((cpus, memory), (limit.cpus, limit.memory_bytes), "{name}");
    }
}

#[test]
fn instances_have_the_environment_of_compose_and_passwords_from_files() {
    let compose = compose();
    for name in ["api1", "api2"] {
        let container = container(name);
        let entries = container["env"].as_array().unwrap().iter();
        let mut environment: BTreeMap<String, String> =
            entries.map(|entry| (text(&entry["name"]), text(&entry["value"]))).collect();
        for (role, password) in [("PELEJA_DATABASE", "peleja"), ("PELEJA_MIGRATION", "rinha")] {
            let file = environment.remove(&format!("{role}_PASSWORD_FILE")).unwrap();
            assert!(passwords().contains(&file), "{file}");
            let elsewhere = environment.get_mut(role).unwrap();
            let user = elsewhere.split(' ').find(|word| word.starts_with("user=")).unwrap().to_owned();
            // A primary that takes no writes any more is left.
            let primary = elsewhere.strip_suffix(" target_session_attrs=read-write").unwrap();
            *elsewhere = primary
                .replace("host=db-rw", "host=/run/postgresql")
                .replace(&user, &format!("{user} password={password}"));
        }
        let own = compose.environment(name).unwrap().into_iter();
        assert_eq!(environment, own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), "{name}");
    }
}

#[test]
fn the_database_has_the_settings_of_compose() {
    let database = one("Cluster", "db");
    let parameters = database["spec"]["postgresql"]["parameters"].as_object().unwrap();
    let compose = compose();
    let words = compose.command("db").unwrap();
    let settings = words.iter().filter_map(|word| word.strip_prefix("-c")?.split_once('='));
    let mut settings: BTreeMap<&str, &str> = settings.collect();
    for setting in OF_THE_OPERATOR {
        assert!(settings.remove(setting).is_some() && !parameters.contains_key(setting), "{setting}");
    }
    // Room for a pod more than there are, and for the operator's own.
    let connections: u64 = parameters["max_connections"].as_str().unwrap().parse().unwrap();
    let pods = one("Deployment", "peleja")["spec"]["replicas"].as_u64().unwrap() + 1;
    assert!(connections >= 24 * pods + 16, "{connections}");
    settings.insert("max_connections", parameters["max_connections"].as_str().unwrap());
    assert_eq!(
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect::<BTreeMap<_, _>>(),
        settings
    );

    let rules = read("pg_hba.conf");
    let of_the_role = |line: &&str| line.starts_with("host") && line.contains("peleja");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected: Vec<String> = rules.lines().filter(of_the_role).map(words).collect();
    let given = database["spec"]["postgresql"]["pg_hba"].as_array().unwrap();
    assert_eq!(given.iter().map(text).collect::<Vec<_>>(), expected);

    let image = text(&database["spec"]["imageName"]);
    let version = |image: &str| image.split_once(':').unwrap().1.split('-').next().unwrap().to_owned();
    assert_eq!(version(&image), version(compose.image("db").unwrap().unwrap()));
}

#[test]
fn nginx_has_the_files_that_compose_mounts() {
    let compose = compose();
    let nginx = container("nginx");
    assert_eq!(nginx["image"], *compose.image("nginx").unwrap().unwrap());
    let generated = &kustomization()["configMapGenerator"][0];
    let files =
        generated["files"].as_array().unwrap().iter().map(|file| folder().join(text(file)).canonicalize().unwrap());
    let files: BTreeSet<PathBuf> = files.collect();
    for path in [NGINX_CONF, DESCRIPTION] {
        let mounts = nginx["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["mountPath"] == path).unwrap();
        assert_eq!(mount["name"], generated["name"]);
        let file = compose.mounted("nginx", path).unwrap().unwrap();
        let file = root().join(file).canonicalize().unwrap();
        assert!(files.contains(&file) && file.ends_with(text(&mount["subPath"])), "{path}: {file:?} of {files:?}");
    }
}

#[test]
fn every_name_that_is_used_is_there() {
    let pod = pod();
    let volumes: BTreeSet<String> = list(&pod["volumes"]).map(|volume| text(&volume["name"])).collect();
    for container in containers() {
        assert!(list(&container["volumeMounts"]).all(|mount| volumes.contains(&text(&mount["name"]))), "{container}");
        assert_eq!(container["securityContext"]["capabilities"]["drop"], serde_json::json!(["ALL"]), "{container}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{container}");
    }
    let labels = &one("Deployment", "peleja")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&one("Service", "peleja")["spec"]["selector"], labels);
    assert_eq!(&one("PodDisruptionBudget", "peleja")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&one("NetworkPolicy", "peleja")["spec"]["podSelector"]["matchLabels"], labels);
    let listed: BTreeSet<String> = list(&kustomization()["resources"]).map(text).collect();
    let there = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let there = there.filter(|file| file.ends_with(".yaml") && file != "kustomization.yaml").collect();
    assert_eq!(listed, there);
}

fn limits(name: &str) -> Value {
    match name {
        "db" => one("Cluster", "db")["spec"]["resources"]["limits"].clone(),
        name => container(name)["resources"]["limits"].clone(),
    }
}

/// The files of passwords in an instance.
fn passwords() -> Vec<String> {
    let volumes = pod()["volumes"].clone();
    let passwords = list(&volumes).find(|volume| volume["name"] == "passwords").unwrap();
    let items = list(&passwords["projected"]["sources"]).flat_map(|source| list(&source["secret"]["items"]));
    items.map(|item| format!("/run/secrets/{}", text(&item["path"]))).collect()
}

fn container(name: &str) -> Value {
    containers()
        .into_iter()
        .find(|container| container["name"] == name)
        .unwrap_or_else(|| panic!("no container {name}"))
}

fn containers() -> Vec<Value> {
    let pod = pod();
    list(&pod["initContainers"]).chain(list(&pod["containers"])).cloned().collect()
}

fn pod() -> Value {
    one("Deployment", "peleja")["spec"]["template"]["spec"].clone()
}

/// The resource of a kind and a name.
fn one(kind: &str, name: &str) -> Value {
    let files = list(&kustomization()["resources"]).map(text).collect::<Vec<_>>();
    let mut resources = files.iter().flat_map(|file| documents(&folder().join(file)));
    let found = resources.find(|resource| resource["kind"] == kind && resource["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn kustomization() -> Value {
    documents(&folder().join("kustomization.yaml")).remove(0)
}

fn documents(file: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap()
}

fn compose() -> Compose {
    Compose::read(&root().join("docker-compose.yml"), &[]).unwrap()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn folder() -> PathBuf {
    root().join("deploy/kubernetes")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
