//! Connections to what is loaded.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::load::base_url::BaseUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a connection, to the first of the host's addresses that takes it.
///
/// # Errors
/// The host has no address, or none takes the connection within five seconds.
pub async fn connect(target: &BaseUrl) -> Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(target.host_and_port()))
        .await
        .with_context(|| format!("no connection to {target} within {CONNECT_TIMEOUT:?}"))?
        .with_context(|| format!("no connection to {target}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the target takes connections.
///
/// # Errors
/// It does not; the error says how to start it.
pub async fn check(target: &BaseUrl) -> Result<()> {
    let Err(error) = connect(target).await else { return Ok(()) };
    bail!("{error:#}; start the stack with `cargo arena up`, or name another server with --target")
}
