//! A connection to Redis, and what is called over it.

use std::ops::Range;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisError,
    Script,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

/// How long Redis may take to accept a connection, and to answer a call. Both and the pause are
/// less than the two seconds after which users may expect a Redis that is back to be seen.
const PATIENCE: Duration = Duration::from_millis(800);

/// The pause before another try to connect, in milliseconds: by chance, so that the nodes do not
/// all come at once.
const PAUSE: Range<u64> = 100..300;

/// Where Redis is, and what is called there.
pub struct Redis {
    client: Client,
    /// For messages: the URL may hold a password.
    pub address: String,
    script: Script,
    keys: [String; 3],
    channel: String,
}

/// A connection, and what comes over it unasked.
pub struct Line {
    /// Clones of it are the same connection.
    pub connection: MultiplexedConnection,
    /// The messages.
    pub pushes: UnboundedReceiver<PushInfo>,
    /// Redis was not read yet.
    pub new: bool,
}

impl Redis {
    /// Finds fault with the URL, and connects to nothing yet.
    pub fn new(url: &str, prefix: &str) -> common::Result<Self> {
        let usage = |_| "that is no Redis URL; give one like --redis redis://127.0.0.1:6379/";
        let info = url.into_connection_info().map_err(usage)?;
        let address = info.addr().to_string();
        // Version 3 of its protocol carries answers and messages over one connection, in order.
        let db = info.redis_settings().db();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self {
            client: Client::open(info.set_redis_settings(settings)).map_err(usage)?,
            address,
            script: Script::new(include_str!("counter.lua")),
            // In braces, so that a cluster keeps all in one place, where one script reaches them.
            keys: ["counter", "nodes", "epochs"].map(|key| format!("{{{prefix}}}:{key}")),
            // Channels are the same for all databases of a Redis, keys are not.
            channel: format!("{{{prefix}}}:news:{db}"),
        })
    }

    /// Connects and subscribes.
    pub async fn dial(&self) -> Result<Line, String> {
        self.try_dial().await.map_err(|error| explain(&error))
    }

    async fn try_dial(&self) -> redis::RedisResult<Line> {
        // The crate takes only an unbounded sender. The node empties it in every wait, and Redis
        // hangs up on a subscriber that is 32 MB behind.
        let (send, pushes) = unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_push_sender(send);
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(&self.channel).await?;
        Ok(Line { connection, pushes, new: true })
    }

    /// Tries until it works; at once, unless the last connection was of no use from the start.
    pub async fn redial(&self, mut pause: bool, mut failed: impl FnMut(&str)) -> Line {
        loop {
            if pause {
                sleep(Duration::from_millis(fastrand::u64(PAUSE))).await;
            }
            match self.dial().await {
                Ok(line) => return line,
                Err(why) => failed(&why),
            }
            pause = true;
        }
    }

    /// Calls the script; what it takes and returns is at its top.
    pub async fn call(
        &self,
        mut connection: MultiplexedConnection,
        arguments: [String; 7],
    ) -> Result<(Vec<u8>, u64, Vec<usize>, bool), String> {
        let mut call = self.script.prepare_invoke();
        call.key(&self.keys).arg(&self.channel).arg(&arguments);
        call.invoke_async(&mut connection).await.map_err(|error| explain(&error))
    }

    /// A sentence for a start that fails.
    pub fn unusable(&self, why: &str) -> String {
        let address = &self.address;
        format!("cannot use Redis at {address}: {why}; start it, or give another --redis URL")
    }
}

/// What went wrong, in a few words.
fn explain(error: &RedisError) -> String {
    if error.is_connection_refusal() {
        "connection refused".to_owned()
    } else if error.is_timeout() {
        format!("no answer within {PATIENCE:?}")
    } else {
        error.to_string()
    }
}
