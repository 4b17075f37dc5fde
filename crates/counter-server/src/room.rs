//! The state that all users share, and how they hear of its changes.
//!
//! Every change goes on one [`Tape`], into which each user has a cursor. That gives everyone the
//! same events in the same order. A user who reads so slowly that the tape has moved past the
//! cursor gets the present users and state instead: values may be skipped, but never go
//! backwards, and a user who does not read costs the others neither time nor memory.
//!
//! Nobody is woken for each change. A change calls for a round, and the round begins when whoever
//! made the change has said what else it had to say: sixty-four clicks that came in one packet
//! are one write to each user, and a thousand users who come at once hear one number.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::events::{Action, Event};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::tape::Tape;

/// How many are woken at once: about half of the 61 tasks that tokio runs before it turns to
/// whoever has yielded, so that what is woken does not pile up. With 128, its queue of 256 overflowed to a second one,
/// and at 1,000 users some waited there for 46 ms, twenty rounds of the others.
const WAKE: usize = 32;

/// The counter and its users.
#[derive(Default)]
pub struct Room {
    shared: Mutex<Shared>,
    /// Calls for a round.
    round: Notify,
}

#[derive(Default)]
struct Shared {
    value: i64,
    users: usize,
    /// The number of users that the tape says.
    users_told: usize,
    tape: Tape,
    /// Who waits for news, each once.
    asleep: Vec<Waker>,
    /// How often they were woken: tells a user whether it is among `asleep`.
    rounds: u64,
    /// Somebody sleeps who has heard nothing yet.
    newcomers: bool,
    /// The end of the tape when the last round began.
    woken_to: u64,
    /// The next round is called for already.
    called: bool,
}

impl Room {
    /// A room with a value of 0 and a task that wakes its users.
    pub fn open() -> Arc<Self> {
        let room = Arc::new(Self::default());
        tokio::spawn(Arc::clone(&room).wake_users());
        room
    }

    /// Adds a user, until it is dropped.
    pub fn register(self: &Arc<Self>) -> User {
        self.change(|shared| shared.users += 1);
        User { room: Arc::clone(self), cursor: None, slept_in: None }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        let shared = &mut *self.shared.lock();
        let result = change(shared);
        if !shared.called {
            shared.called = true;
            self.round.notify_one();
        }
        result
    }

    /// In each round everyone is woken who sleeps at its beginning, so that nobody is woken twice
    /// while another waits.
    async fn wake_users(self: Arc<Self>) {
        let mut asleep = Vec::new();
        loop {
            self.round.notified().await;
            {
                let mut shared = self.shared.lock();
                if shared.begin_round() {
                    std::mem::swap(&mut asleep, &mut shared.asleep);
                }
            }
            let mut wakers = asleep.drain(..);
            while wakers.len() > 0 {
                wakers.by_ref().take(WAKE).for_each(Waker::wake);
                yield_now().await;
            }
        }
    }
}

impl Shared {
    /// Whether it is time to wake those who sleep. Now the tape is told of users who came or
    /// went: a thousand who came since the last round are one event, rather than a thousand for
    /// each of the thousand.
    fn begin_round(&mut self) -> bool {
        self.called = false;
        if self.users_told != self.users {
            self.users_told = self.users;
            self.tape.append(&Event::Users { count: self.users });
        }
        let news = std::mem::replace(&mut self.woken_to, self.tape.end()) != self.tape.end();
        let due = std::mem::take(&mut self.newcomers) || news;
        self.rounds += u64::from(due);
        due
    }

    /// Everything there is to know, and where the tape goes on.
    fn present(&self) -> (Bytes, u64) {
        let mut present = Tape::default();
        present.append(&Event::Users { count: self.users_told });
        present.append(&Event::State { value: self.value });
        (present.into_bytes(), self.tape.end())
    }
}

/// One user's place in the room.
pub struct User {
    room: Arc<Room>,
    /// Where on the tape the user is; `None` before it has heard anything.
    cursor: Option<u64>,
    /// The round before which it went to sleep.
    slept_in: Option<u64>,
}

impl User {
    /// Changes the value and tells everyone, this user included.
    ///
    /// # Errors
    ///
    /// A sentence for the user when the value cannot go further.
    pub fn apply(&self, action: Action) -> Result<(), String> {
        self.room.change(|shared| {
            let value = match action {
                Action::Plus => shared.value.checked_add(1),
                Action::Minus => shared.value.checked_sub(1),
            };
            shared.value = value.ok_or("the counter can go no further in this direction")?;
            shared.tape.append(&Event::State { value: shared.value });
            Ok(())
        })
    }

    /// Waits for what this user has not heard yet, as encoded frames. Cancel safe; always to be
    /// awaited in the same task.
    pub async fn news(&mut self) -> Bytes {
        poll_fn(|cx| self.poll_news(cx)).await
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let shared = &mut *self.room.shared.lock();
        let next = match self.cursor {
            Some(cursor) => Some(shared.tape.after(cursor).unwrap_or_else(|| shared.present())),
            // The round that tells everyone of this newcomer comes first.
            None if shared.users_told != shared.users && !self.slept_through(shared) => None,
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
}

impl User {
    /// Whether a round has begun since this user went to sleep.
    fn slept_through(&self, shared: &Shared) -> bool {
        self.slept_in.is_some_and(|round| round != shared.rounds)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.room.change(|shared| shared.users -= 1);
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "in a test, a panic is a failure")]
mod tests {
    use super::*;

    #[test]
    fn a_step_beyond_either_end_of_i64_is_refused_and_changes_nothing() {
        let room = Arc::new(Room::default());
        let user = room.register();
        for (end, beyond, back) in
            [(i64::MAX, Action::Plus, Action::Minus), (i64::MIN, Action::Minus, Action::Plus)]
        {
            room.shared.lock().value = end;
            let told = room.shared.lock().tape.end();
            assert!(user.apply(beyond).is_err());
            assert_eq!(room.shared.lock().value, end);
            assert_eq!(room.shared.lock().tape.end(), told);
            assert!(user.apply(back).is_ok());
        }
    }

    #[test]
    fn a_newcomer_is_let_in_after_one_round_however_many_come_and_go() {
        let room = Arc::new(Room::default());
        let cx = &mut Context::from_waker(Waker::noop());
        let mut newcomer = room.register();
        assert!(newcomer.poll_news(cx).is_pending());
        assert!(room.shared.lock().begin_round());
        let _another = room.register();
        let Poll::Ready(news) = newcomer.poll_news(cx) else { panic!("it was not let in") };
        assert!(String::from_utf8_lossy(&news).contains(r#"{"type":"users","count":1}"#));
    }
}
