//! Starts the lab's own program, and talks to it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Response;

/// Long enough for a busy machine, and for a job that failed four times, which is tried again after e⁴ = 55 s. What is
/// waited for normally comes within a second.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A process of the lab. It ends when this is dropped.
pub struct Lab {
    child: Child,
    pub url: String,
}

impl Lab {
    /// Starts `lab` with these arguments on a free port, and waits until it listens.
    pub fn serve(arguments: &[&str]) -> Self {
        let mut child = command(arguments).args(["--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().split_once("http://").unwrap_or_else(|| panic!("no address in {line:?}")).1;
        Self { child, url: format!("http://{}", url.trim_end_matches('/')) }
    }

    /// Starts a part of the lab that does not listen.
    pub fn start(arguments: &[&str]) -> Self {
        let child = command(arguments).stdout(Stdio::null()).spawn().unwrap();
        Self { child, url: String::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = agent().get(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.call().unwrap())
    }

    /// Posts a urlencoded form.
    pub fn post_form(&self, path: &str, body: &str) -> Answer {
        self.post(path, "application/x-www-form-urlencoded", body.as_bytes(), &[])
    }

    pub fn post(&self, path: &str, media_type: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        self.try_post(path, media_type, body, headers).unwrap()
    }

    pub fn try_post(
        &self,
        path: &str,
        media_type: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Answer, ureq::Error> {
        let mut request = agent().post(format!("{}{path}", self.url));
        if !media_type.is_empty() {
            request = request.header("content-type", media_type);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(Answer::of(request.send(body)?))
    }

    /// Sends raw bytes on a connection of its own.
    pub fn connect(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    }

    /// Reads figures of the live stream until `wanted` says enough.
    pub fn watch(&self, path: &str, mut wanted: impl FnMut(&serde_json::Value) -> bool) {
        let stream = self.connect(&format!("GET {path} HTTP/1.1\r\nhost: lab\r\n\r\n"));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            if let Some(data) = line.strip_prefix("data: ")
                && wanted(&serde_json::from_str(data).unwrap())
            {
                return;
            }
        }
        panic!("{path} ended too early");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).env("LAB_HOST", "127.0.0.1").stdin(Stdio::null());
    command
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Answer {
    fn of(response: Response<ureq::Body>) -> Self {
        let (parts, mut body) = response.into_parts();
        let mut text = String::new();
        body.as_reader().read_to_string(&mut text).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, body: text }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE));
    config.build().into()
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}
