//! Unix sockets that stand before others, and can cut, delay or hold up what goes through.
//!
//! Some hundred lines in place of a proxy such as toxiproxy: that one speaks TCP alone, and what is to be cut here are Unix
//! sockets.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};

/// Bytes taken at a time.
const CHUNK: usize = 16 << 10;

/// What becomes of what goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// It goes on at once.
    #[default]
    Open,
    /// Each piece waits for so long, in either direction.
    Delayed(Duration),
    /// It is held, and goes on when it may.
    Held,
    /// Connections end, and new ones at once.
    Cut,
}

/// A socket that stands before another.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: &'static str,
    /// Where it listens.
    pub listens: PathBuf,
    /// Where it leads to.
    pub leads_to: PathBuf,
}

/// Links that are open until they are dropped.
pub struct Relays {
    passages: BTreeMap<&'static str, watch::Sender<Passage>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relays {
    /// Opens links, for whoever may enter their folders.
    ///
    /// # Errors
    ///
    /// If one cannot listen.
    pub fn open(links: &[Link]) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut passages, mut listeners) = (BTreeMap::new(), Vec::new());
        for link in links {
            let listener = listen(&link.listens).with_context(|| link.listens.display().to_string())?;
            let (sender, passage) = watch::channel(Passage::Open);
            passages.insert(link.name, sender);
            listeners.push((listener, link.leads_to.clone(), passage));
        }
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                for (listener, leads_to, passage) in listeners {
                    tokio::spawn(serve(listener, leads_to, passage));
                }
                let _ = ended.await;
            });
        });
        Ok(Self { passages, end: Some(end), thread: Some(thread) })
    }

    /// Says what becomes of what goes through a link from now on.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn set(&self, link: &str, passage: Passage) -> anyhow::Result<()> {
        let sender = self.passages.get(link);
        ensure!(sender.is_some_and(|sender| sender.send(passage).is_ok()), "there is no link {link}");
        Ok(())
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.end.take();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn listen(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o777))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(
    listener: std::os::unix::net::UnixListener,
    leads_to: PathBuf,
    passage: watch::Receiver<Passage>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    loop {
        let (near, _) = listener.accept().await?;
        if *passage.borrow() != Passage::Cut {
            tokio::spawn(carry(near, leads_to.clone(), passage.clone()));
        }
    }
}

/// Carries both directions until both sides have said all, or the link is cut.
async fn carry(near: UnixStream, leads_to: PathBuf, passage: watch::Receiver<Passage>) {
    let Ok(far) = UnixStream::connect(leads_to).await else { return };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let mut until_cut = passage.clone();
    tokio::select! {
        _ = async {
            tokio::join!(pump(from_near, to_far, passage.clone()), pump(from_far, to_near, passage.clone()))
        } => {}
        _ = until_cut.wait_for(|passage| *passage == Passage::Cut) => {}
    }
}

/// Carries one direction; dropping `to` tells the other side that there is no more.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passage: watch::Receiver<Passage>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        let now = *passage.borrow();
        match now {
            Passage::Delayed(time) => tokio::time::sleep(time).await,
            Passage::Held => drop(passage.wait_for(|passage| *passage != Passage::Held).await),
            Passage::Open | Passage::Cut => {}
        }
        to.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Instant;

    use super::*;

    /// A server that sends back what it gets, and a client of it through a relay.
    fn through() -> (tempfile::TempDir, Relays, UnixStream) {
        let folder = tempfile::tempdir().unwrap();
        let link = Link { name: "link", listens: folder.path().join("near"), leads_to: folder.path().join("far") };
        let server = UnixListener::bind(&link.leads_to).unwrap();
        std::thread::spawn(move || {
            for stream in server.incoming().flatten() {
                std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        let relays = Relays::open(std::slice::from_ref(&link)).unwrap();
        let client = UnixStream::connect(&link.listens).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (folder, relays, client)
    }

    fn echo(client: &mut UnixStream) -> io::Result<[u8; 5]> {
        let mut answer = [0; 5];
        client.write_all(b"hello")?;
        client.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn what_is_sent_goes_through_and_so_does_its_end() {
        let (_folder, _relays, mut client) = through();
        assert_eq!(&echo(&mut client).unwrap(), b"hello");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_delay_delays_both_ways_and_what_is_held_comes_later() {
        let (_folder, relays, mut client) = through();
        relays.set("link", Passage::Delayed(Duration::from_millis(100))).unwrap();
        let start = Instant::now();
        echo(&mut client).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(200));
        relays.set("link", Passage::Held).unwrap();
        client.write_all(b"hello").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(client.read(&mut [0; 5]).is_err(), "it is held");
        relays.set("link", Passage::Open).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        assert!(relays.set("nowhere", Passage::Open).is_err());
    }

    #[test]
    fn a_cut_ends_who_is_there_and_who_comes() {
        let (folder, relays, mut client) = through();
        echo(&mut client).unwrap();
        relays.set("link", Passage::Cut).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap_or_default(), 0);
        let near = folder.path().join("near");
        assert!(echo(&mut UnixStream::connect(&near).unwrap()).is_err());
        relays.set("link", Passage::Open).unwrap();
        assert_eq!(&echo(&mut UnixStream::connect(&near).unwrap()).unwrap(), b"hello");
    }
}
