//! Broadcasts a shared state to many clients.
//!
//! A [`Fanout`] holds your state and a *tape*, a log of the messages that clients still have to
//! receive. Both are protected by one lock. When you call [`Fanout::change`], you change the state
//! and append messages to the tape in one step. Each [`Subscriber`] has a *cursor*, its position on
//! the tape, and receives everything after that position.
//!
//! ```text
//!          ┌─────┬─────┬─────┬─────┬─────┐
//!   tape   │  m3 │  m4 │  m5 │  m6 │  m7 │ ← Fanout::change appends here
//!          └─────┴─────┴─────┴─────┴─────┘
//!                      ▲                 ▲
//!                 slow client       fast client
//! ```
//!
//! # What you can rely on
//!
//! - **Same order for everyone.** The order of the messages is the order of the changes.
//! - **A new client starts with a snapshot.** [`Subscriber::next`] first sends what you write in
//!   [`State::snapshot`], and then every message that follows.
//! - **A slow client cannot hold up the others.** Nothing is sent while the lock is held.
//! - **A slow client cannot use up the memory.** The tape keeps 1 MiB, no matter how many clients
//!   there are. (A single message may be larger. It stays until the next one is appended.) A client
//!   that falls further behind gets a new snapshot and continues at the end of the tape. It may
//!   miss messages, but it never receives an older message after a newer one.
//! - **An unused fan-out is small.** Without subscribers it keeps no tape and costs about 1 KiB. So
//!   you may have one for each room or each user.
//! - **Leaving is automatic.** Dropping a `Subscriber` unsubscribes it. Updates that were not sent
//!   by then are dropped: call [`Subscriber::flush`] before you return if they matter.
//! - **Your own messages do not wait.** What you send with [`Socket::send`](crate::Socket::send) may
//!   arrive before an earlier update, unless you call [`Subscriber::flush`] first.
//! - **A panic in `change` leaves no message on the tape.** The panic itself continues in the code
//!   that called `change`. Your state keeps what the closure changed before the panic.
//!
//! If your clients must not miss any message, number the messages and store them, as the chat
//! example does.
//!
//! # What it costs
//!
//! Each message is encoded once, not once for each client. Clients with the same cursor share one
//! buffer and send it with one write, in batches of up to 16 KiB. (A longer message is sent whole.)
//! With `--compression deflate`, a message is also compressed once, for all clients that accept it.
//! Use [`Subscriber::next`] for this, because [`Subscriber::recv`] does not know the client.
//!
//! A change does not wake the clients at once. It schedules a *round*, and the task that runs the
//! rounds usually starts after the code that made the change has yielded. Sixty-four clicks in
//! one packet therefore become one write for each client. [`State::before_round`] runs once at the
//! start of each round. Use it for messages that need not be sent for every change, such as the
//! number of users.
//!
//! # Example
//!
//! A complete server in which every client receives what any client sends:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use websockets::fanout::{Fanout, Frames, State};
//! use websockets::{Flags, Message, Result, Server, Socket};
//!
//! #[derive(Default)]
//! struct Room {
//!     last: Option<Message>,
//! }
//!
//! impl State for Room {
//!     // The snapshot for a new client: the last message, if there is one.
//!     fn snapshot(&self, frames: &mut Frames) {
//!         self.last.iter().cloned().for_each(|message| frames.push(message));
//!     }
//! }
//!
//! async fn chat(socket: &mut Socket, room: Arc<Fanout<Room>>) -> Result<()> {
//!     let mut subscriber = room.subscribe();
//!     // Sends updates to this client while it waits for the client's next message.
//!     while let Some(message) = subscriber.next(socket).await? {
//!         room.change(|room, frames| {
//!             frames.push(message.clone());
//!             room.last = Some(message);
//!         });
//!     }
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     let room = Fanout::new(Room::default());
//!     Server::new(Flags::default()).serve_with(room, chat).await
//! }
//! ```

mod delivery;
mod frames;
mod subscriber;
mod tape;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::catch::catch;
use crate::deflate::LARGEST_WINDOW;

use self::delivery::DeliveryTimer;
pub use self::frames::{Encoded, Frames};
use self::subscriber::Position;
pub use self::subscriber::Subscriber;
use self::tape::Tape;

/// How many subscribers are woken at once: about half of the 61 tasks that tokio runs before it
/// returns to a task that has yielded, so the woken tasks do not pile up. With 128, tokio's queue
/// of 256 tasks overflowed into a second one. With 1,000 subscribers some waited there for 46 ms,
/// twenty rounds of the others.
const WAKE_BATCH: usize = 32;

/// The state that all subscribers share. Its methods run under the lock of the fan-out, so they must
/// not block, and they must not use the fan-out.
pub trait State: Send + 'static {
    /// Writes a snapshot: everything that a client needs to know now. It is sent to a new client,
    /// and to a client that has fallen behind the tape.
    fn snapshot(&self, frames: &mut Frames);

    /// Runs at the start of each round. Push messages here that need not be sent for every change.
    ///
    /// Example: a thousand clients that connect at the same time cause one `users` message, not a
    /// thousand. The default does nothing.
    fn before_round(&mut self, subscribers: usize, frames: &mut Frames) {
        _ = (subscribers, frames);
    }
}

/// A state and its subscribers.
#[derive(Debug)]
pub struct Fanout<S> {
    shared: Mutex<Shared<S>>,
    /// Schedules a round.
    round: Arc<Notify>,
}

#[derive(Debug)]
struct Shared<S> {
    state: S,
    tape: Tape,
    subscribers: usize,
    /// The subscribers that wait for the next round.
    wakers: Vec<Waker>,
    /// How many rounds have begun. It tells a subscriber whether its waker is among `wakers`.
    rounds: u64,
    delivery: DeliveryTimer,
}

impl<S: State> Fanout<S> {
    /// Creates a fan-out without subscribers.
    ///
    /// This starts a task on the current tokio runtime that wakes the subscribers. It ends when the
    /// last clone of the `Arc` is dropped.
    pub fn new(state: S) -> Arc<Self> {
        let shared = Shared {
            state,
            tape: Tape::default(),
            subscribers: 0,
            wakers: Vec::new(),
            rounds: 0,
            delivery: DeliveryTimer::default(),
        };
        let fanout = Arc::new(Self { shared: Mutex::new(shared), round: Arc::default() });
        tokio::spawn(run_rounds(Arc::downgrade(&fanout), Arc::clone(&fanout.round)));
        fanout
    }

    /// Changes the state and sends the pushed messages to every subscriber.
    ///
    /// `change` runs while a lock is held that all subscribers share, so it must not block, and it
    /// must not use this fan-out. If it panics, the messages that it pushed are not sent.
    pub fn change<T>(&self, change: impl FnOnce(&mut S, &mut Frames) -> T) -> T {
        let shared = &mut *self.shared.lock();
        let result = shared.append(change);
        shared.delivery.appended(shared.tape.end(), shared.subscribers);
        self.round.notify_one();
        result
    }

    /// Reads the state without changing it. `read` runs under the same lock and must not block.
    pub fn read<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.shared.lock().state)
    }

    /// The number of subscribers.
    pub fn subscribers(&self) -> usize {
        self.shared.lock().subscribers
    }

    /// Reports how long a change takes to reach its last subscriber.
    ///
    /// One change is measured at a time. The next measurement starts when every subscriber has
    /// received the change that is being measured. `report` runs under the lock and must not block.
    pub fn measure_delivery(&self, report: impl Fn(Duration) + Send + 'static) {
        self.shared.lock().delivery.report = Some(Box::new(report));
    }

    /// Adds a subscriber, which stays until it is dropped.
    ///
    /// Its first message is a snapshot. The snapshot is taken after the next round, so a user count
    /// in it already includes this subscriber.
    pub fn subscribe(self: &Arc<Self>) -> Subscriber<S> {
        let shared = &mut *self.shared.lock();
        let position = Position::Joined(shared.rounds);
        Subscriber::new(self, shared, position)
    }

    /// Adds a subscriber with a greeting of its own instead of the snapshot.
    ///
    /// Use this for a client that reconnects and already has part of the data, or that gets messages
    /// which were stored for it. `greet` writes the greeting, which is returned as encoded frames
    /// for [`Socket::send_encoded`](crate::Socket::send_encoded). [`Subscriber::next`] then sends
    /// everything that follows it, without a gap and without a repetition.
    pub fn subscribe_with(
        self: &Arc<Self>,
        greet: impl FnOnce(&mut S, &mut Frames),
    ) -> (Subscriber<S>, Encoded) {
        let mut greeting = Frames::default();
        let shared = &mut *self.shared.lock();
        greet(&mut shared.state, &mut greeting);
        let position = Position::At(shared.tape.end());
        (Subscriber::new(self, shared, position), greeting.into_encoded())
    }

    /// Compresses messages once for all subscribers, without the lock, because a long message takes
    /// milliseconds. `first` is the position of the first one on the tape.
    fn compress(&self, first: u64, plain: &[u8]) {
        // A panic must not end the task that wakes everyone. Without a window nothing is compressed.
        let frames = catch(|| Frames::compressed(plain, LARGEST_WINDOW))
            .unwrap_or_else(|| Frames::compressed(plain, 0));
        let shared = &mut *self.shared.lock();
        shared.tape.append_compressed(first, frames);
        // These have looked meanwhile, and found nothing to take. The rest comes with the next
        // round, because messages may arrive faster than they can be compressed.
        if !shared.wakers.is_empty() || shared.tape.has_uncompressed() {
            self.round.notify_one();
        }
    }
}

impl<S: State> Shared<S> {
    /// Runs `change`. If it panics, its messages are removed before the panic continues.
    fn append<T>(&mut self, change: impl FnOnce(&mut S, &mut Frames) -> T) -> T {
        let Self { state, tape, .. } = self;
        tape.frames.subscribers = self.subscribers;
        let before = tape.frames.ends.len();
        let result = catch_unwind(AssertUnwindSafe(|| change(state, &mut tape.frames)));
        let result = result.unwrap_or_else(|panic| {
            tape.frames.truncate(before);
            resume_unwind(panic)
        });
        tape.trim(self.subscribers);
        result
    }

    fn begin_round(&mut self) {
        let subscribers = self.subscribers;
        // A panic must not end the task that wakes everyone. The panic hook has logged it.
        catch(|| self.append(|state, frames| state.before_round(subscribers, frames)));
        self.rounds += 1;
    }

    /// A snapshot, and the cursor after it.
    fn snapshot(&self) -> (Encoded, u64) {
        let mut frames = Frames::default();
        self.state.snapshot(&mut frames);
        (frames.into_encoded(), self.tape.end())
    }
}

/// Each round wakes every subscriber that waits when the round begins. So no subscriber is woken
/// twice while another one waits. Ends with the fan-out.
async fn run_rounds<S: State>(fanout: Weak<Fanout<S>>, round: Arc<Notify>) {
    let mut wakers = Vec::new();
    loop {
        round.notified().await;
        let Some(fanout) = fanout.upgrade() else { return };
        let uncompressed = {
            let mut shared = fanout.shared.lock();
            shared.begin_round();
            std::mem::swap(&mut wakers, &mut shared.wakers);
            shared.tape.uncompressed()
        };
        if let Some((first, plain)) = uncompressed {
            fanout.compress(first, &plain);
            yield_now().await;
        }
        let mut batch = wakers.drain(..);
        while batch.len() > 0 {
            batch.by_ref().take(WAKE_BATCH).for_each(Waker::wake);
            yield_now().await;
        }
    }
}

impl<S> Drop for Fanout<S> {
    fn drop(&mut self) {
        self.round.notify_one();
    }
}
