//! Runs a simulation.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use super::child::{Process, last_words};
use super::prepare::Prepared;
use super::progress::Progress;
use super::schedule::PROFILE_SECONDS;
use crate::record::gatling_log::results::{Results, log_in, read_results};

/// What a simulation needs to know, and where its results go.
///
/// Our own simulation takes all of it. The event's and any other take only the files and the results directory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base URL of the API, without a slash at the end.
    pub base_url: String,
    /// `users` or `pessoas`.
    pub vocabulary: String,
    /// TSV file of payloads. Simulations also find it as `users-payloads.tsv` and `pessoas-payloads.tsv`.
    pub payloads: PathBuf,
    /// TSV file of search terms. Simulations also find it as `search-terms.tsv` and `termos-busca.tsv`.
    pub search_terms: PathBuf,
    /// Multiplies every arrival rate; above 0.
    pub rate_factor: f64,
    /// Multiplies every duration; above 0.
    pub duration_factor: f64,
    /// Where `gatling.log`, Gatling's own console output, goes, and the directory with its results.
    pub results: PathBuf,
    /// Whether Gatling makes its own report of HTML pages, which takes seconds.
    pub html_report: bool,
    /// Whether to end it once a request has failed.
    pub gives_up: bool,
}

/// What a run of Gatling left.
#[derive(Debug)]
pub struct Fought {
    /// What it says of the requests.
    pub results: Results,
    /// CPU time of Gatling itself, its start and its report included.
    pub cpu: Duration,
}

/// Runs a simulation to its end, shows how it goes on standard error, and reads its results.
///
/// # Errors
///
/// A file that is not there, Gatling not to be started, Gatling ended by an error or without results, `interrupted`
/// become true. Gatling's end is in the message, and the path of its whole output.
pub fn run(prepared: &Prepared, settings: &Settings, interrupted: &AtomicBool) -> anyhow::Result<Fought> {
    let results = fresh_directory(&settings.results)?;
    let resources = resources(settings, &results)?;
    let console = results.join("gatling.log");
    let output = File::create(&console).with_context(|| format!("cannot create {}", console.display()))?;
    let mut command = command(prepared, settings, &resources, &results);
    command.stdout(output.try_clone()?).stderr(output);

    let cpu_before = cpu_of_children()?;
    let mut progress = Progress::new(&results, expected_seconds(prepared, settings));
    let ended = Process::spawn(&mut command)?.wait(interrupted, || {
        progress.show();
        !settings.gives_up || progress.failed() == 0
    });
    progress.finish();
    let status = ended.with_context(|| format!("Gatling stopped; its output is in {}", console.display()))?;
    if let Some(status) = status.filter(|status| !is_complete(*status)) {
        let text = fs::read_to_string(&console).unwrap_or_default();
        bail!("Gatling failed ({status}):\n{}\nits output is in {}", last_words(&text), console.display());
    }
    let results = read_results(&results).with_context(|| format!("Gatling's output is in {}", console.display()))?;
    Ok(Fought { results, cpu: cpu_of_children()?.saturating_sub(cpu_before) })
}

/// CPU time of children that have ended. Gatling is the only one that does while it runs.
fn cpu_of_children() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("CPU time of Gatling")?;
    let time = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

fn command(prepared: &Prepared, settings: &Settings, resources: &Path, results: &Path) -> Command {
    let mut command = prepared.command();
    command
        .args(["-s", &prepared.class, "-rf"])
        .arg(results)
        .arg("-rsf")
        .arg(resources)
        .args((!settings.html_report).then_some("-nr"))
        .env("PELEJA_BASE_URL", &settings.base_url)
        .env("PELEJA_VOCABULARY", &settings.vocabulary)
        .env("PELEJA_PAYLOADS", "users-payloads.tsv")
        .env("PELEJA_SEARCH_TERMS", "search-terms.tsv")
        .env("PELEJA_RATE_FACTOR", settings.rate_factor.to_string())
        .env("PELEJA_DURATION_FACTOR", settings.duration_factor.to_string());
    command
}

/// How long the load will take, where the simulation is one whose profile is known.
fn expected_seconds(prepared: &Prepared, settings: &Settings) -> Option<f64> {
    if prepared.is_ours() {
        return Some(PROFILE_SECONDS * settings.duration_factor);
    }
    (prepared.class == "RinhaBackendSimulation").then_some(PROFILE_SECONDS)
}

/// Gatling ends with 2 where an assertion of the simulation's own did not hold: the results are complete then, too.
fn is_complete(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 2))
}

fn fresh_directory(path: &Path) -> anyhow::Result<PathBuf> {
    let cannot = || format!("cannot use {} for results", path.display());
    fs::create_dir_all(path).with_context(cannot)?;
    let path = path.canonicalize().with_context(cannot)?;
    if log_in(&path).is_ok() {
        bail!("{} already holds results of Gatling", path.display());
    }
    Ok(path)
}

/// A folder in which every simulation finds the two files under the names it knows.
fn resources(settings: &Settings, results: &Path) -> anyhow::Result<PathBuf> {
    let folder = results.join("resources");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let files = [
        (&settings.payloads, ["users-payloads.tsv", "pessoas-payloads.tsv"]),
        (&settings.search_terms, ["search-terms.tsv", "termos-busca.tsv"]),
    ];
    for (file, names) in files {
        let file = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
        for name in names {
            let link = folder.join(name);
            let _ = fs::remove_file(&link);
            symlink(&file, link).with_context(|| format!("cannot link to {}", file.display()))?;
        }
    }
    Ok(folder)
}
