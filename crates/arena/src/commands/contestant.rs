//! An entry of the contest for as long as a load needs it: started, watched, and removed with all that came with it.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use ureq::Agent;

use crate::exit;
use crate::load::driver::entry::Entry as Server;
use crate::load::driver::probe;
use crate::observe::Target;
use crate::stack::docker;
use crate::stack::entry::{Before, Container, Entry};
use crate::stack::ports;

/// Time between two looks at an entry that starts.
const LOOK: Duration = Duration::from_millis(250);

/// How long an entry may take to answer a look at whether it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// An entry that runs, and what was there before it.
pub struct Contestant<'a> {
    entry: &'a Entry,
    before: Before,
    keeps_images: bool,
}

impl<'a> Contestant<'a> {
    /// Starts an entry, whose Compose log goes to a file.
    ///
    /// # Errors
    ///
    /// If Docker sets no limits, the port that it publishes is taken, or it does not build or start.
    pub fn start(entry: &'a Entry, port: u16, keeps_images: bool, log: &Path) -> anyhow::Result<Self> {
        docker::ensure_limits()?;
        let taken = std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).is_ok();
        ensure!(!taken, "something else listens on port {port}, which an entry publishes; end it");
        let started = Self { entry, before: entry.look_before()?, keeps_images };
        entry.up(log)?;
        Ok(started)
    }

    /// Waits until it answers at `path`, and says whether it does so without an error of the server's. Some front doors answer
    /// long before what is behind them, with a 502 or the like; if that is still so in the end, the load shows what becomes
    /// of it.
    ///
    /// # Errors
    ///
    /// If nothing answers within so long; the message ends with what its services wrote last.
    pub fn wait(&self, url: &str, path: &str, wait: Duration) -> anyhow::Result<bool> {
        let agent: Agent =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        let deadline = Instant::now() + wait;
        let mut refused = None;
        while Instant::now() < deadline {
            exit::fail_if_interrupted()?;
            match agent.get(format!("{url}{path}")).call() {
                Ok(answer) if answer.status().as_u16() < 500 => return Ok(true),
                Ok(answer) => refused = Some(answer.status().as_u16()),
                Err(_) => {}
            }
            if !self.containers()?.iter().any(|container| container.running) {
                bail!("every service ended before {url} answered{}", self.entry.ended_words());
            }
            std::thread::sleep(LOOK);
        }
        if let Some(status) = refused {
            eprintln!("arena: {url}{path} still answers {status}; the bout begins all the same");
            return Ok(false);
        }
        bail!("{url} answered no HTTP within {} s (--wait){}", wait.as_secs(), self.last_words())
    }

    /// How many people it says that it stores.
    ///
    /// # Errors
    ///
    /// If it does not say; the message ends with what its services wrote last.
    pub fn count(&self, server: &Server) -> anyhow::Result<u64> {
        probe::count(server).map_err(|error| anyhow!("{error:#}{}", self.last_words()))
    }

    /// Its containers, by name.
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn containers(&self) -> anyhow::Result<Vec<Container>> {
        self.entry.containers()
    }

    /// Where the load goes instead of through Docker's proxies, as in the contest, where those may not bear it. None where they
    /// may, or the load cannot go elsewhere (`chooses`).
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn way_past_proxies(&self, port: u16, chooses: bool) -> anyhow::Result<Option<SocketAddrV4>> {
        if ports::widen_proxies(port) {
            return Ok(None);
        }
        let gateways = self.containers()?.into_iter().flat_map(|container| container.gateways).collect();
        let past = chooses.then(|| ports::past_proxies(&gateways, port)).flatten();
        match past {
            Some(address) => eprintln!(
                "arena: Docker's proxy may not open as many files as a bout can take; the load goes past it, to {address}"
            ),
            None => eprintln!("arena: Docker's proxy may run out of open files in mid-bout, and refuse everybody then"),
        }
        Ok(past)
    }

    /// Which services did not survive the load, each with its last words.
    ///
    /// # Errors
    ///
    /// If Docker does not answer.
    pub fn what_became_of(&self, before: &[Container]) -> anyhow::Result<Vec<String>> {
        let after = self.containers()?;
        let fate = |old: &Container| {
            let name = &old.name;
            let Some(new) = after.iter().find(|new| new.id == old.id) else {
                return Some(format!("{name} was removed in the midst of the bout"));
            };
            let restarts = new.restarts.saturating_sub(old.restarts);
            let what = match (new.out_of_memory && !old.out_of_memory, new.running) {
                (true, _) => format!("{name} was killed: its memory did not suffice"),
                (false, false) if old.running => {
                    format!("{name} ended in the midst of the bout, with status {}", new.exit_code)
                }
                _ if restarts > 0 => {
                    format!("{name} ended in the midst of the bout and was started anew, {restarts} times")
                }
                _ => return None,
            };
            Some(what + &self.entry.last_words(new))
        };
        Ok(before.iter().filter_map(fate).collect())
    }

    /// What every service wrote last.
    fn last_words(&self) -> String {
        let containers = self.containers().unwrap_or_default();
        containers.iter().map(|container| self.entry.last_words(container)).collect()
    }
}

impl Drop for Contestant<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.entry.down(&self.before, self.keeps_images) {
            eprintln!("arena: ending {}: {error:#}", self.entry.name);
        }
    }
}

/// Where to observe the containers that run, each under its name.
pub fn targets(containers: &[Container]) -> Vec<(String, Target)> {
    let running = containers.iter().filter(|container| container.running);
    running.map(|container| (container.name.clone(), Target::Container(container.id.clone()))).collect()
}
