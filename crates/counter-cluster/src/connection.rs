//! A connection to Redis, and the calls of the script over it.

use std::ops::Range;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, Msg, ProtocolVersion, PushInfo, RedisError,
    Script, ToRedisArgs,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

/// The time limit for Redis to accept a connection, and to answer a call. Together with the delay
/// below it is less than two seconds, so that users soon see that Redis is back.
const REDIS_TIMEOUT: Duration = Duration::from_millis(800);

/// The delay before the next attempt to connect, in milliseconds. It is random, so that the servers
/// do not all connect at the same moment.
const RECONNECT_DELAY_MS: Range<u64> = 100..300;

/// The commands that a user of Redis must be allowed, as `ACL SETUSER` takes them.
const REQUIRED_COMMANDS: &str = "+subscribe +publish +evalsha +script|load +hget +hset +hdel \
                                 +hgetall +hincrby +time +info";

/// The address of Redis, and the script with its keys and its channel.
pub struct Redis {
    client: Client,
    /// The address for error messages, because the URL may hold a password.
    address: String,
    prefix: String,
    script: Script,
    keys: [String; 3],
    channel: String,
}

/// A connection that is subscribed to the channel.
pub struct Connection {
    /// A handle for commands. Clones of it use the same connection.
    pub commands: MultiplexedConnection,
    /// The published messages. It is closed when the connection has ended.
    pub messages: UnboundedReceiver<Msg>,
    /// No call has succeeded on this connection yet.
    pub is_new: bool,
    /// An update was missing or invalid, so this server must ask Redis.
    pub needs_resync: bool,
}

/// The reply of the script.
pub struct Reply {
    /// The update as JSON.
    pub update: Vec<u8>,
    /// The time until the next lease of another server ends.
    pub next_expiry: Duration,
    /// The indexes of the clicks that would leave the range, in ascending order.
    pub refused: Vec<usize>,
    /// Redis has lost changes that the caller knows.
    pub is_lost: bool,
}

/// The reason why a connection cannot be used any more.
pub struct Failure {
    /// A few words for an error message.
    pub reason: String,
    /// Redis itself replied with this error, so the call was not carried out.
    pub is_error_reply: bool,
}

impl Redis {
    /// Checks the URL. It does not connect yet.
    ///
    /// # Errors
    ///
    /// An error message if the URL is invalid. It contains no part of the URL.
    pub fn new(url: &str, name: &str) -> websockets::Result<Self> {
        let invalid_url = |_| "invalid Redis URL; pass one like --redis redis://127.0.0.1:6379/";
        let info = url.into_connection_info().map_err(invalid_url)?;
        let address = info.addr().to_string();
        let db = info.redis_settings().db();
        // Version 3 of its protocol carries replies and messages over one connection, in order.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // A script needs all keys on one server. With the braces, a proxy that spreads keys over
        // several servers keeps them together.
        let prefix = format!("{{{name}}}:");
        Ok(Self {
            client: Client::open(info.set_redis_settings(settings)).map_err(invalid_url)?,
            address,
            script: Script::new(include_str!("counter.lua")),
            keys: ["counter", "nodes", "epochs"].map(|key| format!("{prefix}{key}")),
            // Each database of a Redis has its own keys, but all of them share the channels.
            channel: format!("{prefix}updates:{db}"),
            prefix,
        })
    }

    /// Connects and subscribes.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        // Unbounded, because the crate's callback cannot wait. It stays small, because the node
        // empties it in every wait and Redis disconnects a subscriber that is 32 MB behind.
        let (send, messages) = unbounded_channel();
        let on_push = move |push: PushInfo| match Msg::from_push_info(push) {
            Some(message) => send.send(message).map_err(drop),
            // Any other push confirms the subscription, or reports that the connection has ended.
            None => Ok(()),
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_TIMEOUT))
            .set_response_timeout(Some(REDIS_TIMEOUT))
            .set_push_sender(on_push);
        let mut commands =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // A node of a cluster has only some keys, and a sentinel has none.
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut commands).await?;
        let mode = info.lines().find_map(|line| line.strip_prefix("redis_mode:"));
        if let Some(mode @ ("cluster" | "sentinel")) = mode {
            return Err(Failure::wrong_mode(mode));
        }
        commands.subscribe(&self.channel).await?;
        self.script.load_async(&mut commands).await?;
        Ok(Connection { commands, messages, is_new: true, needs_resync: false })
    }

    /// Tries to connect until it succeeds. With `wait_first`, even the first attempt waits for the
    /// delay, because the last connection failed before its first reply.
    pub async fn reconnect(&self, mut wait_first: bool, on_failure: impl Fn(&str)) -> Connection {
        loop {
            if wait_first {
                sleep(Duration::from_millis(fastrand::u64(RECONNECT_DELAY_MS))).await;
            }
            match self.connect().await {
                Ok(connection) => return connection,
                Err(failure) => on_failure(&failure.reason),
            }
            wait_first = true;
        }
    }

    /// Calls the script, and never repeats a call. If the reply is lost, Redis may already have
    /// carried out the call. The comment at the top of the script explains the arguments, which
    /// follow the channel.
    pub async fn call(
        &self,
        mut connection: MultiplexedConnection,
        args: impl ToRedisArgs,
    ) -> Result<Reply, Failure> {
        let mut script = self.script.prepare_invoke();
        script.key(&self.keys).arg(&self.channel).arg(args);
        let (update, next_expiry, refused, is_lost) = script.invoke_async(&mut connection).await?;
        Ok(Reply { update, next_expiry: Duration::from_millis(next_expiry), refused, is_lost })
    }

    /// The error message for a server that cannot start because of this failure.
    pub fn startup_error(&self, failure: &Failure) -> String {
        let Self { address, prefix, .. } = self;
        let reason = &failure.reason;
        // A script that lacks a right fails with a plain ERR, so we compare the text of the error.
        // Redis 7.0 and Valkey use different texts.
        let acl_errors = ["NOPERM", "The user executing the script can't", "ACL failure in script"];
        let hint = if acl_errors.iter().any(|text| reason.contains(text)) {
            format!("give its user ~{prefix}* &{prefix}updates:* {REQUIRED_COMMANDS}")
        } else if reason.contains("certificate") {
            "make this system trust its CA; on Linux SSL_CERT_FILE may name a file".to_owned()
        } else if failure.is_error_reply {
            "fix this, or pass another --redis URL".to_owned()
        } else {
            "start it, or pass another --redis URL".to_owned()
        };
        format!("cannot use Redis at {address}: {reason}; {hint}")
    }
}

impl Connection {
    /// Waits for the next published message. Cancel safe.
    pub async fn next_message(&mut self) -> Result<Msg, Failure> {
        let message = self.messages.recv().await;
        message.ok_or_else(|| Failure::outcome_unknown("the connection is closed"))
    }
}

impl Failure {
    /// A failure after which a call may or may not have been carried out.
    pub fn outcome_unknown(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_error_reply: false }
    }

    fn wrong_mode(mode: &str) -> Self {
        let reason =
            format!("it runs as a {mode}, but only a single Redis or its primary can be used");
        Self { reason, is_error_reply: true }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let reason = if error.is_connection_refusal() {
            "connection refused".to_owned()
        } else if error.is_timeout() {
            format!("no answer within {REDIS_TIMEOUT:?}")
        } else if let Some(code) = error.code() {
            let detail = error.detail().unwrap_or_default();
            format!("{code} {}", detail.trim_end_matches('.'))
        } else {
            error.to_string()
        };
        Self { reason, is_error_reply: error.code().is_some() }
    }
}
