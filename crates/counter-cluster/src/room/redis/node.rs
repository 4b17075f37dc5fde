//! This server as one of several: the task that talks to Redis.
//!
//! A connection to Redis lives for one session: connect, subscribe, read, then click and listen.
//! Subscribed first and read then, nothing that is published is missed in between. Whatever goes
//! wrong ends the session, and the next one has a new connection, so that no click ever goes to a
//! Redis that this node has not read yet. The crate's connection manager reconnects by itself,
//! and would carry clicks to a Redis that has come back with older data.

use std::sync::Arc;
use std::time::Duration;

use common::events::Action;
use redis::{Msg, PushInfo, PushKind};
use tokio::select;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::line::{Line, Redis};
use super::news::{self, Known};
use super::{QUEUE, Refusals, Request, UNKNOWN};
use crate::room::sharing::Sharing;
use crate::room::{BEYOND, Room, UNREACHABLE};

/// One of the servers that share a counter.
pub struct Node {
    redis: Redis,
    heartbeat: Duration,
    requests: Receiver<Request>,
    /// Told when users come and go.
    users: Arc<Notify>,
    known: Known,
    /// The first connection, until the node starts.
    line: Option<Line>,
    /// This server is about to end.
    leaving: bool,
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
        let line = redis.dial().await.map_err(|why| redis.unusable(&why))?;
        let known = Known::new(format!("{:016x}", fastrand::u64(..)));
        Ok(Self {
            redis,
            heartbeat: sharing.redis_heartbeat,
            requests,
            users,
            known,
            line: Some(line),
            leaving: false,
        })
    }

    /// Reads the counter, and from then on keeps `room` and Redis together.
    ///
    /// # Errors
    ///
    /// A sentence when the first call fails.
    pub async fn start(mut self, room: Arc<Room>) -> common::Result<()> {
        let Some(mut line) = self.line.take() else { return Ok(()) };
        let first = self.ask(&room, &mut line, "").await;
        first.map_err(|why| self.redis.unusable(&why))?;
        debug!("sharing the counter by way of Redis at {}", self.redis.address);
        tokio::spawn(async move { self.run(&room, line).await });
        Ok(())
    }

    async fn run(mut self, room: &Room, mut line: Line) {
        while let Err(why) = self.session(room, &mut line).await
            && !self.leaving
        {
            news::lost(room, &why);
            let useless = line.new;
            // Not kept until there is another: it may be the last that Redis allows, and what is
            // still published on it would pile up here.
            drop(line);
            let redial = self.redis.redial(useless, |why| news::lost(room, why));
            line = select! {
                line = redial => line,
                () = refuse_all(&mut self.requests) => return,
            };
        }
    }

    /// Goes on until this server leaves, or the connection is of no more use.
    async fn session(&mut self, room: &Room, line: &mut Line) -> Result<(), String> {
        let mut clicks = Clicks::new();
        loop {
            let answer = self.ask(room, line, &signs(&clicks)).await;
            settle(&mut clicks, answer.as_ref().ok());
            let wait = answer?.wait;
            if self.leaving {
                return Ok(());
            }
            let beat = Instant::now() + wait.min(self.heartbeat);
            let mut request = None;
            while !self.known.stale && request.is_none() {
                select! {
                    push = line.pushes.recv() => hear(&mut self.known, room, push)?,
                    first = self.requests.recv() => request = first,
                    () = self.users.notified() => break,
                    () = sleep_until(beat) => break,
                }
            }
            // One call for all that came while the last one was under way.
            while let Some(next) = request.take().or_else(|| self.requests.try_recv().ok()) {
                match next {
                    Request::Click(action, refusals) => clicks.push((action, refusals)),
                    Request::Leave => self.leaving = true,
                }
                if clicks.len() == QUEUE {
                    break;
                }
            }
        }
    }

    /// Calls the script, and listens meanwhile.
    async fn ask(&mut self, room: &Room, line: &mut Line, clicks: &str) -> Result<Answer, String> {
        self.known.stale = false;
        let users = if self.leaving { 0 } else { room.shared.lock().users };
        let lease = if self.leaving { Duration::ZERO } else { self.heartbeat * 3 / 2 };
        let arguments = [
            self.known.node.clone(),
            users.to_string(),
            lease.as_millis().to_string(),
            clicks.to_owned(),
            u8::from(line.new).to_string(),
            self.known.epoch.clone(),
            self.known.seq.to_string(),
        ];
        let answer = self.redis.call(line.connection.clone(), arguments);
        tokio::pin!(answer);
        let (json, wait, refused, lost) = loop {
            select! {
                answer = &mut answer => break answer?,
                push = line.pushes.recv() => hear(&mut self.known, room, push)?,
            }
        };
        // What was published before the answer is before it in time, too.
        while let Ok(push) = line.pushes.try_recv() {
            hear(&mut self.known, room, Some(push))?;
        }
        self.known.answer(room, &json, lost)?;
        line.new = false;
        Ok(Answer { wait: Duration::from_millis(wait), refused })
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
