//! This server as one of several: the task that talks to Redis.
//!
//! The counter is in Redis, not in the messages. This task takes all clicks that wait and hands
//! them to Redis in one call of a script (`counter.lua`), which changes the value, numbers the
//! change and publishes it. All servers hear of it, this one included.
//!
//! A connection to Redis lives for one session: connect, subscribe, read, then click and listen.
//! Subscribed first and read then, nothing that is published is missed in between. Whatever goes
//! wrong ends the session, and the next one has a new connection, so that no click ever goes to a
//! Redis that this server has not read yet. The crate's connection manager reconnects by itself,
//! and would carry clicks to a Redis that has come back with older data.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common::events::Action;
use common::fanout::Fanout;
use redis::Msg;
use tokio::select;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::click::{Click, Refusal};
use crate::connection::{Call, Connection, Failure, Redis, Reply};
use crate::counter::Counter;
use crate::flags::ClusterFlags;
use crate::update::Update;

/// How many clicks wait at most, and go in one call. Redis does nothing else during a call: 1,024
/// clicks keep it for less than a millisecond. Who clicks when the queue is full waits in line.
pub const QUEUE: usize = 1024;

/// One of the servers that share a counter.
pub struct Node {
    redis: Redis,
    heartbeat: Duration,
    clicks: mpsc::Receiver<Click>,
    counter: Arc<Fanout<Counter>>,
    users_changed: Arc<Notify>,
    /// Ends when this server is about to.
    leave: oneshot::Receiver<()>,
}

impl Node {
    /// Connects, reads the counter, and from then on carries clicks to Redis and updates back.
    ///
    /// # Errors
    ///
    /// A sentence when Redis cannot be used.
    pub async fn start(
        flags: &ClusterFlags,
        clicks: mpsc::Receiver<Click>,
        counter: Arc<Fanout<Counter>>,
        leave: oneshot::Receiver<()>,
    ) -> common::Result<JoinHandle<()>> {
        let redis = Redis::new(flags.redis()?, &flags.redis_prefix)?;
        let users_changed = counter.read(|counter| Arc::clone(&counter.users_changed));
        let heartbeat = flags.redis_heartbeat;
        let node = Self { redis, heartbeat, clicks, counter, users_changed, leave };
        let first_read = async {
            let mut connection = node.redis.connect().await?;
            node.call(&mut connection, &[], node.lease()).await?;
            Ok(connection)
        };
        let connection = first_read.await.map_err(|failure| node.redis.unusable(&failure))?;
        Ok(tokio::spawn(node.run(connection)))
    }

    async fn run(mut self, mut connection: Connection) {
        while let Err(failure) = self.session(&mut connection).await {
            let failed =
                |why: &str| self.counter.change(|counter, to_all| counter.fail(why, to_all));
            failed(&failure.why);
            let was_useless = connection.is_new;
            // Not kept until there is another: it may be the last that Redis allows, and what is
            // still published on it would pile up here.
            drop(connection);
            connection = select! {
                connection = self.redis.reconnect(was_useless, failed) => connection,
                () = refuse_all(&mut self.clicks) => return,
                _ = &mut self.leave => return,
            };
        }
    }

    /// Goes on until this server leaves, or the connection is of no more use.
    async fn session(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        // The first call only reads.
        let mut clicks = Vec::new();
        loop {
            let reply = self.call(connection, &clicks, self.lease()).await;
            settle(&mut clicks, reply.as_ref());
            let beat = Instant::now() + reply?.next_end.min(self.heartbeat);
            while !connection.has_missed {
                select! {
                    message = connection.message() => connection.has_missed = !self.follow(&message?),
                    // One call for all that came while the last one was under way.
                    1.. = self.clicks.recv_many(&mut clicks, QUEUE) => break,
                    () = self.users_changed.notified() => break,
                    () = sleep_until(beat) => break,
                    _ = &mut self.leave, if self.clicks.is_empty() => {
                        // Whether it is heard or not: this server is going.
                        _ = self.call(connection, &[], Duration::ZERO).await;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// One that was not renewed is gone, at the latest, when two heartbeats have passed.
    fn lease(&self) -> Duration {
        self.heartbeat * 3 / 2
    }

    /// Calls the script, and listens meanwhile. A lease of 0 says goodbye.
    async fn call(
        &self,
        connection: &mut Connection,
        clicks: &[Click],
        lease: Duration,
    ) -> Result<Reply, Failure> {
        let call = self.counter.read(|counter| Call {
            node: counter.node.clone(),
            users: if lease.is_zero() { 0 } else { counter.users_here },
            lease,
            clicks: clicks.iter().map(sign).collect(),
            epoch: counter.epoch.clone(),
            seq: counter.seq,
            is_new: connection.is_new,
        });
        connection.has_missed = false;
        let mut reply = pin!(self.redis.call(connection.calls.clone(), call));
        let reply = loop {
            select! {
                reply = &mut reply => break reply?,
                message = connection.message() => connection.has_missed |= !self.follow(&message?),
            }
        };
        // What was published before the reply is before it in time, too.
        while let Some(message) = connection.try_message()? {
            connection.has_missed |= !self.follow(&message);
        }
        let update = Update::from_json(&reply.update).map_err(Failure::lost)?;
        self.counter.change(|counter, to_all| counter.take(&update, reply.is_lost, to_all));
        connection.is_new = false;
        Ok(reply)
    }

    /// Takes what was published. `false`: something is missing, and Redis must be asked.
    fn follow(&self, message: &Msg) -> bool {
        match Update::from_json(message.get_payload_bytes()) {
            Ok(update) => self.counter.change(|counter, to_all| counter.follow(&update, to_all)),
            Err(why) => {
                warn!("{why}");
                false
            }
        }
    }
}

/// A click as the script takes it.
fn sign(click: &Click) -> char {
    match click.action {
        Action::Plus => '+',
        Action::Minus => '-',
    }
}

/// Tells those whose clicks were refused, or of whose clicks nobody knows.
fn settle(clicks: &mut Vec<Click>, reply: Result<&Reply, &Failure>) {
    let all = clicks.len();
    let mut refused = 0;
    for (n, click) in clicks.drain(..).enumerate() {
        let refusal = match reply {
            Ok(reply) if reply.refused.binary_search(&n).is_err() => continue,
            Ok(_) => Refusal::OutOfRange,
            Err(failure) if failure.is_error_reply => Refusal::Refused,
            Err(_) => Refusal::NoReply,
        };
        click.refuse(refusal);
        refused += 1;
    }
    if refused > 0 {
        let why = if reply.is_ok() { "out of range" } else { "refused or without a reply" };
        info!("{refused} of {all} clicks: {why}");
    }
}

/// Refuses all clicks while there is no connection. Ends when there can be no more.
async fn refuse_all(clicks: &mut mpsc::Receiver<Click>) {
    while let Some(click) = clicks.recv().await {
        click.refuse(Refusal::Unreachable);
    }
}
