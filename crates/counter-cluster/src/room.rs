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
//!
//! With `--redis` the value is in Redis, and this room is one of several: its clicks go there by
//! way of a [`Link`], and what becomes of them is put on the tape as if it had happened here.

#[cfg_attr(not(feature = "redis"), path = "room/no_redis.rs")]
mod redis;
mod sharing;
mod user;

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use common::events::Event;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;

use self::redis::Link;
pub use self::sharing::Sharing;
use self::user::User;
use crate::tape::Tape;

/// How many are woken at once: about half of the 61 tasks that tokio runs before it turns to
/// whoever has yielded, so that what is woken does not pile up. With 128, its queue of 256 overflowed to a second one,
/// and at 1,000 users some waited there for 46 ms, twenty rounds of the others.
const WAKE: usize = 32;

/// What is said to a user whose click would leave the range of an i64.
const BEYOND: &str = "the counter can go no further in this direction";

/// What is said to a user who clicks while there is no Redis.
const UNREACHABLE: &str = "the shared counter is unreachable; try again";

/// What is said to everyone then.
const AWAY: &str = "the shared counter is unreachable; this value may be out of date";

/// The counter and its users.
#[derive(Default)]
pub struct Room {
    shared: Mutex<Shared>,
    /// Calls for a round.
    round: Notify,
    /// Where the value is kept, if not here.
    link: Option<Link>,
}

#[derive(Default)]
struct Shared {
    value: i64,
    users: usize,
    /// Users of other servers.
    elsewhere: usize,
    /// Why the value cannot be changed at present.
    away: Option<String>,
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
    /// A room with a value of 0, or with the one that is in Redis, and a task that wakes its
    /// users.
    ///
    /// # Errors
    ///
    /// A sentence when Redis cannot be reached.
    pub async fn open(sharing: &Sharing) -> common::Result<Arc<Self>> {
        let (link, node) = redis::link(sharing).await?.unzip();
        let room = Arc::new(Self { link, ..Self::default() });
        if let Some(node) = node {
            node.start(Arc::clone(&room)).await?;
        }
        tokio::spawn(Arc::clone(&room).wake_users());
        Ok(room)
    }

    /// Adds a user, until it is dropped.
    pub fn register(self: &Arc<Self>) -> User {
        self.count_users(|users| users + 1);
        User::new(Arc::clone(self))
    }

    /// Why the value cannot be changed at present, if it cannot.
    pub fn trouble(&self) -> Option<String> {
        self.shared.lock().away.clone()
    }

    /// Says goodbye to the other servers.
    pub async fn close(&self) {
        if let Some(link) = &self.link {
            link.leave().await;
        }
    }

    fn count_users(&self, count: impl FnOnce(usize) -> usize) {
        self.change(|shared| shared.users = count(shared.users));
        if let Some(link) = &self.link {
            link.users_changed();
        }
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
        if self.users_told != self.all_users() {
            self.users_told = self.all_users();
            self.tape.append(&Event::Users { count: self.users_told });
        }
        let news = std::mem::replace(&mut self.woken_to, self.tape.end()) != self.tape.end();
        let due = std::mem::take(&mut self.newcomers) || news;
        self.rounds += u64::from(due);
        due
    }

    fn all_users(&self) -> usize {
        self.users + self.elsewhere
    }

    /// Everything there is to know, and where the tape goes on.
    fn present(&self) -> (Bytes, u64) {
        let mut present = Tape::default();
        present.append(&Event::Users { count: self.users_told });
        present.append(&Event::State { value: self.value });
        if self.away.is_some() {
            present.append(&Event::Error { message: AWAY.to_owned() });
        }
        (present.into_bytes(), self.tape.end())
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "in a test, a panic is a failure")]
mod tests {
    use std::task::{Context, Poll};

    use common::events::Action;

    use super::*;

    #[tokio::test]
    async fn a_step_beyond_either_end_of_i64_is_refused_and_changes_nothing() {
        let room = Arc::new(Room::default());
        let mut user = room.register();
        for (end, beyond, back) in
            [(i64::MAX, Action::Plus, Action::Minus), (i64::MIN, Action::Minus, Action::Plus)]
        {
            room.shared.lock().value = end;
            let told = room.shared.lock().tape.end();
            assert!(user.apply(beyond).await.is_err());
            assert_eq!(room.shared.lock().value, end);
            assert_eq!(room.shared.lock().tape.end(), told);
            assert!(user.apply(back).await.is_ok());
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
