//! `arena test`: everything that must hold before a change is worth looking at.

use std::process::Command;

use anyhow::Context;

use super::{guest, thorough};
use crate::exit::Exit;
use crate::stack::hosts::{Hosts, TOOLS};
use crate::stack::prerequisites::{self, Install, Tool};
use crate::workspace::Workspace;

/// Arguments of `arena test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave out the short bout at the end.
    #[arg(long)]
    no_bout: bool,
    /// Also check by tools that take minutes to build, which are built where they are missing: a minute of fuzzing, which
    /// takes a nightly Rust; licences, sources and known faults of what we build on; a bill of materials.
    #[arg(long)]
    thorough: bool,
    /// Instead of all that, run the essentials as root and as an ordinary user of a Debian with systemd, which is made from
    /// Debian's packages and emulated: only as root, on Debian.
    #[arg(long, conflicts_with_all = ["no_bout", "thorough"])]
    guest: bool,
    /// Do not install what is missing, only list it.
    #[arg(long)]
    no_install: bool,
}

/// Runs every check in turn, the quick ones first; the first that fails ends it.
///
/// # Errors
///
/// If a check cannot be started.
pub fn run(arguments: &Args) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    let install = Install::unless(arguments.no_install);
    if arguments.guest {
        return Ok(if guest::test(&workspace, install)? { Exit::Good } else { Exit::Failed });
    }
    let everywhere = [Tool::Postgres, Tool::Nginx, Tool::Jdk, Tool::Maven, Tool::Chromium, Tool::Ab, Tool::Python];
    let of_cluster = if Hosts::ensure_allowed().is_ok() { &TOOLS[..] } else { &[] };
    prerequisites::ensure(&[&everywhere, of_cluster].concat(), install)?;
    prerequisites::ensure_components(install)?;
    prerequisites::ensure_schemathesis(&workspace, install)?;
    for (what, words) in checks(arguments) {
        eprintln!("arena: {what}");
        let mut command = cargo(&workspace);
        let status = command.args(words).status().with_context(|| format!("starting: {what}"))?;
        if !status.success() {
            eprintln!("arena: failed: {what}");
            return Ok(Exit::Failed);
        }
    }
    eprintln!("arena: what we build on");
    if arguments.thorough {
        thorough::run_all(&workspace, install)?;
    } else {
        thorough::check_dependencies(&workspace)?;
    }
    eprintln!("arena: all checks passed");
    Ok(Exit::Good)
}

fn checks(arguments: &Args) -> Vec<(&'static str, &'static [&'static str])> {
    let mut checks: Vec<(&str, &[&str])> = vec![
        ("formatting", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        // Tests choose a stack's ports before it is built: somebody else could take them in those minutes.
        ("the contender", &["build", "--quiet", "--release", "--locked", "--package", "peleja", "--bin", "peleja"]),
        ("the lab", &["build", "--quiet", "--profile", "tool", "--locked", "--package", "lab", "--bin", "lab"]),
        ("tests", &["test", "--quiet", "--locked", "--workspace"]),
    ];
    if !arguments.no_bout {
        checks.push((
            "a short bout",
            &[
                "arena",
                "fight",
                "--quick",
                "--rate-factor",
                "0.5",
                "--label",
                "test",
                "--port",
                "19999",
                "--data",
                "/var/tmp/peleja-test",
            ],
        ));
    }
    checks
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A page that no browser has looked at is not tested, nor a description that nothing was held against.
    command.current_dir(workspace.root()).env("ARENA_REQUIRE_BROWSER", "1").env("ARENA_REQUIRE_SCHEMATHESIS", "1");
    command
}
