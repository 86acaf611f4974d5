//! A stack for the tests: the whole of it, on ports and in a folder of its own, and gone when the last test lets go.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arena::stack::Running;
use arena::stack::native::{Native, Options};
use arena::stack::ports::free_port;
use arena::stack::prerequisites::{self, Install, Tool};
use arena::stack::process;
use arena::workspace::Workspace;
use nix::sys::signal::Signal;
use postgres::{Client, NoTls};

/// A running stack.
pub struct Stack {
    native: Native,
    running: Running,
    options: Options,
    // Removed after the stack has ended.
    folder: tempfile::TempDir,
}

impl Stack {
    /// The one that tests share as long as they only look at people of their own.
    pub fn shared() -> Arc<Stack> {
        static SHARED: Mutex<Weak<Stack>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let stack = Arc::new(Stack::own());
            *shared = Arc::downgrade(&stack);
            stack
        })
    }

    /// One that a test may break.
    pub fn own() -> Stack {
        prerequisites::ensure(&[Tool::Postgres, Tool::Nginx], Install::Refused).unwrap();
        let folder = tempfile::Builder::new().prefix("peleja-e2e-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let options = Options {
            port: free_port().unwrap(),
            database_port: Some(free_port().unwrap()),
            limits: false,
            overlays: Vec::new(),
            program: env!("CARGO_BIN_EXE_peleja").into(),
            supervisor: None,
            detours: None,
        };
        let native = Native::at(&folder.path().join("stack"));
        let running = native.up(&Workspace::find().unwrap(), &options).unwrap();
        Stack { native, running, options, folder }
    }

    /// `HOST:PORT` of nginx.
    pub fn address(&self) -> &str {
        self.running.url.strip_prefix("http://").unwrap()
    }

    /// The Unix socket of an instance.
    pub fn socket(&self, instance: &str) -> PathBuf {
        self.folder.path().join("stack/run").join(format!("{instance}.sock"))
    }

    /// The contender's program as the stack runs it.
    pub fn program(&self) -> &Path {
        &self.options.program
    }

    /// Connection string of the database.
    pub fn database_parameters(&self) -> &str {
        &self.running.database
    }

    /// Another client of the database.
    pub fn database(&self) -> Client {
        Client::connect(&self.running.database, NoTls).unwrap()
    }

    /// Sends a signal to a service's main process.
    pub fn signal(&self, service: &str, signal: Signal) {
        let pid = self.native.processes().main[service];
        process::signal([pid], signal);
    }

    /// Kills a service and waits until all its processes are gone.
    pub fn kill(&self, service: &str) {
        self.signal(service, Signal::SIGKILL);
        assert!(process::wait_until(Duration::from_secs(20), || !self.runs(service)), "{service} is still there");
    }

    /// Whether any process of a service is there.
    pub fn runs(&self, service: &str) -> bool {
        self.native.processes().main.contains_key(service)
    }

    /// The process that does a service's work: nginx's is a child of its main one.
    pub fn worker(&self, service: &str) -> i32 {
        let main = self.native.processes().main[service];
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        children.split_whitespace().next().and_then(|child| child.parse().ok()).unwrap_or(main)
    }

    /// Starts one more instance with settings of its own, and waits until it takes connections.
    pub fn another_instance(&self, name: &str, settings: &[&str]) -> Instance {
        self.another_instance_at(name, self.database_parameters(), settings)
    }

    /// The same with a connection string of its own.
    pub fn another_instance_at(&self, name: &str, database: &str, settings: &[&str]) -> Instance {
        let socket = self.socket(name);
        let mut command = Command::new(self.program());
        command.arg("--listen").arg(format!("unix:{}", socket.display()));
        command.args(["--database", database]).args(settings);
        let instance = Instance { socket, process: command.spawn().unwrap() };
        let listens = || UnixStream::connect(&instance.socket).is_ok();
        assert!(process::wait_until(Duration::from_secs(10), listens), "{name} does not listen");
        instance
    }

    /// Starts whatever does not run.
    pub fn mend(&self) {
        self.native.up(&Workspace::find().unwrap(), &self.options).unwrap();
    }
}

/// An instance beside those of a stack.
pub struct Instance {
    pub socket: PathBuf,
    process: Child,
}

impl Instance {
    /// What the kernel tells of its process.
    pub fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap()
    }

    /// The most memory that its process has had at a time, in MiB.
    pub fn peak_memory_mib(&self) -> usize {
        let status = self.status();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }

    /// Asks it to end, and waits until it has.
    pub fn end(&mut self) -> ExitStatus {
        if let Some(status) = self.process.try_wait().unwrap() {
            return status;
        }
        process::signal([self.process.id() as i32], Signal::SIGTERM);
        self.process.wait().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Stopped processes cannot end.
        process::signal(self.native.processes().all, Signal::SIGCONT);
        if let Err(error) = self.native.down(true) {
            eprintln!("ending the stack: {error:#}");
        }
    }
}
