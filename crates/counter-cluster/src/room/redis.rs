//! One counter over many servers: the room's link to Redis.
//!
//! The counter is in Redis, not in the messages. A click goes into a queue; the [`Node`], one task
//! of this server, takes all that wait there and hands them to Redis in one call of a script
//! (`counter.lua`), which changes the value, numbers the change and publishes it. Every node hears
//! of it, this one included, and writes the values on its tape. From there on all is as in memory.
//!
//! A call is made once. If its answer is lost, nobody knows whether the clicks were counted, so
//! they are not made again, and their users are told.

mod line;
mod news;
mod node;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::events::{Action, Event};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::UNREACHABLE;
use super::sharing::Sharing;
use crate::tape::Tape;

pub use node::Node;

/// How many clicks wait at most, and go in one call. Redis does nothing else during a call: 1,024
/// clicks keep it for less than a millisecond. Who clicks when the queue is full waits in line.
const QUEUE: usize = 1024;

/// How long the last call may take when the server stops.
const LEAVE: Duration = Duration::from_secs(1);

/// What is said to a user when the answer of Redis was lost.
const UNKNOWN: &str = "the shared counter did not answer; nobody knows if your click was counted";

/// What a user's click and the node that carries it out have in common.
pub struct Link {
    queue: mpsc::Sender<Request>,
    users: Arc<Notify>,
}

/// What the node is asked for.
enum Request {
    Click(Action, Arc<Refusals>),
    Leave,
}

/// The link, if one is asked for, and the node at its other end.
///
/// # Errors
///
/// A sentence when Redis cannot be reached.
pub async fn link(sharing: &Sharing) -> common::Result<Option<(Link, Node)>> {
    let Some(url) = sharing.redis.as_deref().filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let (queue, requests) = mpsc::channel(QUEUE);
    let users = Arc::new(Notify::new());
    let node = Node::connect(url, sharing, requests, Arc::clone(&users)).await?;
    Ok(Some((Link { queue, users }, node)))
}

impl Link {
    /// Hands a click in. Waits for a place in the queue, not for the answer: a refusal comes
    /// later, by way of `refusals`.
    ///
    /// # Errors
    ///
    /// A sentence for the user when the server is about to end.
    pub async fn click(
        &self,
        action: Action,
        refusals: &mut Option<Arc<Refusals>>,
    ) -> Result<(), String> {
        let refusals = Arc::clone(refusals.get_or_insert_default());
        let request = Request::Click(action, refusals);
        self.queue.send(request).await.map_err(|_| UNREACHABLE.to_owned())
    }

    /// Tells the others of the number of users here.
    pub fn users_changed(&self) {
        self.users.notify_one();
    }

    /// Takes this node out of the total, rather than let the others wait for the end of its lease.
    pub async fn leave(&self) {
        if self.queue.send(Request::Leave).await.is_ok() {
            _ = timeout(LEAVE, self.queue.closed()).await;
        }
    }
}

/// The refusals that a user has not been told yet.
#[derive(Default)]
pub struct Refusals {
    waiting: Mutex<Vec<&'static str>>,
    user: AtomicWaker,
}

impl Refusals {
    fn add(&self, why: &'static str) {
        self.waiting.lock().push(why);
        self.user.wake();
    }

    /// Takes them, as encoded frames.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Bytes> {
        self.user.register(cx.waker());
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return Poll::Pending;
        }
        let mut frames = Tape::default();
        for why in waiting {
            frames.append(&Event::Error { message: why.to_owned() });
        }
        Poll::Ready(frames.into_bytes())
    }
}
