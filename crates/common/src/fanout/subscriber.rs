//! One subscriber: where it is on the tape, and what it has not heard yet.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Fanout, State};

/// One place among those who are told. Dropping it gives the place up.
#[derive(Debug)]
pub struct Subscriber<S: State> {
    fanout: Arc<Fanout<S>>,
    place: Place,
    /// The round before which it went to sleep.
    slept_in: Option<u64>,
    /// The message for which [`Watch`](super::watch::Watch) has counted it.
    counted: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It came in this round, and has heard nothing yet.
    NewSince(u64),
    /// It has heard the tape up to here.
    At(u64),
}

impl<S: State> Subscriber<S> {
    pub(super) fn new(fanout: Arc<Fanout<S>>, place: Place, counted: u32) -> Self {
        Self { fanout, place, slept_in: None, counted }
    }

    /// Waits for what this subscriber has not heard yet, as whole frames, for
    /// [`send_encoded`](crate::socket::Keepalive::send_encoded). Cancel safe; always to be awaited
    /// in the same task.
    pub async fn recv(&mut self) -> Bytes {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let shared = &mut *self.fanout.shared.lock();
        // Who asks for more has sent what it was given.
        if let Place::At(cursor) = self.place {
            shared.watch.heard(cursor, &mut self.counted);
        }
        let unheard = match self.place {
            Place::At(cursor) => shared.tape.after(cursor).or_else(|| Some(shared.present())),
            // The round that tells everyone of this newcomer comes first.
            Place::NewSince(round) if round == shared.rounds => None,
            Place::NewSince(_) => Some(shared.present()),
        };
        if let Some((frames, cursor)) = unheard {
            self.place = Place::At(cursor);
            if !frames.is_empty() {
                return Poll::Ready(frames);
            }
        }
        if self.slept_in != Some(shared.rounds) {
            self.slept_in = Some(shared.rounds);
            shared.asleep.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<S: State> Drop for Subscriber<S> {
    fn drop(&mut self) {
        let shared = &mut *self.fanout.shared.lock();
        shared.subscribers -= 1;
        shared.watch.heard(u64::MAX, &mut self.counted);
        self.fanout.round.notify_one();
    }
}
