//! One instance of the contender.

use std::process::ExitCode;
use std::sync::Arc;

use mimalloc::MiMalloc;
use peleja::{app::App, config::Config, health, server};
use rustix::thread::{CpuSet, disable_transparent_huge_pages, sched_setaffinity};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let config = Config::of_process();
    take_small_pages();
    if let Some(processor) = config.processor {
        run_only_on(processor);
    }
    // An instance has less than one core; a second thread would only add hand-overs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&config)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peleja: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The allocator asks for huge pages. The kernel clears 2 MiB for the first byte that is needed of one, and for an instance with
/// 0.03 CPU that is a pause, in the very moment in which many connections come at once.
fn take_small_pages() {
    // A kernel without huge pages has nothing to disable.
    let _ = disable_transparent_huge_pages(true);
}

/// The runtime's one thread is this one.
fn run_only_on(processor: u16) {
    let mut allowed = CpuSet::new();
    allowed.set(usize::from(processor));
    if let Err(error) = sched_setaffinity(None, &allowed) {
        eprintln!("peleja: running on any processor, not only on {processor}: {error}");
    }
}

async fn run(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    if config.check {
        return health::check(&config.listen).await;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener =
        server::Listener::bind(&config.listen).await.map_err(|error| format!("{}: {error}", config.listen))?;
    let app = Arc::new(App::start(config)?);
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    eprintln!("peleja: listening on {}", config.listen);
    server::run(listener, app, shutdown, config.grace).await;
    Ok(())
}
