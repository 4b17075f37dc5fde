use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use redis::{Client, FromRedisValue};
use testing::soon;
use tokio::process::{Child, Command};

/// A `redis-server` with a folder of its own. It is killed when it is dropped.
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: PathBuf,
    flags: Vec<String>,
}

impl RedisServer {
    /// Starts a Redis that keeps its data in memory only.
    pub async fn start() -> Self {
        Self::start_with(&["--save", ""]).await
    }

    /// Starts a Redis that allows `DEBUG`. Before version 7 every Redis does, without a flag.
    pub async fn start_for_debug() -> Self {
        let version = std::process::Command::new(program()).arg("--version").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        match version.contains("v=6.") {
            true => Self::start().await,
            false => Self::start_with(&["--save", "", "--enable-debug-command", "yes"]).await,
        }
    }

    /// Starts a Redis with these flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!("redis-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        // In a cluster, a Redis also needs the port that is higher by 10,000. The system chooses its own
        // ports from 32768 on.
        let port = std::iter::repeat_with(testing::free_port).find(|port| *port < 22_000).unwrap();
        let child = spawn(&folder, port, &flags);
        let mut server = Self { child, port, folder, flags };
        assert!(server.answers().await, "no redis-server starts in {:?}", server.folder);
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it answers, or has ended.
    async fn answers(&mut self) -> bool {
        let answered = async {
            loop {
                match self.try_command::<String>(&["PING"]).await {
                    // A Redis that asks for a password has answered, too.
                    Err(error) if !error.to_string().contains("NOAUTH") => {}
                    _ => return true,
                }
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("an answer of redis-server", answered).await
    }

    /// Runs a command over a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_command(command).await.unwrap()
    }

    async fn try_command<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = Client::open(self.url())?;
        let config = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(testing::limit(Duration::from_secs(20))));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let (name, arguments) = command.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut connection).await
    }

    /// Replaces the value of a key with a value that `DUMP` has returned.
    pub async fn restore(&self, key: &str, dump: &[u8]) {
        let client = Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd("RESTORE");
        command.arg(key).arg(0).arg(dump).arg("REPLACE");
        let () = command.query_async(&mut connection).await.unwrap();
    }

    /// Makes this Redis a replica of `master`, and waits until it has the data of `master`.
    pub async fn replicates(&self, master: &Self) {
        let () = self.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]).await;
        let synced = async {
            loop {
                // While it loads the data it answers with an error.
                let info = self.try_command::<String>(&["INFO", "replication"]).await;
                if info.is_ok_and(|info| info.contains("master_link_status:up")) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("the replica's data", synced).await;
    }

    /// The value of the counter in this Redis.
    pub async fn value(&self) -> i64 {
        self.command::<Option<i64>>(&["HGET", "{counter}:counter", "value"]).await.unwrap_or(0)
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: testing::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Kills it with SIGKILL, so that it closes nothing.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again, on the same port and in the same folder.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.flags);
        assert!(self.answers().await, "redis-server did not start again");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        _ = self.child.start_kill();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path, port: u16, flags: &[String]) -> Child {
    let program = program();
    let child = Command::new(&program)
        // A file with a configuration has to come first.
        .args(flags)
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--repl-diskless-sync-delay",
            "0",
        ])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    child.unwrap_or_else(|error| panic!("{program} does not start: {error}; install redis-server"))
}

fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or("redis-server".into())
}
