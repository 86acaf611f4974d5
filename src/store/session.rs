//! Sessions with the database: on which of its hosts, how they are set up, and when one is no longer to be trusted.

use std::future::poll_fn;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection, Error, NoTls};

use crate::socket::Stream;

/// How long one of several hosts may take until a session with it stands. For one whose processes stand still the kernel
/// accepts connections all the same.
const HOST_PATIENCE: Duration = Duration::from_secs(1);

/// What PostgreSQL's source calls the wait of a commit for its standbys.
const WAIT_FOR_STANDBYS: &str = "SyncRepWaitForLSN";

/// A database that may have several hosts, of which one takes writes at a time.
#[derive(Clone)]
pub(super) struct Database {
    /// Each with one host, in the order in which they are tried.
    hosts: Vec<Config>,
}

impl Database {
    /// One plan for each statement, made once, never compiled to machine code (which takes longer than any statement
    /// here), commits that are flushed before they are acknowledged, and warnings told, whatever was set for the role or the
    /// database; and `settings` besides, in the form of PostgreSQL's `options`.
    pub(super) fn new(given: &Config, patience: Duration, settings: &str) -> Self {
        let options = format!(
            "{} -c synchronous_commit=on -c client_min_messages=warning -c plan_cache_mode=force_generic_plan -c jit=off \
            -c statement_timeout={} {settings}",
            given.get_options().unwrap_or_default(),
            patience.as_millis()
        );
        let set_up = |mut config: Config| {
            config
                .application_name("peleja")
                .connect_timeout(patience)
                .keepalives_idle(Duration::from_secs(2))
                .keepalives_interval(Duration::from_secs(1))
                .tcp_user_timeout(patience)
                .options(&options);
            config
        };
        Self { hosts: each_host(given).into_iter().map(set_up).collect() }
    }

    /// Whether there is another host to go to.
    pub(super) fn has_others(&self) -> bool {
        self.hosts.len() > 1
    }

    /// A session with the first host that gives one, and what moves its bytes until its client is gone. Where no host says
    /// anything they are asked again.
    ///
    /// # Errors
    ///
    /// What the last host that answered, or the way to it, says.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), Error> {
        if let [host] = &self.hosts[..] {
            return connect(host).await;
        }
        loop {
            let mut error = None;
            for host in &self.hosts {
                match timeout(HOST_PATIENCE, connect(host)).await {
                    Ok(Ok(session)) => return Ok(session),
                    Ok(Err(refusal)) => error = Some(refusal),
                    Err(_) => {}
                }
            }
            if let Some(error) = error {
                return Err(error);
            }
        }
    }

    /// Cancels what runs in the session of that token.
    ///
    /// # Errors
    ///
    /// What the host or the way to it says.
    pub(super) async fn cancel(&self, token: &CancelToken) -> Result<(), Error> {
        match self.hosts.first().and_then(unix_stream) {
            Some(Ok(stream)) => token.cancel_query_raw(stream, NoTls).await,
            _ => token.cancel_query(NoTls).await,
        }
    }
}

/// The same with one host each.
fn each_host(given: &Config) -> Vec<Config> {
    if given.get_hosts().len() <= 1 {
        return vec![given.clone()];
    }
    let port = |nth| given.get_ports().get(nth).or(given.get_ports().first()).copied();
    let with = |(nth, host): (usize, &Host)| {
        let mut config = Config::new();
        match host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(folder) => config.host_path(folder),
        };
        given.get_hostaddrs().get(nth).map(|address| config.hostaddr(*address));
        port(nth).map(|port| config.port(port));
        given.get_user().map(|user| config.user(user));
        given.get_password().map(|password| config.password(password));
        given.get_dbname().map(|name| config.dbname(name));
        config.ssl_mode(given.get_ssl_mode()).target_session_attrs(given.get_target_session_attrs());
        config
    };
    given.get_hosts().iter().enumerate().map(with).collect()
}

async fn connect(host: &Config) -> Result<(Client, JoinHandle<()>), Error> {
    // A socket that cannot be reached this way cannot be reached by the library either, which says why.
    let Some(Ok(stream)) = unix_stream(host) else {
        let (client, connection) = host.connect(NoTls).await?;
        return Ok((client, tokio::spawn(drive(connection))));
    };
    let (client, connection) = host.connect_raw(stream, NoTls).await?;
    Ok((client, tokio::spawn(drive(connection))))
}

/// Until the connection is lost, its client gone, or a commit was done without waiting for its standbys to the end, which
/// PostgreSQL tells by a warning and then calls a success. Nobody hears of that success: what became of the commit is as open
/// as if the connection had been lost in it.
async fn drive<S, T>(mut connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Whoever has the client hears of an error too.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message
            && notice.routine() == Some(WAIT_FOR_STANDBYS)
        {
            return;
        }
    }
}

fn unix_stream(database: &Config) -> Option<io::Result<Stream>> {
    unix_socket(database).map(|path| UnixStream::connect(path).and_then(Stream::client))
}

/// The socket of a database that is given by its folder, and by nothing else.
fn unix_socket(database: &Config) -> Option<PathBuf> {
    let [Host::Unix(folder)] = database.get_hosts() else { return None };
    // The library alone looks whether a host takes writes.
    (database.get_target_session_attrs() == TargetSessionAttrs::Any).then_some(())?;
    let port = database.get_ports().first().copied().unwrap_or(5432);
    Some(folder.join(format!(".s.PGSQL.{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own_port_and_all_that_is_given_once() {
        let given = "host=a,/b port=1,2 user=u password=p dbname=d options=-cx=y target_session_attrs=read-write";
        let database = Database::new(&given.parse().unwrap(), Duration::from_secs(3), "-c z=1");
        assert!(database.has_others());
        let [first, second] = &database.hosts[..] else { panic!("two hosts") };
        assert_eq!((first.get_hosts(), first.get_ports()), (&[Host::Tcp("a".into())][..], &[1][..]));
        assert_eq!((second.get_hosts(), second.get_ports()), (&[Host::Unix("/b".into())][..], &[2][..]));
        for host in [first, second] {
            assert_eq!((host.get_user(), host.get_password()), (Some("u"), Some(&b"p"[..])));
            assert_eq!(host.get_dbname(), Some("d"));
            assert_eq!(host.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            let options = host.get_options().unwrap();
            assert!(options.starts_with("-cx=y ") && options.ends_with(" -c z=1"), "{options}");
            assert_eq!(unix_socket(host), None, "the library alone looks whether it takes writes");
        }
    }

    #[test]
    fn one_folder_is_reached_by_its_socket() {
        let database = Database::new(&"host=/b port=2 user=u".parse().unwrap(), Duration::from_secs(3), "");
        assert!(!database.has_others());
        assert_eq!(unix_socket(&database.hosts[0]), Some("/b/.s.PGSQL.2".into()));
    }
}
