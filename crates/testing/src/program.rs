//! Starts real binaries, reads their output, signals them and ends them.

use std::net::SocketAddr;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::soon;

/// A running server, which is killed when this is dropped.
pub struct Program {
    child: Child,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    stderr: Arc<Mutex<String>>,
    /// The first address on which it listens, or `0.0.0.0:0` for a Unix socket.
    pub address: SocketAddr,
    scheme: String,
}

impl Program {
    /// Starts `exe` and waits for its first `listening on` line.
    pub async fn start(exe: &str, args: &[&str]) -> Self {
        Self::start_command(Command::new(exe).args(args)).await
    }

    /// Does the same for a command with an environment, or with another program around it.
    pub async fn start_command(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut from = child.stderr.take().unwrap();
        let to = stderr.clone();
        tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut chunk).await {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
        });
        let first = soon("the listening line", stdout.next_line()).await.unwrap();
        let url = first.as_deref().and_then(|line| line.strip_prefix("listening on "));
        let unix = url.filter(|url| url.starts_with("unix:")).map(|_| ("unix", "0.0.0.0:0"));
        let tcp = url.and_then(|url| url.split_once("://"));
        let (scheme, address) = unix.or(tcp).unwrap_or_else(|| {
            panic!("no listening line but {first:?}; stderr: {}", stderr.lock().unwrap())
        });
        // Some programs name the path, too.
        let address = address.split('/').next().unwrap_or_default().parse().unwrap();
        Self { child, stdout: Some(stdout), stderr, address, scheme: scheme.to_owned() }
    }

    /// Returns the URL of the server, for example `ws://127.0.0.1:41399`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Returns the next line on stdout, or `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        let stdout = self.stdout.as_mut().unwrap();
        soon("a line on stdout", stdout.next_line()).await.unwrap()
    }

    /// Closes stdout, so that the program's next write to it fails.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Waits until stdout has a line that starts with `start`, and returns it.
    pub async fn line_with(&mut self, start: &str) -> String {
        loop {
            match self.line().await {
                Some(line) if line.starts_with(start) => return line,
                Some(_) => {}
                None => panic!("stdout ended without {start:?}; stderr: {}", self.log()),
            }
        }
    }

    /// Returns the text that it has written to stderr so far.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until stderr has this number of lines, and returns them. The last ones may arrive
    /// late.
    pub async fn log_of(&self, lines: usize) -> String {
        let written = async {
            while self.log().lines().count() < lines {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        soon("the log", written).await;
        self.log()
    }

    /// Waits until stderr contains `text`.
    pub async fn logged(&self, text: &str) {
        let seen = async {
            while !self.log().contains(text) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        if crate::within(seen).await.is_err() {
            panic!("{text:?} is not in the log: {}", self.log());
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends a signal, for example `Signal::TERM`.
    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    /// Sends SIGTERM.
    #[cfg(unix)]
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits for the end.
    pub async fn exit(&mut self) -> ExitStatus {
        soon("the program's end", self.child.wait()).await.unwrap()
    }

    /// Kills it at once.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Sends a signal to a process that has not been waited for. After a STOP, this returns only when
/// all of its threads have stopped.
#[cfg(unix)]
pub fn kill(pid: u32, signal: rustix::process::Signal) {
    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

    let pid = Pid::from_raw(pid as i32).unwrap();
    kill_process(pid, signal).unwrap();
    if signal == Signal::STOP {
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
    }
}

/// Runs `exe` to its end with `input` on stdin.
pub async fn run(exe: &str, args: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut child = Command::new(exe)
        .args(args)
        // Use no proxy, because the servers of the tests are on this machine.
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Ignore an error, because a program need not read its input. Read the output meanwhile,
    // because a program may answer while it reads.
    let write = async move { _ = stdin.write_all(input.as_ref()).await };
    let ((), output) =
        soon("the program's end", async { tokio::join!(write, child.wait_with_output()) }).await;
    output.unwrap()
}
