//! A connection to Redis, and what is called over it.

use std::convert::Infallible;
use std::ops::Range;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, Msg, ProtocolVersion, PushInfo, PushKind,
    RedisError, Script,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

/// How long Redis may take to accept a connection, and to answer a call. Both and the pause are
/// less than the two seconds after which users may expect a Redis that is back to be seen.
const PATIENCE: Duration = Duration::from_millis(800);

/// The pause before another try to connect, in milliseconds: by chance, so that the servers do not
/// all come at once.
const PAUSE: Range<u64> = 100..300;

/// The commands that a user of Redis must be allowed, as `ACL SETUSER` takes them.
const COMMANDS: &str = "+subscribe +publish +evalsha +script|load +hget +hset +hdel +hgetall \
                        +hincrby +time +info";

/// Where Redis is, and what is called there.
pub struct Redis {
    client: Client,
    /// For messages: the URL may hold a password.
    address: String,
    prefix: String,
    script: Script,
    keys: [String; 3],
    channel: String,
}

/// A connection that is subscribed to the channel.
pub struct Connection {
    /// Clones of it are the same connection.
    pub calls: MultiplexedConnection,
    /// `None`: it has ended.
    messages: UnboundedReceiver<Option<Msg>>,
    /// Nothing was called yet.
    pub is_new: bool,
    /// Some update did not come, or was not understood: Redis must be asked.
    pub has_missed: bool,
}

/// What the script takes; its top says more.
pub struct Call {
    pub node: String,
    pub users: usize,
    pub lease: Duration,
    pub clicks: String,
    pub is_new: bool,
    pub epoch: String,
    pub seq: u64,
}

/// What it returns.
pub struct Reply {
    /// As JSON.
    pub update: Vec<u8>,
    /// Until the next lease of another server ends.
    pub next_end: Duration,
    /// Which clicks would leave the range, in ascending order.
    pub refused: Vec<usize>,
    /// What the caller knew, Redis knows no longer.
    pub is_lost: bool,
}

/// Why a connection is of no more use.
pub struct Failure {
    /// A few words.
    pub why: String,
    /// Redis has said so itself: the call was not carried out.
    pub is_error_reply: bool,
}

impl Redis {
    /// Finds fault with the URL, and connects to nothing yet.
    ///
    /// # Errors
    ///
    /// A sentence that has no part of the URL in it.
    pub fn new(url: &str, name: &str) -> common::Result<Self> {
        let usage = |_| "that is no Redis URL; give one like --redis redis://127.0.0.1:6379/";
        let info = url.into_connection_info().map_err(usage)?;
        let address = info.addr().to_string();
        let db = info.redis_settings().db();
        // Version 3 of its protocol carries replies and messages over one connection, in order.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // In braces, so that a cluster keeps all in one place, where one script reaches them.
        let prefix = format!("{{{name}}}:");
        Ok(Self {
            client: Client::open(info.set_redis_settings(settings)).map_err(usage)?,
            address,
            script: Script::new(include_str!("counter.lua")),
            keys: ["counter", "nodes", "epochs"].map(|key| format!("{prefix}{key}")),
            // Channels are the same for all databases of a Redis, keys are not.
            channel: format!("{prefix}updates:{db}"),
            prefix,
        })
    }

    /// Connects and subscribes.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        // Unbounded, because the crate cannot wait. The node empties it in every wait, and Redis
        // hangs up on a subscriber that is 32 MB behind.
        let (send, messages) = unbounded_channel();
        let on_push = move |push: PushInfo| {
            let has_ended = push.kind == PushKind::Disconnection;
            let message = Msg::from_push_info(push);
            // What is neither says that we are subscribed.
            if has_ended || message.is_some() {
                _ = send.send(message);
            }
            Ok::<_, Infallible>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_push_sender(on_push);
        let mut calls = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        calls.subscribe(&self.channel).await?;
        self.script.load_async(&mut calls).await?;
        Ok(Connection { calls, messages, is_new: true, has_missed: false })
    }

    /// Tries until it works; at once, unless the last connection was of no use from the start.
    pub async fn reconnect(&self, mut pause: bool, failed: impl Fn(&str)) -> Connection {
        loop {
            if pause {
                sleep(Duration::from_millis(fastrand::u64(PAUSE))).await;
            }
            match self.connect().await {
                Ok(connection) => return connection,
                Err(failure) => failed(&failure.why),
            }
            pause = true;
        }
    }

    /// Calls the script, once: a call whose reply is lost may have been carried out.
    pub async fn call(
        &self,
        mut connection: MultiplexedConnection,
        call: Call,
    ) -> Result<Reply, Failure> {
        let mut script = self.script.prepare_invoke();
        script.key(&self.keys).arg(&self.channel);
        script.arg(call.node).arg(call.users).arg(call.lease.as_millis() as u64).arg(call.clicks);
        script.arg(u8::from(call.is_new)).arg(call.epoch).arg(call.seq);
        let (update, next_end, refused, is_lost) = script.invoke_async(&mut connection).await?;
        Ok(Reply { update, next_end: Duration::from_millis(next_end), refused, is_lost })
    }

    /// A sentence for a start that fails.
    pub fn unusable(&self, failure: &Failure) -> String {
        let Self { address, prefix, .. } = self;
        let why = &failure.why;
        // What a script may not do is a plain ERR; the words are those of Redis 7.0 and of Valkey.
        let no_right = ["NOPERM", "The user executing the script can't", "ACL failure in script"];
        let remedy = if no_right.iter().any(|words| why.contains(words)) {
            format!("give its user ~{prefix}* &{prefix}updates:* {COMMANDS}")
        } else if why.contains("certificate") {
            "let this system trust who signed it; on Linux SSL_CERT_FILE may name a file".to_owned()
        } else if failure.is_error_reply {
            "mend that, or give another --redis URL".to_owned()
        } else {
            "start it, or give another --redis URL".to_owned()
        };
        format!("cannot use Redis at {address}: {why}; {remedy}")
    }
}

impl Connection {
    /// The next published message. Cancel safe.
    pub async fn message(&mut self) -> Result<Msg, Failure> {
        self.messages.recv().await.flatten().ok_or_else(closed)
    }

    /// A published message that has come already.
    pub fn try_message(&mut self) -> Result<Option<Msg>, Failure> {
        self.messages.try_recv().ok().map(|message| message.ok_or_else(closed)).transpose()
    }
}

fn closed() -> Failure {
    Failure::lost("the connection is closed")
}

impl Failure {
    /// A failure that leaves open what was carried out.
    pub fn lost(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_error_reply: false }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let why = if error.is_connection_refusal() {
            "connection refused".to_owned()
        } else if error.is_timeout() {
            format!("no answer within {PATIENCE:?}")
        } else if let Some(code) = error.code() {
            // In Redis' own words.
            let words = error.detail().unwrap_or_default();
            format!("{code} {}", words.trim_end_matches('.'))
        } else {
            error.to_string()
        };
        Self { why, is_error_reply: error.code().is_some() }
    }
}
