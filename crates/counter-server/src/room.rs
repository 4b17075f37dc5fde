//! The state that all users share, and how they hear of its changes.
//!
//! Every change is encoded once, as the frame that goes over the wire, and appended to one tape.
//! Each user has a cursor into it: who wakes up takes all that lies between the cursor and the
//! end, in one write. That gives everyone the same events in the same order.
//!
//! The tape is bounded. A user who reads so slowly that the tape has moved past the cursor gets
//! the present users and state instead: values may be skipped, but never go backwards, and a
//! user who does not read costs the others neither time nor memory.
//!
//! Nobody is woken for each change. A change calls for a round, and the round begins when whoever
//! made the change has said what else it had to say: sixty-four clicks that came in one packet
//! are one write to each user, and a thousand users who come at once hear one number.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use common::events::{Action, Event};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// How much of the past is kept, in bytes: over 30,000 changes of the value. There is one tape for
/// all users, so that it costs little to let a user fall far behind without missing anything.
const TAPE: usize = 1 << 20;

/// How much a user takes at once, in bytes: what a slow user holds in memory.
const TAKE: usize = 16 << 10;

/// How many are woken at once. tokio turns to whoever has yielded after 61 other tasks, so that
/// these 32 have had their turn by then. With 128, its queue of 256 overflowed to a second one,
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
        (present.frames.into_iter().collect(), self.tape.end())
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
            None if shared.users_told == shared.users => Some(shared.present()),
            // The round that tells everyone of this newcomer comes first.
            None => None,
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

impl Drop for User {
    fn drop(&mut self) {
        self.room.change(|shared| shared.users -= 1);
    }
}

/// The newest frames, end to end. Positions count bytes since the first frame ever.
#[derive(Default)]
struct Tape {
    frames: VecDeque<u8>,
    start: u64,
    /// What a user took last, and from where to where it goes.
    taken: (Bytes, Range<u64>),
}

impl Tape {
    fn end(&self) -> u64 {
        self.start + self.frames.len() as u64
    }

    fn append(&mut self, event: &Event) {
        let frame = Frame::message(event.to_json(), OpCode::Data(Data::Text), true);
        // A VecDeque takes whatever is written.
        _ = frame.format(&mut self.frames);
        while self.frames.len() > TAPE {
            let first = self.frame_at(0);
            self.frames.drain(..first);
            self.start += first as u64;
        }
    }

    /// The length of the frame at `offset`, its header of two bytes included: our events have
    /// fewer than 126 bytes.
    fn frame_at(&self, offset: usize) -> usize {
        2 + self.frames.get(offset + 1).copied().unwrap_or_default() as usize
    }

    /// The whole frames after `cursor`, as many as a user takes, and where they end. `None` if
    /// they are no longer there.
    fn after(&mut self, cursor: u64) -> Option<(Bytes, u64)> {
        let from = usize::try_from(cursor.checked_sub(self.start)?).ok()?;
        let mut to = self.frames.len();
        if to - from > TAKE {
            to = from;
            while to + self.frame_at(to) - from <= TAKE {
                to += self.frame_at(to);
            }
        }
        let end = self.start + to as u64;
        // Those who keep up all take the same, and share it.
        let taken = cursor..end;
        if self.taken.1 != taken {
            let frames: Vec<u8> = self.frames.range(from..to).copied().collect();
            self.taken = (frames.into(), taken);
        }
        Some((self.taken.0.clone(), end))
    }
}

#[cfg(test)]
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
}
