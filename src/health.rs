//! Asking an instance from outside whether it is ready.

use std::error::Error;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::Address;
use crate::routes::READY;

const PATIENCE: Duration = Duration::from_secs(3);

/// Succeeds if the instance that listens at `address` says that it is ready.
///
/// # Errors
///
/// Says what kept it from being ready.
pub async fn check(address: &Address) -> Result<(), Box<dyn Error>> {
    let status = timeout(PATIENCE, async {
        match address {
            Address::Tcp(address) => status_line(TcpStream::connect(address).await?).await,
            Address::Unix(path) => status_line(UnixStream::connect(path).await?).await,
        }
    });
    let status = status.await.map_err(|_| format!("{address}: no answer"))??;
    if status.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(format!("{address}: {status}").into()) }
}

async fn status_line(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
    let request = format!("GET {READY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}
