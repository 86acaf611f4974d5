//! Checks by tools that take minutes to build: of what we build on, and over input that nobody thought of.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::stack::prerequisites::Install;
use crate::workspace::Workspace;

/// A package with a subcommand of cargo's, at the release that these checks are known to pass with.
struct Tool {
    package: &'static str,
    subcommand: &'static str,
    version: &'static str,
    options: &'static [&'static str],
}

const DENY: Tool =
    Tool { package: "cargo-deny", subcommand: "deny", version: "0.20.2", options: &["--no-default-features"] };
const CYCLONEDX: Tool = Tool { package: "cargo-cyclonedx", subcommand: "cyclonedx", version: "0.5.9", options: &[] };
const FUZZ: Tool = Tool { package: "cargo-fuzz", subcommand: "fuzz", version: "0.13.2", options: &[] };

/// What is fuzzed, and the longest input in bytes that is tried.
const TARGETS: [(&str, &str); 3] = [("body", "2048"), ("query", "200"), ("path", "200")];

/// For each of them.
const SECONDS: u32 = 20;

/// Checks licences, sources, duplicates and known faults of what we build on, if cargo-deny is there.
///
/// # Errors
///
/// What does not hold.
pub fn check_dependencies(workspace: &Workspace) -> anyhow::Result<()> {
    if !is_there(workspace, &DENY) {
        eprintln!("arena: left out: {} is not installed; `cargo arena test --thorough` installs it", DENY.package);
        return Ok(());
    }
    run(cargo(workspace).args(["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    if !cargo(workspace)
        .args(["deny", "--log-level", "off", "fetch", "db"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("arena: left out: known faults of what we build on: the advisory database is out of reach");
        return Ok(());
    }
    run(cargo(workspace).args(["deny", "--log-level", "error", "check", "--disable-fetch", "advisories"]))
}

/// All that, a bill of materials for each package beside its `Cargo.toml`, and the fuzzing of what clients send.
///
/// # Errors
///
/// What does not hold, or what is missing and may not be installed.
pub fn run_all(workspace: &Workspace, install: Install) -> anyhow::Result<()> {
    for tool in [DENY, CYCLONEDX, FUZZ] {
        ensure_tool(workspace, &tool, install)?;
    }
    check_dependencies(workspace)?;
    run(cargo(workspace).args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"]))?;
    for (target, length) in TARGETS {
        fuzz(workspace, target, length)?;
    }
    Ok(())
}

/// libFuzzer needs what only nightly compilers put into a program.
fn fuzz(workspace: &Workspace, target: &str, length: &str) -> anyhow::Result<()> {
    let found = workspace.path("fuzz/found").join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz", "run", "--sanitizer", "none", target]);
    command.arg(found).arg(workspace.path("fuzz/seeds").join(target));
    command.args(["--", "-timeout=10", "-print_final_stats=1", &format!("-max_len={length}")]);
    command.arg(format!("-max_total_time={SECONDS}"));
    run(command.current_dir(workspace.root()).env("PATH", search_path(workspace)))
}

fn ensure_tool(workspace: &Workspace, tool: &Tool, install: Install) -> anyhow::Result<()> {
    if is_there(workspace, tool) {
        return Ok(());
    }
    let Tool { package, version, options, .. } = tool;
    ensure!(install == Install::Allowed, "{package} is missing, and --no-install was given");
    eprintln!("arena: building {package} {version}; that takes minutes");
    let mut command = cargo(workspace);
    command.args(["install", "--quiet", "--locked", "--version", version]).args(*options);
    run(command.arg("--root").arg(workspace.path("target/tools")).arg(package))
}

fn is_there(workspace: &Workspace, tool: &Tool) -> bool {
    let output = cargo(workspace).args([tool.subcommand, "--version"]).output();
    output.is_ok_and(|output| output.status.success())
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root()).env("PATH", search_path(workspace));
    command
}

/// The folder where our own tools are comes first.
fn search_path(workspace: &Workspace) -> OsString {
    let mut path = workspace.path("target/tools/bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let status = command.status().with_context(|| format!("starting `{}`", words.join(" ")))?;
    ensure!(status.success(), "`{}` failed", words.join(" "));
    Ok(())
}
