//! This server as one of several: the task that talks to Redis.
//!
//! A connection to Redis lives for one session: connect, subscribe, read, then click and listen.
//! Subscribed first and read then, nothing that is published is missed in between. Whatever goes
//! wrong ends the session, and the next one has a new connection, so that no click ever goes to a
//! Redis that this node has not read yet. The crate's connection manager reconnects by itself,
//! and would carry clicks to a Redis that has come back with older data.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use common::events::Action;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, Msg, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, Script,
};
use tokio::select;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, unbounded_channel};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info};

use super::news::{self, Known};
use super::{QUEUE, Refusals, Request, UNKNOWN};
use crate::room::sharing::Sharing;
use crate::room::{BEYOND, Room, UNREACHABLE};

/// How long Redis may take to accept a connection, and to answer a call. Both and the pause are
/// less than the two seconds after which users may expect a Redis that is back to be seen.
const PATIENCE: Duration = Duration::from_millis(800);

/// The pause before another try to connect, in milliseconds: by chance, so that the nodes do not
/// all come at once.
const PAUSE: Range<u64> = 100..300;

/// One of the servers that share a counter.
pub struct Node {
    redis: Redis,
    heartbeat: Duration,
    requests: Receiver<Request>,
    /// Told when users come and go.
    users: Arc<Notify>,
    known: Known,
    /// The first connection, until the node starts.
    line: Line,
}

/// Where Redis is, and what is called there.
struct Redis {
    client: Client,
    /// For messages: the URL may hold a password.
    address: String,
    script: Script,
    keys: [String; 2],
    channel: String,
}

/// A connection, and what comes over it unasked.
struct Line {
    connection: MultiplexedConnection,
    pushes: UnboundedReceiver<PushInfo>,
    /// Redis was not read yet.
    new: bool,
}

/// What the script answers, the news left out.
struct Answer {
    /// Until another node's lease ends.
    wait: Duration,
    /// Which clicks were refused, in ascending order.
    refused: Vec<usize>,
}

type Clicks = Vec<(Action, Arc<Refusals>)>;

impl Node {
    /// Connects for the first time.
    pub(super) async fn connect(
        url: &str,
        sharing: &Sharing,
        requests: Receiver<Request>,
        users: Arc<Notify>,
    ) -> common::Result<Self> {
        let redis = Redis::new(url, &sharing.redis_prefix)?;
        let line = redis.dial().await.map_err(|error| redis.unusable(&explain(&error)))?;
        let known = Known::new(format!("{:016x}", fastrand::u64(..)));
        Ok(Self { redis, heartbeat: sharing.redis_heartbeat, requests, users, known, line })
    }

    /// Reads the counter, and from then on keeps `room` and Redis together.
    ///
    /// # Errors
    ///
    /// A sentence when the first call fails.
    pub async fn start(mut self, room: Arc<Room>) -> common::Result<()> {
        let first = self.ask(&room, "", false).await;
        first.map_err(|why| self.redis.unusable(&why))?;
        debug!("sharing the counter by way of Redis at {}", self.redis.address);
        tokio::spawn(async move { self.run(&room).await });
        Ok(())
    }

    async fn run(mut self, room: &Room) {
        while let Err(why) = self.session(room).await {
            news::lost(room, &why);
            self.line = select! {
                line = self.redis.redial(room, self.line.new) => line,
                () = refuse_all(&mut self.requests) => return,
            };
        }
    }

    /// Goes on until this server leaves, or the connection is of no more use.
    async fn session(&mut self, room: &Room) -> Result<(), String> {
        let mut clicks = Clicks::new();
        let mut leave = false;
        loop {
            let answer = self.ask(room, &signs(&clicks), leave).await;
            settle(&mut clicks, answer.as_ref().ok());
            let wait = answer?.wait;
            if leave {
                return Ok(());
            }
            let beat = Instant::now() + wait.min(self.heartbeat);
            let mut request = None;
            while !self.known.stale && request.is_none() {
                select! {
                    push = self.line.pushes.recv() => hear(&mut self.known, room, push)?,
                    first = self.requests.recv() => request = first,
                    () = self.users.notified() => break,
                    () = sleep_until(beat) => break,
                }
            }
            // One call for all that came while the last one was under way, and for those who have
            // a click to hand in by now.
            yield_now().await;
            while let Some(next) = request.take().or_else(|| self.requests.try_recv().ok()) {
                match next {
                    Request::Click(action, refusals) => clicks.push((action, refusals)),
                    Request::Leave => leave = true,
                }
                if clicks.len() == QUEUE {
                    break;
                }
            }
        }
    }

    /// Calls the script, and listens meanwhile.
    async fn ask(&mut self, room: &Room, clicks: &str, leave: bool) -> Result<Answer, String> {
        let asked = self.known.seq;
        self.known.stale = false;
        let users = if leave { 0 } else { room.shared.lock().users };
        let lease = if leave { Duration::ZERO } else { self.heartbeat * 3 / 2 };
        let mut call = self.redis.script.prepare_invoke();
        call.key(&self.redis.keys).arg(&self.redis.channel).arg(&self.known.node).arg(users);
        call.arg(lease.as_millis() as u64).arg(clicks).arg(u8::from(self.line.new));
        let mut connection = self.line.connection.clone();
        let answer = call.invoke_async(&mut connection);
        tokio::pin!(answer);
        let answer: RedisResult<(Vec<u8>, u64, Vec<usize>)> = loop {
            select! {
                answer = &mut answer => break answer,
                // Over a new connection, the answer comes first.
                push = self.line.pushes.recv(), if !self.line.new => {
                    hear(&mut self.known, room, push)?;
                }
            }
        };
        let (json, wait, refused) = answer.map_err(|error| explain(&error))?;
        // What was published before the answer is before it in time, too.
        while !self.line.new
            && let Ok(push) = self.line.pushes.try_recv()
        {
            hear(&mut self.known, room, Some(push))?;
        }
        self.known.answer(room, &json, asked)?;
        self.line.new = false;
        Ok(Answer { wait: Duration::from_millis(wait), refused })
    }
}

impl Redis {
    fn new(url: &str, prefix: &str) -> common::Result<Self> {
        let usage = |_| "that is no Redis URL; give one like --redis redis://127.0.0.1:6379/";
        let info = url.into_connection_info().map_err(usage)?;
        let address = info.addr().to_string();
        // Version 3 of its protocol carries answers and messages over one connection, in order.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self {
            client: Client::open(info.set_redis_settings(settings)).map_err(usage)?,
            address,
            script: Script::new(include_str!("counter.lua")),
            // In braces, so that a cluster keeps both in one place, where one script reaches them.
            keys: ["counter", "nodes"].map(|key| format!("{{{prefix}}}:{key}")),
            channel: format!("{{{prefix}}}:news"),
        })
    }

    async fn dial(&self) -> RedisResult<Line> {
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
    async fn redial(&self, room: &Room, mut pause: bool) -> Line {
        loop {
            if pause {
                sleep(Duration::from_millis(fastrand::u64(PAUSE))).await;
            }
            match self.dial().await {
                Ok(line) => return line,
                Err(error) => news::lost(room, &explain(&error)),
            }
            pause = true;
        }
    }

    fn unusable(&self, why: &str) -> String {
        let address = &self.address;
        format!("cannot use Redis at {address}: {why}; start it, or give another --redis URL")
    }
}

/// Takes what came unasked.
fn hear(known: &mut Known, room: &Room, push: Option<PushInfo>) -> Result<(), String> {
    let push = push.filter(|push| push.kind != PushKind::Disconnection);
    // What is no message says that we are subscribed.
    if let Some(message) = Msg::from_push_info(push.ok_or("the connection is closed")?) {
        known.message(room, message.get_payload_bytes());
    }
    Ok(())
}

/// The clicks as the script takes them.
fn signs(clicks: &Clicks) -> String {
    let sign = |action| match action {
        Action::Plus => '+',
        Action::Minus => '-',
    };
    clicks.iter().map(|(action, _)| sign(*action)).collect()
}

/// Tells those whose clicks were refused, or of whose clicks nobody knows.
fn settle(clicks: &mut Clicks, answer: Option<&Answer>) {
    let all = clicks.len();
    let mut refused = 0;
    for (n, (_, refusals)) in clicks.drain(..).enumerate() {
        let why = match answer {
            Some(answer) if answer.refused.binary_search(&n).is_err() => continue,
            Some(_) => BEYOND,
            None => UNKNOWN,
        };
        refusals.add(why);
        refused += 1;
    }
    if refused > 0 {
        let why = if answer.is_some() { "refused" } else { "without an answer" };
        info!("{refused} of {all} clicks were {why}");
    }
}

/// Refuses what is asked for while there is no Redis. Ends when this server leaves.
async fn refuse_all(requests: &mut Receiver<Request>) {
    while let Some(Request::Click(_, refusals)) = requests.recv().await {
        refusals.add(UNREACHABLE);
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
