//! `arena cluster`: the stack over several hosts of one machine, which survives its primary.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::exit::{self, Exit};
use crate::stack::hosts::Hosts;
use crate::stack::native::data_folder;
use crate::stack::prerequisites::Install;
use crate::terminal;
use crate::workspace::Workspace;

/// A cluster on this machine: three database nodes under Patroni, three of etcd, HAProxy, two instances and nginx, each a
/// network namespace with an address of its own. Needs root, and Debian's packages
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start it, in about half a minute
    Up(UpArgs),
    /// End it and remove its files, also what a crash left of it
    Down,
    /// Say what runs, and which node is the primary
    Status,
}

#[derive(Debug, Args)]
struct UpArgs {
    /// Where the files are kept, a new or an empty folder. [default: /var/tmp/peleja-cluster]
    #[arg(long, value_name = "DIR", value_parser = data_folder)]
    data: Option<PathBuf>,
    /// Do not install what is missing, only list it
    #[arg(long)]
    no_install: bool,
}

/// Starts, ends or tells of the cluster.
///
/// # Errors
///
/// If it does not come up or end, or the caller is not root.
pub fn run(arguments: &ClusterArgs) -> anyhow::Result<Exit> {
    match &arguments.what {
        What::Up(arguments) => up(arguments),
        What::Down => down(),
        What::Status => status(),
    }
}

fn up(arguments: &UpArgs) -> anyhow::Result<Exit> {
    let workspace = Workspace::find()?;
    exit::interruption()?;
    let hosts = Hosts::at(&arguments.data.clone().unwrap_or_else(Hosts::default_data));
    let running = hosts.up(&workspace, Install::unless(arguments.no_install))?;
    let url = running.url;
    terminal::print(&format!("{}\nTry   curl -i '{url}/users?q=a'\nEnd   cargo arena cluster down\n", hosts.told()))?;
    Ok(Exit::Good)
}

fn down() -> anyhow::Result<Exit> {
    Hosts::ensure_allowed()?;
    let said = match Hosts::found() {
        Some(hosts) => format!("{} processes ended.\n", hosts.down()?),
        None => "There is no cluster.\n".to_owned(),
    };
    terminal::print(&said)?;
    Ok(Exit::Good)
}

/// Exit status 1 where it is not whole.
fn status() -> anyhow::Result<Exit> {
    let Some(hosts) = Hosts::found() else {
        terminal::print("There is no cluster; `cargo arena cluster up` starts one.\n")?;
        return Ok(Exit::Failed);
    };
    let whole = hosts.is_whole();
    let word = if whole { "Whole" } else { "Not whole" };
    terminal::print(&format!("{}\n{word}; {}\n", hosts.told(), hosts.url()))?;
    Ok(if whole { Exit::Good } else { Exit::Failed })
}
