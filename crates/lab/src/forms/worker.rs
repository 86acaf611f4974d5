//! The process that stores what the forms queued.

use std::time::Duration;

use anyhow::bail;
use graphile_worker::{LocalQueueConfig, RefetchDelayConfig, Worker, WorkerOptions, WorkerRecoveryConfig};
use tokio_util::sync::CancellationToken;

use super::job::{Shelf, StoreOpinion};
use super::queue::{self, SILENCE};
use super::store::{self, Work};
use crate::connection::connect;
use crate::database::{self, Database};
use crate::server;
use crate::switches::{REFUSE, Switches, WORK};

const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a worker that found no job waits for word of a new one before it looks again.
const REST: Duration = Duration::from_millis(100);

/// So many looks in a row show nobody at work before a worker is taken to have missed that there are jobs. Between two jobs a
/// single look may.
const STILL_LOOKS: u32 = 5;

/// Options of `lab worker`.
#[derive(clap::Args, Clone, Debug)]
pub struct WorkerArgs {
    #[command(flatten)]
    database: Database,

    /// Jobs at once. More empty the queue sooner, and take more of the database from everybody else
    #[arg(long, env = "LAB_JOBS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    jobs: u32,

    /// Fail every opinion that contains this word: a way to see retries and dead letters
    #[arg(long, value_name = "WORD", env = "LAB_REFUSE")]
    refuse: Option<String>,

    #[command(flatten)]
    work: Work,
}

/// Works until a signal ends it; jobs under way are finished first.
///
/// # Errors
///
/// When the connection pool cannot be built.
pub async fn run(args: WorkerArgs) -> anyhow::Result<()> {
    let shutdown = server::shutdown_on_signal()?;
    let refuse = args.refuse.clone().unwrap_or_default();
    let switches = Switches::new([(&REFUSE, refuse), (&WORK, args.work.milliseconds.to_string())]);
    let following = switches.clone().follow(args.database.database_url.clone());
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(following));
    let shelf = Shelf::new(args.database.pool(store::PATIENCE)?, switches);
    println!("worker: storing queued opinions, {} at a time", args.jobs);
    while !shutdown.is_cancelled() {
        if let Err(error) = work(&args, &shelf, &shutdown).await {
            eprintln!("worker: starting over: {error:#}");
        }
        shutdown.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await;
    }
    Ok(())
}

/// Works until the database is lost or `shutdown`.
///
/// A job whose end could not be noted stays locked by its worker. Starting over under a new name turns such locks into
/// those of a dead worker, which are given back after a short silence.
async fn work(args: &WorkerArgs, shelf: &Shelf, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let config = &args.database.database_url;
    let Some(()) = shutdown.run_until_cancelled(database::prepare_until_done("worker", config)).await else {
        return Ok(());
    };
    let stop = shutdown.child_token();
    let worker = start(args, shelf, stop.clone()).await?;
    let watch = async {
        let outcome = shutdown.run_until_cancelled(watch_database(config)).await;
        stop.cancel();
        outcome.unwrap_or(Ok(()))
    };
    let (worked, watched) = tokio::join!(worker.run(), watch);
    watched?;
    Ok(worked?)
}

async fn start(args: &WorkerArgs, shelf: &Shelf, stop: CancellationToken) -> anyhow::Result<Worker> {
    let jobs = args.jobs as usize;
    let recovery = WorkerRecoveryConfig::default()
        .heartbeat_interval(HEARTBEAT)
        .sweep_interval(HEARTBEAT)
        .sweep_threshold(SILENCE)
        .recovery_delay(Duration::ZERO);
    let worker = WorkerOptions::default()
        .database(queue::database(&args.database.database_url, jobs + 2)?)
        .concurrency(jobs)
        .local_queue(until_empty(jobs))
        .worker_recovery(recovery)
        .listen_os_shutdown_signals(false)
        .shutdown_signal(stop.cancelled_owned())
        .shutdown_interrupted_job_retry_delay(Duration::ZERO)
        .add_extension(shelf.clone())
        .define_job::<StoreOpinion>()
        .init()
        .await?;
    Ok(worker)
}

/// Jobs are taken until there are none. Without this each slot takes one job a poll where no new job is notified.
fn until_empty(jobs: usize) -> LocalQueueConfig {
    // Once there are none, the library would ask again without a pause; the first notification ends this one.
    let rest = RefetchDelayConfig::default().with_duration(REST).with_max_abort_threshold(1);
    // No more at a time than there are slots, so that other workers find jobs too.
    LocalQueueConfig::default().with_size(jobs).with_refetch_delay(rest)
}

/// Returns when the database was lost, a job is stuck, or jobs are due and none is taken: the library's queue may wait for
/// word of a new job that it has missed.
async fn watch_database(config: &tokio_postgres::Config) -> anyhow::Result<()> {
    let client = connect(config).await?;
    let mut still = 0;
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if queue::has_stuck_jobs(&client).await? {
            bail!("a job has been under way for too long");
        }
        still = if queue::stands_still(&client).await? { still + 1 } else { 0 };
        if still == STILL_LOOKS {
            bail!("jobs are due and none is taken");
        }
    }
}
