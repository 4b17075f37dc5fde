//! One user of the room: its clicks go in, and what it has not heard yet comes out.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::events::{Action, Event};

use super::redis::Refusals;
use super::{BEYOND, Room, Shared, UNREACHABLE};

/// One user's place in the room.
pub struct User {
    room: Arc<Room>,
    /// Where on the tape the user is; `None` before it has heard anything.
    cursor: Option<u64>,
    /// The round before which it went to sleep.
    slept_in: Option<u64>,
    /// Clicks of this user that Redis refused; from the first click on, if there is a Redis.
    refusals: Option<Arc<Refusals>>,
}

impl User {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { room, cursor: None, slept_in: None, refusals: None }
    }

    /// Changes the value and tells everyone, this user included. Where the value is in Redis, it
    /// is changed a little later, and a refusal may come with the [`news`](Self::news).
    ///
    /// # Errors
    ///
    /// A sentence for the user when the value cannot go further, or is out of reach.
    pub async fn apply(&mut self, action: Action) -> Result<(), String> {
        if let Some(link) = &self.room.link {
            return match self.room.trouble() {
                None => link.click(action, &mut self.refusals).await,
                Some(_) => Err(UNREACHABLE.to_owned()),
            };
        }
        self.room.change(|shared| {
            let value = match action {
                Action::Plus => shared.value.checked_add(1),
                Action::Minus => shared.value.checked_sub(1),
            };
            shared.value = value.ok_or(BEYOND)?;
            shared.tape.append(&Event::State { value: shared.value });
            Ok(())
        })
    }

    /// Waits for what this user has not heard yet, as encoded frames. Cancel safe; always to be
    /// awaited in the same task.
    pub async fn news(&mut self) -> Bytes {
        poll_fn(|cx| self.poll_news(cx)).await
    }

    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if let Some(refusals) = &self.refusals
            && let Poll::Ready(refusals) = refusals.poll(cx)
        {
            return Poll::Ready(refusals);
        }
        let shared = &mut *self.room.shared.lock();
        let next = match self.cursor {
            Some(cursor) => Some(shared.tape.after(cursor).unwrap_or_else(|| shared.present())),
            // The round that tells everyone of this newcomer comes first.
            None if shared.users_told != shared.all_users() && !self.slept_through(shared) => None,
            None => Some(shared.present()),
        };
        if let Some((news, cursor)) = next
            && !news.is_empty()
        {
            self.cursor = Some(cursor);
            return Poll::Ready(news);
        }
        shared.newcomers |= self.cursor.is_none();
        if self.slept_in != Some(shared.rounds) {
            self.slept_in = Some(shared.rounds);
            shared.asleep.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether a round has begun since this user went to sleep.
    fn slept_through(&self, shared: &Shared) -> bool {
        self.slept_in.is_some_and(|round| round != shared.rounds)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.room.count_users(|users| users - 1);
    }
}
