//! Tells many subscribers what changes: all hear the same messages in the same order, and who
//! reads slowly costs the others neither time nor memory.
//!
//! A [`Fanout`] holds a state of yours and a tape, under one lock. [`Fanout::change`] changes the
//! one and appends to the other: each message is encoded once, and each subscriber has a cursor
//! into the tape. A newcomer is told the [`present`](State::present), and so is a subscriber who
//! reads so slowly that the tape, of 1 MiB, has moved past its cursor: it may miss messages, but
//! never hears an older one after a newer one.
//!
//! Nobody is woken for each change. A change calls for a round, and the round begins when whoever
//! made the change has said what else it had to say: sixty-four clicks that came in one packet
//! are one write to each subscriber.
//!
//! A whole server, in which everyone hears what anyone says:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use common::fanout::{Fanout, Frames, State};
//! use common::{Flags, Result, Server, Socket};
//! use futures_util::StreamExt;
//!
//! #[derive(Default)]
//! struct Room {
//!     last: Option<tungstenite::Message>,
//! }
//!
//! impl State for Room {
//!     fn present(&self, frames: &mut Frames) {
//!         self.last.iter().cloned().for_each(|message| frames.push(message));
//!     }
//! }
//!
//! async fn talk(socket: &mut Socket, room: Arc<Fanout<Room>>) -> Result<()> {
//!     let mut user = room.subscribe();
//!     loop {
//!         tokio::select! {
//!             biased;
//!             message = socket.next() => {
//!                 let Some(message) = message.transpose()? else { return Ok(()) };
//!                 room.change(|room, frames| {
//!                     frames.push(message.clone());
//!                     room.last = Some(message);
//!                 });
//!             }
//!             frames = user.recv() => socket.send_encoded(frames).await?,
//!         }
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     let room = Fanout::new(Room::default());
//!     Server::new(Flags::default()).serve(move |socket, _| Box::pin(talk(socket, room.clone()))).await
//! }
//! ```

mod frames;
mod subscriber;
mod tape;
mod watch;

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;

pub use self::frames::Frames;
pub use self::subscriber::Subscriber;
use self::tape::Tape;
use self::watch::Watch;

/// How many are woken at once: about half of the 61 tasks that tokio runs before it turns to
/// whoever has yielded, so that what is woken does not pile up. With 128, its queue of 256
/// overflowed to a second one, and at 1,000 subscribers some waited there for 46 ms, twenty
/// rounds of the others.
const WAKE: usize = 32;

/// What the subscribers share.
pub trait State: Send + 'static {
    /// Everything there is to know: for a newcomer, and for who fell behind.
    fn present(&self, frames: &mut Frames);

    /// A round begins, with so many subscribers. What need not be said for each change is said
    /// here: a thousand who came since the last round are one message, rather than a thousand for
    /// each of the thousand.
    fn begin_round(&mut self, subscribers: usize, frames: &mut Frames) {
        _ = (subscribers, frames);
    }
}

/// A state and its subscribers.
#[derive(Debug)]
pub struct Fanout<S> {
    shared: Mutex<Shared<S>>,
    /// Calls for a round.
    round: Arc<Notify>,
}

#[derive(Debug)]
struct Shared<S> {
    state: S,
    tape: Tape,
    subscribers: usize,
    /// Who waits for a round, each once.
    asleep: Vec<Waker>,
    /// How many have begun: tells a subscriber whether it is among `asleep`.
    rounds: u64,
    watch: Watch,
}

impl<S: State> Fanout<S> {
    /// A fan-out without subscribers, and the task that wakes them, on the present tokio runtime.
    pub fn new(state: S) -> Arc<Self> {
        let shared = Shared {
            state,
            tape: Tape::default(),
            subscribers: 0,
            asleep: Vec::new(),
            rounds: 0,
            watch: Watch::default(),
        };
        let fanout = Arc::new(Self { shared: Mutex::new(shared), round: Arc::default() });
        tokio::spawn(wake(Arc::downgrade(&fanout), Arc::clone(&fanout.round)));
        fanout
    }

    /// Changes the state, and says so to every subscriber. `change` runs under the lock that all
    /// share: it must not block.
    pub fn change<T>(&self, change: impl FnOnce(&mut S, &mut Frames) -> T) -> T {
        let shared = &mut *self.shared.lock();
        let result = change(&mut shared.state, &mut shared.tape.frames);
        shared.tape.trim();
        shared.watch.appended(shared.tape.end(), shared.subscribers);
        self.round.notify_one();
        result
    }

    /// Reports how long it takes from a change until the last of those who subscribe has been
    /// sent it: of one change after the other, as often as one can be followed.
    pub fn watch(&self, report: impl Fn(Duration) + Send + 'static) {
        self.shared.lock().watch.start(Box::new(report));
    }

    /// Looks at the state, and says nothing to anybody. `look` runs under the same lock.
    pub fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.shared.lock().state)
    }

    /// Adds a subscriber, until it is dropped. It is told the present after the next round, so
    /// that it is counted in what it hears.
    pub fn subscribe(self: &Arc<Self>) -> Subscriber<S> {
        let shared = &mut *self.shared.lock();
        let place = subscriber::Place::NewSince(shared.join());
        self.round.notify_one();
        Subscriber::new(Arc::clone(self), place, shared.watch.number())
    }

    /// Adds a subscriber who is told what `greet` says instead of the present, and then, from
    /// [`Subscriber::recv`], all that follows it: for who was here before and knows what it has.
    pub fn subscribe_with(
        self: &Arc<Self>,
        greet: impl FnOnce(&S, &mut Frames),
    ) -> (Subscriber<S>, Bytes) {
        let mut greeting = Frames::default();
        let shared = &mut *self.shared.lock();
        greet(&shared.state, &mut greeting);
        shared.join();
        self.round.notify_one();
        let place = subscriber::Place::At(shared.tape.end());
        (Subscriber::new(Arc::clone(self), place, shared.watch.number()), greeting.into_bytes())
    }
}

impl<S: State> Shared<S> {
    fn join(&mut self) -> u64 {
        self.subscribers += 1;
        self.rounds
    }

    fn begin_round(&mut self) {
        self.state.begin_round(self.subscribers, &mut self.tape.frames);
        self.tape.trim();
        self.rounds += 1;
    }

    /// The present, and where the tape goes on.
    fn present(&self) -> (Bytes, u64) {
        let mut present = Frames::default();
        self.state.present(&mut present);
        (present.into_bytes(), self.tape.end())
    }
}

/// In each round everyone is woken who sleeps at its beginning, so that nobody is woken twice
/// while another waits. Ends with the fan-out.
async fn wake<S: State>(fanout: Weak<Fanout<S>>, round: Arc<Notify>) {
    let mut asleep = Vec::new();
    loop {
        round.notified().await;
        let Some(fanout) = fanout.upgrade() else { return };
        {
            let mut shared = fanout.shared.lock();
            shared.begin_round();
            std::mem::swap(&mut asleep, &mut shared.asleep);
        }
        let mut wakers = asleep.drain(..);
        while wakers.len() > 0 {
            wakers.by_ref().take(WAKE).for_each(Waker::wake);
            yield_now().await;
        }
    }
}

impl<S> Drop for Fanout<S> {
    fn drop(&mut self) {
        self.round.notify_one();
    }
}
