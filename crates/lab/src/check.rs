//! Whether a part of the lab works, for whoever started it.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connection::connect;
use crate::database::Database;
use crate::forms::queue;
use crate::server::{Listen, Ports};

/// Within this time a part that works has answered.
const PATIENCE: Duration = Duration::from_secs(3);

/// Options of `lab check`: where the part is, as it was told itself.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The part that is asked
    part: Part,

    #[command(flatten)]
    listen: Listen,

    #[command(flatten)]
    database: Database,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Blocking,
    Nonblocking,
    Forms,
    Worker,
    Resource,
}

impl Part {
    /// A worker listens nowhere.
    fn port(self, ports: Ports) -> Option<u16> {
        match self {
            Self::Blocking => Some(ports.blocking_port),
            Self::Nonblocking => Some(ports.nonblocking_port),
            Self::Forms => Some(ports.forms_port),
            Self::Worker => None,
            Self::Resource => Some(ports.resource_port),
        }
    }
}

/// Asks a server for its health; of the workers, whether one has shown signs of life of late.
///
/// # Errors
///
/// When the part does not work, or does not say so in time.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let asked = async {
        match args.part.port(args.listen.ports) {
            Some(port) => server_is_healthy(&args.listen.host, port).await,
            None => worker_lives(&args.database).await,
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))?
}

async fn server_is_healthy(host: &str, port: u16) -> anyhow::Result<()> {
    let mut stream =
        TcpStream::connect((host, port)).await.with_context(|| format!("nobody listens on port {port}"))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split_whitespace().nth(1);
    ensure!(status == Some("200"), "port {port} answers {}", status.unwrap_or("nothing"));
    Ok(())
}

async fn worker_lives(database: &Database) -> anyhow::Result<()> {
    let client = connect(&database.database_url).await?;
    ensure!(queue::has_worker(&client).await?, "no worker has shown signs of life of late");
    Ok(())
}
