use std::process::Command;

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn checkout() -> PathBuf {
    root().join("docker-compose.yml")
}

/// A folder with a copy of the checkout's file, an overlay, and whatever else it needs.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(overlay: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(checkout(), folder.path().join("docker-compose.yml")).unwrap();
        let folder = Self(folder);
        folder.write("over.yml", overlay);
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self) -> anyhow::Result<Compose> {
        Compose::read(&self.0.path().join("docker-compose.yml"), &[self.0.path().join("over.yml")])
    }

    /// What Compose itself makes of it; none where it is not there.
    fn asked(&self) -> Option<anyhow::Result<Compose>> {
        let config = |files: &[&str]| {
            let mut command = Command::new("docker");
            command.args(["compose", "--profile", "*"]);
            files.iter().for_each(|file| {
                command.arg("--file").arg(self.0.path().join(file));
            });
            command.args(["config", "--format", "json"]).output().unwrap()
        };
        if !Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success()) {
            return None;
        }
        let plain = config(&["docker-compose.yml"]);
        assert!(plain.status.success(), "{plain:?}");
        let laid = config(&["docker-compose.yml", "over.yml"]);
        if !laid.status.success() {
            return Some(Err(anyhow::anyhow!("{}", String::from_utf8_lossy(&laid.stderr))));
        }
        let [plain, laid] = [plain, laid].map(|output| String::from_utf8(output.stdout).unwrap());
        Some(Compose::from_docker(&plain, &laid, &[self.0.path().join("over.yml")]))
    }
}

fn refusal(overlay: &str) -> String {
    format!("{:#}", Folder::with(overlay).read().unwrap_err())
}

/// Limit, command, environment and replicas of a service.
type Taken = (Limit, Vec<String>, BTreeMap<String, String>, u64);

/// Everything that the arena takes from a stack.
fn taken(compose: &Compose) -> Vec<Taken> {
    let of = |name: &&str| {
        let command = compose.command(name).unwrap().into_iter().map(str::to_owned).collect();
        let environment = compose.environment(name).unwrap();
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (compose.limit(name).unwrap(), command, environment, compose.replicas(name).unwrap())
    };
    SERVICES.iter().chain(&crate::stack::lab::PARTS).map(of).collect()
}

/// Notations of Compose files that plain processes can be given, each as an overlay.
const TAKEN: [&str; 38] = [
    "services: {}",
    "version: '3.9'",
    "version: '3.9'\nname: other\nx-mine: {a: 1}\nservices: {db: {labels: [a=b], container_name: x, expose: ['1']}}",
    "services: {db: {deploy: {resources: {limits: {cpus: '0.25', memory: '0.5GB'}}}}}",
    "services: {db: {deploy: {resources: {limits: {cpus: 0.25, memory: 1.5gb}}}}}",
    "services: {db: {deploy: {resources: {limits: {memory: 512m}}}}}",
    "services: {db: {deploy: {resources: {limits: {memory: 1.75 GiB}}}}}",
    "services: {db: {deploy: {resources: {limits: {memory: '536870912'}}}}}",
    "services: {db: {deploy: {resources: {limits: {memory: 1536K}}}}}",
    "services: {db: {deploy: {resources: {limits: {memory: 100b, cpus: '1'}}}}}",
    "services: {db: {deploy: {resources: {limits: {cpus: '${DBCPU:-0.3}', memory: '${DBMEM-1g}'}}}}}",
    "services: {db: {deploy: {resources: {limits: {cpus: '${FROM_DOTENV}'}}}}}",
    "services: {db: {deploy: {resources: {reservations: {cpus: '0.1', memory: 64M}}}}}",
    "services: {api1: {deploy: {replicas: 1}}}",
    "services: {api1: {scale: 1}}",
    "services: {db: {deploy: {}}}",
    "services: {db: {deploy: null}}",
    "services: {db: {deploy: {mode: replicated}}}",
    "services: {db: {cpus: 0.44, mem_limit: 1152m}}",
    "services: {db: {cpus: 0.4, mem_limit: 1g, deploy: !reset null}}",
    "services: {db: {cpus: '0.4', mem_limit: 1073741824, deploy: !override {replicas: 1}}}",
    "services: {db: {deploy: {resources: {limits: !reset {}}}}}",
    "services: {db: {deploy: {resources: {limits: {cpus: !reset null}}}}}",
    "services: {api1: {environment: {PELEJA_BATCH: 1, A: 1.0, B: true, C: '', D: 1.5, E: yes, F: 0x10, G: 010, H: ~}}}",
    "services: {api1: {environment: [PELEJA_BATCH=1, 'A=b=c', B=, 'C=d e', FROM_DOTENV, HOME, NOBODY_SETS_THIS]}}",
    "services: {api1: {environment: !override {PELEJA_LISTEN: unix:/run/peleja/api1.sock, ONLY: this}}}",
    "services: {api1: {environment: {PELEJA_PROCESSOR: !reset null}}}",
    "services: {api1: {environment: {A: '$$x', B: \"$FROM_DOTENV-${FROM_DOTENV:+set}${NONE:+}\", C: '${NONE:-${HOME}}'}}}",
    "services: {api1: {env_file: more.env, environment: {BOTH: ours}}}",
    "services: {api1: {env_file: [more.env, {path: none.env, required: false}]}}",
    "services: {db: {command: postgres -c max_connections=50 -c 'application_name=a b'}}",
    "services: {db: {command: [postgres, -cmax_connections=50, '-capplication_name=a $$b']}}",
    "services: {db: {command: -c max_connections=50}}",
    "services: {db: {command: !override [postgres, -cjit=off]}}",
    "x-limits: &limits {cpus: '0.1', memory: 100M}\nservices: {api1: {deploy: {resources: {limits: *limits}}}}",
    "x-a: &a {A: a, B: b}\nx-b: &b {B: bb, C: c}\nservices: {api1: {environment: {<<: [*a, *b], C: own}}}",
    "services: {api1: {extends: {file: base.yml, service: base}, environment: [B=ours]}}",
    "services: {api1: {environment: {A: one}}}\n---\nservices: {api1: {environment: {A: two}}}",
];

/// What Compose refuses, or plain processes cannot be given, and what the refusal names.
const REFUSED: [(&str, &str); 34] = [
    ("services: {db: {cpus: 0.4, mem_limit: 1g}}", "services.db: cpus and deploy.resources.limits.cpus"),
    ("services: {dbb: {cpus: 0.4}}", "no service dbb"),
    ("services: {redis: {image: redis}}", "no service redis"),
    ("services: {api1: {deploy: {replicas: 2}}}", "services.api1.deploy.replicas"),
    ("services: {api1: {scale: 2}}", "services.api1.scale"),
    ("services: {db: {deploy: {mode: global}}}", "services.db.deploy.mode"),
    ("services: {db: {deploy: {resources: {limits: {pids: 10}}}}}", "services.db.deploy.resources.limits.pids"),
    ("services: {db: {deploy: {resources: {limits: {cpu: 1}}}}}", "services.db.deploy.resources.limits.cpu"),
    (
        "services: {db: {deploy: {resources: {limits: {cpus: half}}}}}",
        "services.db.deploy.resources.limits.cpus: \"half\"",
    ),
    (
        "services: {db: {deploy: {resources: {limits: {memory: 1 potato}}}}}",
        "services.db.deploy.resources.limits.memory",
    ),
    ("services: {db: {deploy: [1]}}", "services.db.deploy"),
    ("services: {db: {cpu_quota: 20000}}", "services.db.cpu_quota"),
    ("services: {db: {cpuset: '0'}}", "services.db.cpuset"),
    ("services: {db: {image: postgres:16}}", "services.db.image"),
    ("services: {db: {volumes: ['./a:/b']}}", "services.db.volumes"),
    ("services: {db: {environment: {POSTGRES_USER: me}}}", "services.db.environment.POSTGRES_USER"),
    ("services: {db: {command: bash -c true}}", "services.db.command"),
    ("services: {db: {command: null}}", "services.db.command"),
    ("services: {db: {command: \"postgres 'a\"}}", "services.db: command: `postgres 'a`"),
    ("services: {nginx: {command: nginx -t}}", "services.nginx.command"),
    ("services: {api1: {command: --help}}", "services.api1.command"),
    ("services: {api1: {entrypoint: sh}}", "services.api1.entrypoint"),
    ("services: {api1: {ulimits: {nofile: 1024}}}", "services.api1.ulimits.nofile"),
    ("services: {api1: {network_mode: host}}", "services.api1.network_mode"),
    ("services: {api1: {foo: 1}}", "services.api1.foo"),
    ("services: {api1: {environment: {A: [1]}}}", "services.api1: environment"),
    ("services: {api1: {environment: A=b}}", "services.api1: environment"),
    ("services: {api1: {environment: {A: '${NONE:?say which}'}}}", "say which"),
    ("services: {api1: {environment: {A: '${NONE'}}}", "closing brace"),
    ("services: {api1: {extends: {service: nobody}}}", "no service nobody"),
    ("services: {api1: {env_file: nowhere.env}}", "nowhere.env"),
    ("services: [db]", "services"),
    ("volumes: {more: {}, data: {name: x}}", "volumes.data.name"),
    ("services: {db: {cpus: 1}, db: {cpus: 2}}", "duplicate"),
];

fn with_neighbours(overlay: &str) -> Folder {
    let folder = Folder::with(overlay);
    folder.write(".env", "FROM_DOTENV=0.2\n# nothing\nexport QUOTED=\"a b\"\n");
    folder.write("more.env", "BOTH=theirs\nMORE=more\n");
    folder
        .write("base.yml", "services: {base: {environment: {A: a, B: b}, deploy: {resources: {limits: {cpus: 0.1}}}}}");
    folder
}

#[test]
fn a_notation_means_here_what_it_means_to_compose() {
    let plain = taken(&Compose::read(&checkout(), &[]).unwrap());
    let mut asked = false;
    for overlay in TAKEN {
        let folder = with_neighbours(overlay);
        let ours = taken(&folder.read().unwrap_or_else(|error| panic!("{overlay}: {error:#}")));
        match folder.asked() {
            None => eprintln!("not held against Compose, which is not there: {overlay}"),
            Some(theirs) => {
                asked = true;
                let theirs = taken(&theirs.unwrap_or_else(|error| panic!("{overlay}: {error:#}")));
                for (ours, theirs) in ours.iter().zip(theirs) {
                    assert_eq!(*ours, theirs, "{overlay}");
                }
            }
        }
        let changes = overlay.contains("limits: {") || overlay.contains("environment") || overlay.contains("command");
        assert!(!changes || ours != plain, "{overlay} changes nothing");
    }
    eprintln!("{} notations, held against Compose: {asked}", TAKEN.len());
}

#[test]
fn what_plain_processes_cannot_be_given_is_named_with_its_file() {
    for (overlay, name) in REFUSED {
        let folder = with_neighbours(overlay);
        let error = format!("{:#}", folder.read().expect_err(overlay));
        assert!(error.contains("/over.yml: ") && error.contains(name), "{overlay}: {error}");
        assert!(!error.contains("docker-compose.yml: "), "{overlay}: {error}");
    }
}

/// Docker runs more than plain processes can, and is asked for it with the same words.
#[test]
fn what_compose_refuses_or_a_bout_does_not_know_is_refused_under_docker_too() {
    for (overlay, refused) in [
        ("services: {db: {cpus: 0.4, mem_limit: 1g}}", true),
        ("services: {dbb: {cpus: 0.4}}", true),
        ("services: {redis: {image: redis}}", true),
        ("services: {api1: {foo: 1}}", true),
        ("services: {api1: {deploy: {replicas: 2}}}", false),
        ("services: {db: {image: 'postgres:16'}}", false),
    ] {
        let Some(asked) = Folder::with(overlay).asked() else {
            eprintln!("not tried here: Compose is not there");
            return;
        };
        assert_eq!(asked.is_err(), refused, "{overlay}");
        let replicas = asked.ok().map(|compose| compose.replicas("api1").unwrap());
        assert!(!overlay.contains("replicas") || replicas == Some(2), "{overlay}: {replicas:?}");
    }
}

#[test]
fn bytes_as_a_number_are_taken_as_they_stand() {
    let folder = Folder::with("services: {db: {deploy: {resources: {limits: {memory: 1048576}}}}}");
    assert_eq!(folder.read().unwrap().limit("db").unwrap().memory_bytes, Some(1 << 20));
}

#[test]
fn the_file_at_fault_is_named_among_several() {
    let folder = Folder::with("services: {db: {deploy: {resources: {limits: {cpus: 0.1}}}}}");
    let second = folder.write("second.yml", "services: {db: {deploy: {resources: {limits: {memory: lots}}}}}");
    let third = folder.write("third.yml", "services: {api1: {image: x}}");
    let read = |overlays: &[PathBuf]| format!("{:#}", Compose::read(&checkout(), overlays).unwrap_err());
    let first = folder.0.path().join("over.yml");
    assert!(read(&[first.clone(), second]).starts_with(&format!("{}", folder.0.path().join("second.yml").display())));
    assert!(read(&[first, third.clone()]).starts_with(&format!("{}", third.display())));
    assert!(refusal("services: {").contains("over.yml"));
}

#[test]
fn the_repository_s_file_keeps_to_the_budget() {
    let limits = Compose::read(&checkout(), &[]).unwrap().limits().unwrap();
    let cpus: f64 = limits.iter().map(|limit| limit.cpus.unwrap()).sum();
    let memory: u64 = limits.iter().map(|limit| limit.memory_bytes.unwrap()).sum();
    assert!(cpus <= 1.5, "{cpus} CPUs");
    assert!(memory <= 3 << 30, "{memory} bytes");
}

#[test]
fn every_experiment_can_be_laid_over_and_keeps_to_the_budget() {
    for overlay in std::fs::read_dir(root().join("experiments")).unwrap().map(|file| file.unwrap().path()) {
        let compose = Compose::read(&checkout(), std::slice::from_ref(&overlay)).unwrap();
        let cpus: f64 = compose.limits().unwrap().iter().filter_map(|limit| limit.cpus).sum();
        assert!(cpus <= 1.5, "{}: {cpus} CPUs", overlay.display());
        let plain = Compose::read(&checkout(), &[]).unwrap();
        let changes = |service: &&str| compose.environment(service).unwrap() != plain.environment(service).unwrap();
        let divides_anew = compose.limits().unwrap() != plain.limits().unwrap();
        // Whoever writes the database's command anew keeps what makes a 201 true, and who may log in.
        for word in ["-chba_file=/etc/postgresql/pg_hba.conf", "-cfsync=on", "-csynchronous_commit=on"] {
            assert!(compose.command("db").unwrap().contains(&word), "{}: {word}", overlay.display());
        }
        let starts_otherwise = compose.command("db").unwrap() != plain.command("db").unwrap();
        assert!(divides_anew || starts_otherwise || ["api1", "db"].iter().any(changes), "{}", overlay.display());
    }
}
