//! The essentials of the two commands, tested in a guest: as an ordinary user, in a group that was handed to him, as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::stack::guest::Guest;
use crate::stack::prerequisites::Install;
use crate::workspace::Workspace;

/// What the stack needs of a checkout.
const FILES: [&str; 5] = ["docker-compose.yml", "nginx.conf", "sql", "crates/arena/Cargo.toml", "Cargo.toml"];

/// What the guest does. The test's own name for who runs it is in `ESSENTIALS_AS`; nothing is built in there.
const RUN: &str = r#"
export ESSENTIALS_CHECKOUT=/opt/peleja/checkout CARGO=/bin/true
chown -R user: /opt/peleja
loginctl enable-linger user
for _ in $(seq 300); do [ -S /run/user/1000/bus ] && break; sleep 0.2; done
cd /opt/peleja/checkout
failed=0
test_as() {
    echo "as $1"
    export ESSENTIALS_AS=$1
    shift
    "$@" /opt/peleja/essentials --nocapture || failed=1
}
as_user="runuser -u user -- env HOME=/home/user XDG_RUNTIME_DIR=/run/user/1000"
test_as user $as_user
test_as delegate $as_user systemd-run --user --scope --quiet --property Delegate=yes
test_as root env HOME=/root
echo "guest: exit status $failed"
sync
"#;

/// Builds all, and tests it in the guest. Whether it went well.
///
/// # Errors
///
/// If something does not build, or there can be no guest here.
pub fn test(workspace: &Workspace, install: Install) -> anyhow::Result<bool> {
    let guest = Guest::prepare(&workspace.path("target/guest"), install)?;
    let contender = workspace.build("peleja", "release")?;
    let arena = workspace.build("arena", "tool")?;
    let essentials = essentials(workspace)?;
    let archive = pack(workspace, [("target/release", &contender), ("target/tool", &arena)], &essentials)?;
    guest.work(archive.path())
}

/// The program of the test, built.
fn essentials(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root()).args(["test", "--quiet", "--locked", "--package", "arena"]);
    command.args(["--test", "essentials", "--no-run", "--message-format", "json"]);
    let output = command.stderr(Stdio::inherit()).output().context("starting cargo")?;
    ensure!(output.status.success(), "the test does not build");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut built = messages.filter(|message| message["target"]["name"] == "essentials");
    let program = built.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.context("cargo does not say where the test is")
}

/// The archive that the guest unpacks at its top.
fn pack(
    workspace: &Workspace,
    programs: [(&str, &PathBuf); 2],
    essentials: &Path,
) -> anyhow::Result<tempfile::NamedTempFile> {
    let top = tempfile::tempdir().context("a folder for what the guest gets")?;
    let checkout = top.path().join("opt/peleja/checkout");
    for file in FILES {
        copy(&workspace.path(file), &checkout.join(file))?;
    }
    for (folder, program) in programs {
        copy(program, &checkout.join(folder).join(program.file_name().context("a program's name")?))?;
    }
    copy(essentials, &top.path().join("opt/peleja/essentials"))?;
    fs::write(top.path().join("opt/peleja/run"), RUN).context("what the guest does")?;
    let archive = tempfile::NamedTempFile::new().context("an archive for the guest")?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--file"]).arg(archive.path()).arg("--directory").arg(top.path());
    ensure!(tar.arg("opt").status().context("starting tar")?.success(), "the archive for the guest cannot be made");
    Ok(archive)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().context("a folder above")?).with_context(|| to.display().to_string())?;
    let status = Command::new("cp").arg("--recursive").arg(from).arg(to).status().context("starting cp")?;
    ensure!(status.success(), "{} cannot be copied", from.display());
    Ok(())
}
