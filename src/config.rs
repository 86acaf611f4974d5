//! Configuration by flag or environment variable.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tokio_postgres::config::TargetSessionAttrs;

/// Everything that can be set; a wrong value ends the program with status 2 before anything starts.
#[derive(Clone, Debug, Parser)]
#[command(name = "peleja", version, about)]
pub struct Config {
    /// Where to listen: HOST:PORT, or unix:PATH for a Unix socket.
    #[arg(long, env = "PELEJA_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: Address,

    /// The database: a URL or `key=value` pairs; a host that begins with `/` is the folder of a Unix socket. Of several hosts,
    /// separated by commas, the first is used that takes writes, which `target_session_attrs=read-write` must say.
    #[arg(
        long,
        env = "PELEJA_DATABASE",
        default_value = "host=localhost user=postgres password=rinha dbname=postgres",
        hide_env_values = true
    )]
    pub database: tokio_postgres::Config,

    /// A file that holds the password of that role, instead of the one above. A line's end behind it is no part of it.
    #[arg(long, env = "PELEJA_DATABASE_PASSWORD_FILE", value_name = "FILE")]
    pub database_password_file: Option<PathBuf>,

    /// The same database as the role that applies the schema, makes the role above and lets it do its work, a superuser.
    /// It is connected as only where something of that is missing. Left out, the role above applies the schema.
    #[arg(long, env = "PELEJA_MIGRATION", hide_env_values = true)]
    pub migration: Option<tokio_postgres::Config>,

    /// A file that holds the password of the role that applies the schema.
    #[arg(long, env = "PELEJA_MIGRATION_PASSWORD_FILE", value_name = "FILE", requires = "migration")]
    pub migration_password_file: Option<PathBuf>,

    /// Connections that store people. Each carries one commit at a time; more of them make smaller groups, not more
    /// throughput, until the disk can flush in parallel.
    #[arg(long, env = "PELEJA_WRITERS", default_value_t = 1, value_parser = connections())]
    pub writers: u16,

    /// Connections that fetch, and as many that search, while the instance does not remember everyone. Too few and a slow
    /// search delays the next; too many take the CPU from everything else in the database.
    #[arg(long, env = "PELEJA_READERS", default_value_t = 2, value_parser = connections())]
    pub readers: u16,

    /// MiB that everyone together may take in memory, to answer fetches and searches from; a person takes about 150 bytes.
    /// With more people than fit, the database answers, and a search reads the whole table, for as long as patience
    /// lasts. Too much, and the instance is killed where its memory is limited. 0 remembers nobody.
    #[arg(long, env = "PELEJA_MEMORY", default_value_t = 784, value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    pub memory: u32,

    /// The most people in one statement. 1 stores each on its own.
    #[arg(long, env = "PELEJA_BATCH", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,

    /// Requests that may wait for a connection; one more is answered 503 at once.
    #[arg(long, env = "PELEJA_QUEUE", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue: u32,

    /// The one processor to run on, the same that nginx runs on: waking somebody on another one takes an interrupt, a
    /// seventh of all that a request costs where machines are virtual. Left out where the machine does not allow it.
    #[arg(long, env = "PELEJA_PROCESSOR", value_parser = clap::value_parser!(u16).range(..1024))]
    pub processor: Option<u16>,

    /// Seconds that a request may take before it is answered 503. Long enough for a restart of the database to pass
    /// unseen, shorter than the patience of whoever asks, and so much less than 5 that the answer is there within those.
    #[arg(long, env = "PELEJA_PATIENCE", default_value = "4.9", value_parser = seconds)]
    pub patience: Duration,

    /// Seconds that requests under way get to finish after SIGTERM.
    #[arg(long, env = "PELEJA_GRACE", default_value = "8", value_parser = seconds)]
    pub grace: Duration,

    /// Ask the instance that listens at the address whether it is ready, and end with 0 if it is: a health check for
    /// images that hold no HTTP client.
    #[arg(long)]
    pub check: bool,
}

impl Config {
    /// The configuration of this process, with the passwords that files hold. Ends the process where there is none.
    pub fn of_process() -> Self {
        let config = Self::parse();
        config.complete().unwrap_or_else(|fault| Self::command().error(ErrorKind::ValueValidation, fault).exit())
    }

    fn complete(mut self) -> Result<Self, String> {
        [Some(&self.database), self.migration.as_ref()].into_iter().flatten().try_for_each(check_hosts)?;
        if let Some(file) = &self.database_password_file {
            self.database.password(password(file)?);
        }
        let Some(migration) = &mut self.migration else { return Ok(self) };
        if let Some(file) = &self.migration_password_file {
            migration.password(password(file)?);
        }
        // The one role takes from the other whatever it does not need.
        match (self.database.get_user(), migration.get_user()) {
            (Some(own), Some(other)) if own != other => Ok(self),
            _ => Err("--database and --migration must each name a user, and not the same".into()),
        }
    }
}

/// A standby would show people as they were, and each host its own.
fn check_hosts(database: &tokio_postgres::Config) -> Result<(), String> {
    let (hosts, ports, addresses) =
        (database.get_hosts().len(), database.get_ports().len(), database.get_hostaddrs().len());
    if hosts > 1 && database.get_target_session_attrs() != TargetSessionAttrs::ReadWrite {
        return Err("several hosts want target_session_attrs=read-write".into());
    }
    if ports > 1 && ports != hosts || addresses > 0 && addresses != hosts {
        return Err("want one port for all hosts, or a port, and an address or none, for each".into());
    }
    Ok(())
}

fn password(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{}: there is no password in it", file.display())),
        password => Ok(password.to_owned()),
    }
}

fn connections() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=64)
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=300.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("want seconds between 0.1 and 300".into()),
    }
}

/// Where an instance listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`.
    Tcp(String),
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // sun_path holds 108 bytes with its final zero, see unix(7).
            return match path.len() {
                0 => Err("unix: wants a path".into()),
                1..=107 => Ok(Self::Unix(path.into())),
                _ => Err("a socket's path may have 107 bytes".into()),
            };
        }
        let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        port.map(|_| Self::Tcp(text.into())).ok_or_else(|| "want HOST:PORT or unix:PATH".into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tcp_or_unix() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Address::Tcp("127.0.0.1:80".into())));
        assert_eq!("unix:/run/a.sock".parse(), Ok(Address::Unix("/run/a.sock".into())));
        for bad in ["", "80", "host", "host:", "host:99999", "unix:"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        assert!(format!("unix:/{}", "x".repeat(107)).parse::<Address>().is_err());
    }

    #[test]
    fn a_password_may_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let complete = |words: &[&str]| {
            let own =
                ["peleja", "--database", "user=own password=x", "--database-password-file", file.to_str().unwrap()];
            Config::try_parse_from(own.iter().chain(words)).unwrap().complete()
        };
        assert!(complete(&[]).unwrap_err().contains("password: No such file"));
        fs::write(&file, "\n").unwrap();
        assert!(complete(&[]).unwrap_err().contains("no password in it"));
        fs::write(&file, "two words \r\n").unwrap();
        assert_eq!(complete(&[]).unwrap().database.get_password(), Some(&b"two words "[..]));
        let other = ["--migration", "user=other", "--migration-password-file", file.to_str().unwrap()];
        assert_eq!(complete(&other).unwrap().migration.unwrap().get_password(), Some(&b"two words "[..]));
        for same in ["user=own", "host=/nowhere"] {
            assert!(complete(&["--migration", same]).unwrap_err().contains("not the same"), "{same}");
        }
    }

    #[test]
    fn several_hosts_must_say_that_one_takes_writes() {
        let complete = |database: &str| {
            let words = ["peleja", "--database", database];
            Config::try_parse_from(words).unwrap().complete().err().unwrap_or_default()
        };
        assert!(complete("host=a,b user=u").contains("read-write"));
        assert_eq!(complete("host=a,b user=u target_session_attrs=read-write"), "");
        assert_eq!(complete("host=a,b port=1,2 user=u target_session_attrs=read-write"), "");
        assert!(complete("host=a,b,c port=1,2 user=u target_session_attrs=read-write").contains("one port"));
        assert_eq!(complete("host=a user=u"), "");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for bad in [["--writers", "0"], ["--batch", "0"], ["--patience", "0"], ["--patience", "x"], ["--queue", "0"]] {
            assert!(Config::try_parse_from(["peleja"].into_iter().chain(bad)).is_err(), "{bad:?}");
        }
    }
}
