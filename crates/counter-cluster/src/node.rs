//! The node: the one task of this server that talks to Redis.
//!
//! The counter is in Redis, not in the messages. The node takes all clicks from the queue and sends
//! them to Redis in one call of a script (`counter.lua`), which changes the value, numbers the
//! change and publishes it. All servers receive the update, including this one.
//!
//! A connection to Redis lives for one session: connect, subscribe, read, then click and listen.
//! The node subscribes before it reads, so it misses nothing that is published in between. Any
//! failure ends the session, and the next session has a new connection. So no click ever goes to a
//! Redis that this server has not read yet. The connection manager of the redis crate reconnects by
//! itself, and would send clicks to a Redis that has come back with older data.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common::events::Action;
use redis::Msg;
use tokio::select;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use websockets::fanout::Fanout;

use crate::click::{Click, NO_REPLY, OUT_OF_RANGE, REDIS_ERROR, UNREACHABLE};
use crate::connection::{Connection, Failure, Redis, Reply};
use crate::counter::Counter;
use crate::flags::ClusterFlags;
use crate::update::Update;

/// How many clicks the queue holds, and how many go in one call. Redis does nothing else during a
/// call, and 1,024 clicks take less than a millisecond. When the queue is full, a handler waits.
pub const MAX_QUEUED_CLICKS: usize = 1024;

/// One of the servers that share a counter.
pub struct Node {
    redis: Redis,
    heartbeat: Duration,
    clicks: mpsc::Receiver<Click>,
    counter: Arc<Fanout<Counter>>,
    users_changed: Arc<Notify>,
    /// Resolves when this server is about to end.
    leave: oneshot::Receiver<()>,
}

impl Node {
    /// Connects and reads the counter. Then a task sends clicks to Redis and applies its updates.
    ///
    /// # Errors
    ///
    /// An error message if Redis cannot be used.
    pub async fn start(
        flags: &ClusterFlags,
        clicks: mpsc::Receiver<Click>,
        counter: Arc<Fanout<Counter>>,
        leave: oneshot::Receiver<()>,
    ) -> websockets::Result<JoinHandle<()>> {
        let redis = Redis::new(flags.redis()?, &flags.redis_prefix)?;
        let users_changed = counter.read(|counter| Arc::clone(&counter.users_changed));
        let heartbeat = flags.redis_heartbeat;
        let node = Self { redis, heartbeat, clicks, counter, users_changed, leave };
        let first_read = async {
            let mut connection = node.redis.connect().await?;
            node.call(&mut connection, &[], node.lease()).await?;
            Ok(connection)
        };
        let connection = first_read.await.map_err(|failure| node.redis.startup_error(&failure))?;
        Ok(tokio::spawn(node.run(connection)))
    }

    async fn run(mut self, mut connection: Connection) {
        while let Err(failure) = self.run_session(&mut connection).await {
            let on_failure =
                |reason: &str| self.counter.change(|counter, to_all| counter.fail(reason, to_all));
            on_failure(&failure.reason);
            let wait_first = connection.is_new;
            // Drop the old connection before there is a new one, because Redis may allow no more
            // connections, and because messages that are still published on it would pile up here.
            drop(connection);
            connection = select! {
                connection = self.redis.reconnect(wait_first, on_failure) => connection,
                () = refuse_all(&mut self.clicks) => return,
                _ = &mut self.leave => return,
            };
        }
    }

    /// Runs until this server leaves, or until the connection fails.
    async fn run_session(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        // The first call has no clicks, it only reads.
        let mut clicks = Vec::new();
        loop {
            let reply = self.call(connection, &clicks, self.lease()).await;
            report_refused(&mut clicks, reply.as_ref());
            let next_call = Instant::now() + reply?.next_expiry.min(self.heartbeat);
            while !connection.needs_resync {
                select! {
                    message = connection.next_message() => {
                        connection.needs_resync = !self.apply_message(&message?);
                    }
                    // One call takes all clicks that arrived during the last call.
                    1.. = self.clicks.recv_many(&mut clicks, MAX_QUEUED_CLICKS) => break,
                    () = self.users_changed.notified() => break,
                    () = sleep_until(next_call) => break,
                    _ = &mut self.leave, if self.clicks.is_empty() => {
                        // This server leaves even if the call fails.
                        _ = self.call(connection, &[], Duration::ZERO).await;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The time for which Redis keeps this server in its list without another call. Redis removes
    /// a server that has stopped within two heartbeats.
    fn lease(&self) -> Duration {
        self.heartbeat * 3 / 2
    }

    /// Calls the script, and applies the messages that arrive meanwhile. With a lease of 0, Redis
    /// removes this server from its list.
    async fn call(
        &self,
        connection: &mut Connection,
        clicks: &[Click],
        lease: Duration,
    ) -> Result<Reply, Failure> {
        let sign = |click: &Click| if click.action == Action::Plus { '+' } else { '-' };
        let clicks: String = clicks.iter().map(sign).collect();
        let (lease, is_new) = (lease.as_millis() as u64, u8::from(connection.is_new));
        let args = self.counter.read(|counter| {
            let users = if lease == 0 { 0 } else { counter.users_here };
            (counter.node.clone(), users, lease, clicks, is_new, counter.epoch.clone(), counter.seq)
        });
        connection.needs_resync = false;
        let mut reply = pin!(self.redis.call(connection.commands.clone(), args));
        let reply = loop {
            select! {
                reply = &mut reply => break reply?,
                message = connection.next_message() => {
                    connection.needs_resync |= !self.apply_message(&message?);
                }
            }
        };
        // Messages that arrived before the reply are older than the reply, so they come first.
        while let Ok(message) = connection.messages.try_recv() {
            connection.needs_resync |= !self.apply_message(&message);
        }
        let update = Update::from_json(&reply.update).map_err(Failure::outcome_unknown)?;
        self.counter.change(|counter, to_all| counter.apply_reply(&update, reply.is_lost, to_all));
        connection.is_new = false;
        Ok(reply)
    }

    /// Applies a published update. Returns `false` if an update is missing, so that this server
    /// must ask Redis.
    fn apply_message(&self, message: &Msg) -> bool {
        let update = Update::from_json(message.get_payload_bytes());
        update.inspect_err(|error| warn!("{error}")).is_ok_and(|update| {
            self.counter.change(|counter, to_all| counter.apply_update(&update, to_all))
        })
    }
}

/// Tells each user whose click was not counted, or whose click may not have been counted.
fn report_refused(clicks: &mut Vec<Click>, reply: Result<&Reply, &Failure>) {
    let total = clicks.len();
    let mut refused = 0;
    for (n, click) in clicks.drain(..).enumerate() {
        click.refuse(match reply {
            Ok(reply) if reply.refused.binary_search(&n).is_err() => continue,
            Ok(_) => OUT_OF_RANGE,
            Err(failure) if failure.is_error_reply => REDIS_ERROR,
            Err(_) => NO_REPLY,
        });
        refused += 1;
    }
    if refused > 0 {
        let reason = if reply.is_ok() { "out of range" } else { "refused or without a reply" };
        info!("{refused} of {total} clicks: {reason}");
    }
}

/// Refuses all clicks while there is no connection. Returns when no handler can click any more.
async fn refuse_all(clicks: &mut mpsc::Receiver<Click>) {
    while let Some(click) = clicks.recv().await {
        click.refuse(UNREACHABLE);
    }
}
