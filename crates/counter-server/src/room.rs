//! The state that all users share, and how they hear of its changes.
//!
//! Every change is encoded once, as the frame that goes over the wire, and appended to one tape.
//! Each user has a cursor into it: who wakes up takes all that lies between the cursor and the
//! end, in one write. That gives everyone the same events in the same order.
//!
//! The tape is bounded. A user who reads so slowly that the tape has moved past the cursor gets
//! the present users and state instead: values may be skipped, but never go backwards, and a
//! user who does not read costs the others neither time nor memory.

use std::collections::VecDeque;

use bytes::Bytes;
use common::events::{Action, Event};
use parking_lot::Mutex;
use tokio::sync::watch;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// How much of the past is kept, in bytes: about 8,000 changes of the value.
const TAPE: usize = 256 << 10;

/// How much a user takes at once, in bytes: what a slow user holds in memory.
const TAKE: usize = 16 << 10;

/// The counter and its users.
pub struct Room {
    shared: Mutex<Shared>,
    /// Moves when `shared` has changed.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Shared {
    value: i64,
    users: usize,
    /// The number of users that the tape says.
    users_told: usize,
    tape: Tape,
}

impl Default for Room {
    fn default() -> Self {
        Self { shared: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Room {
    /// Adds a user, until it is dropped.
    pub fn register(&self) -> User<'_> {
        let changed = self.changed.subscribe();
        self.shared.lock().users += 1;
        self.changed.send_replace(());
        User { room: self, changed, cursor: None }
    }

    /// Changes the value and tells everyone.
    ///
    /// # Errors
    ///
    /// A sentence for the user when the value cannot go further.
    pub fn apply(&self, action: Action) -> Result<(), String> {
        let mut shared = self.shared.lock();
        let value = match action {
            Action::Plus => shared.value.checked_add(1),
            Action::Minus => shared.value.checked_sub(1),
        };
        shared.value = value.ok_or("the counter can go no further in this direction")?;
        let state = shared.state();
        shared.tape.append(&state);
        drop(shared);
        self.changed.send_replace(());
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> Event {
        Event::State { value: self.value }
    }

    /// Tells of users who came or went. Done late, when somebody wants to know, so that a
    /// thousand who come at once are one event rather than a thousand for each of the thousand.
    fn tell_users(&mut self) {
        if self.users_told != self.users {
            self.users_told = self.users;
            self.tape.append(&Event::Users { count: self.users });
        }
    }
}

/// One user's place in the room.
pub struct User<'a> {
    room: &'a Room,
    changed: watch::Receiver<()>,
    /// Where on the tape the user is; `None` before it has heard anything.
    cursor: Option<u64>,
}

impl User<'_> {
    /// Waits for what this user has not heard yet, as encoded frames. Cancel safe.
    pub async fn news(&mut self) -> Bytes {
        loop {
            self.changed.mark_unchanged();
            let news = self.take();
            if !news.is_empty() {
                return news;
            }
            // The room outlives its users, so this cannot fail.
            _ = self.changed.changed().await;
        }
    }

    fn take(&mut self) -> Bytes {
        let mut shared = self.room.shared.lock();
        shared.tell_users();
        let (news, cursor) = match self.cursor.and_then(|cursor| shared.tape.after(cursor)) {
            Some(next) => next,
            None => {
                let mut present = Tape::default();
                present.append(&Event::Users { count: shared.users });
                present.append(&shared.state());
                (present.frames.into_iter().collect(), shared.tape.end())
            }
        };
        self.cursor = Some(cursor);
        news
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.room.shared.lock().users -= 1;
        self.room.changed.send_replace(());
    }
}

/// The newest frames, end to end. Positions count bytes since the first frame ever.
#[derive(Default)]
struct Tape {
    frames: VecDeque<u8>,
    start: u64,
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
    fn after(&self, cursor: u64) -> Option<(Bytes, u64)> {
        let from = usize::try_from(cursor.checked_sub(self.start)?).ok()?;
        let mut to = self.frames.len();
        if to - from > TAKE {
            to = from;
            while to + self.frame_at(to) - from <= TAKE {
                to += self.frame_at(to);
            }
        }
        let frames: Vec<u8> = self.frames.range(from..to).copied().collect();
        Some((frames.into(), self.start + to as u64))
    }
}
