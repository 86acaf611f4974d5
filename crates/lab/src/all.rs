//! Starts every part of the lab as a process of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::server;

/// Time between the death of a part and its next start.
const PAUSE: Duration = Duration::from_secs(1);

/// What is started; each reads its own settings from the environment.
const PARTS: [&str; 5] = ["blocking", "nonblocking", "forms", "worker", "resource"];

/// Options of `lab all`: the parts take theirs from the environment, except these.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// PostgreSQL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, env = "LAB_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    /// Milliseconds that every query of the blocking and the non-blocking server takes longer
    #[arg(long, value_name = "MS", env = "LAB_QUERY_DELAY")]
    query_delay: Option<u32>,

    /// Hard mode of the scarce resource: at most this many uses at once
    #[arg(long, env = "LAB_LIMIT")]
    limit: Option<u32>,
}

/// Runs all parts until a signal ends them, and starts again those that die.
///
/// # Errors
///
/// When a part cannot be started at all.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = server::shutdown_on_signal()?;
    let mut parts = JoinSet::new();
    for part in PARTS {
        parts.spawn(keep_alive(part, args.clone(), shutdown.clone()));
    }
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended? {
            shutdown.cancel();
            eprintln!("lab: {error:#}");
        }
    }
    Ok(())
}

async fn keep_alive(part: &'static str, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    while !shutdown.is_cancelled() {
        let mut child = start(part, &args)?;
        let ended = tokio::select! {
            status = child.wait() => Some(status?),
            () = shutdown.cancelled() => None,
        };
        let Some(status) = ended else {
            return stop(child).await;
        };
        if !shutdown.is_cancelled() {
            eprintln!("lab: {part} {}; starting it again", describe(status));
        }
        shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
    Ok(())
}

fn start(part: &str, args: &Args) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find the lab's own program")?;
    let mut command = Command::new(program);
    command.arg(part).kill_on_drop(true);
    // A signal from the terminal goes to the whole group; the parts must hear it once, from here.
    command.process_group(0);
    for (variable, value) in [
        ("LAB_ENGINE", Some("all".to_owned())),
        ("LAB_DATABASE_URL", args.database_url.clone()),
        ("LAB_QUERY_DELAY", args.query_delay.map(|delay| delay.to_string())),
        ("LAB_LIMIT", args.limit.map(|limit| limit.to_string())),
    ] {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    die_with_parent(&mut command);
    command.spawn().with_context(|| format!("cannot start lab {part}"))
}

/// A part must not outlive a `lab all` that was killed.
#[expect(unsafe_code, reason = "what runs between fork and exec is for us to vouch for")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only prctl runs, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

async fn stop(mut child: Child) -> anyhow::Result<()> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself in the meantime.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
    child.wait().await?;
    Ok(())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
