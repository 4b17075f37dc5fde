//! One subscriber: its cursor on the tape, and how it waits.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tungstenite::{Error, Message};

use super::{Encoded, Fanout, Shared, State};
use crate::Socket;

/// A subscription to a [`Fanout`]. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscriber<S: State> {
    fanout: Arc<Fanout<S>>,
    position: Position,
    /// The round for which it waits, and the place of its waker there.
    waiting: Option<(u64, usize)>,
    /// The last [delivery measurement](super::delivery::DeliveryTimer) in which it was counted.
    counted: u32,
    /// Its client receives compressed messages.
    takes_compressed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Position {
    /// It subscribed in this round and has received nothing yet.
    Joined(u64),
    /// It has received everything before this cursor.
    At(u64),
}

impl<S: State> Subscriber<S> {
    pub(super) fn new(fanout: &Arc<Fanout<S>>, shared: &mut Shared<S>, position: Position) -> Self {
        shared.subscribers += 1;
        fanout.round.notify_one();
        let counted = shared.delivery.number;
        Self {
            fanout: Arc::clone(fanout),
            position,
            waiting: None,
            counted,
            takes_compressed: false,
        }
    }

    /// Waits for the client's next message, and sends updates to the client meanwhile, the snapshot
    /// first. Returns `None` after the closing handshake, and when the server shuts down.
    ///
    /// While an update cannot be written because the client does not read, no further message is
    /// returned: a client that sends without reading waits for itself. No message and no update is
    /// lost if this future is dropped, so it may stand in `select!`.
    ///
    /// # Errors
    ///
    /// Those of [`Socket::recv`] and [`Socket::send`].
    pub async fn next(&mut self, socket: &mut Socket) -> Result<Option<Message>, Error> {
        match poll_fn(|cx| self.poll_next(socket, cx)).await {
            // At a shutdown nothing more is sent, and this is no fault of the handler.
            Err(_) if socket.is_shutting_down() => Ok(None),
            result => result,
        }
    }

    fn poll_next(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        self.note_compression(socket);
        loop {
            // No more is read while an update cannot be written.
            ready!(socket.poll_written(cx))?;
            // The snapshot is sent before anything else. After that, the client's messages come
            // before updates, so that several of them become one round.
            let has_snapshot = matches!(self.position, Position::At(_));
            if has_snapshot {
                if let Poll::Ready(message) = Pin::new(&mut *socket).poll_next(cx) {
                    return Poll::Ready(message.transpose());
                }
                // Reading may have written a part of a pong or of a ping. The rest goes first.
                ready!(socket.poll_written(cx))?;
            }
            match self.poll_recv(cx) {
                Poll::Ready(frames) => socket.start_send_encoded(frames)?,
                // The snapshot was empty. From now on the client is read, too.
                Poll::Pending if !has_snapshot && matches!(self.position, Position::At(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sends the snapshot, if this subscriber has not received it yet, and the updates that are on the
    /// tape now, without waiting for more.
    ///
    /// Call it before you send a message that must not overtake an earlier update, and before you
    /// return from a handler whose client must still receive them: what is not sent by then is
    /// dropped. No update is lost if this future is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`Socket::send`].
    pub async fn flush(&mut self, socket: &mut Socket) -> Result<(), Error> {
        self.note_compression(socket);
        let end = self.fanout.shared.lock().tape.end();
        poll_fn(|cx| {
            loop {
                ready!(socket.poll_written(cx))?;
                if matches!(self.position, Position::At(cursor) if cursor >= end) {
                    return Poll::Ready(Ok(()));
                }
                match self.poll_recv(cx) {
                    Poll::Ready(frames) => socket.start_send_encoded(frames)?,
                    // The snapshot was empty.
                    Poll::Pending if matches!(self.position, Position::At(cursor) if cursor >= end) => {}
                    // The snapshot comes with the next round, and so do messages that have to be
                    // compressed first.
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Waits for the updates that this subscriber has not received yet, for
    /// [`Socket::send_encoded`]. [`next`](Self::next) does both.
    ///
    /// No update is lost if this future is dropped, so it may stand in `select!`.
    pub async fn recv(&mut self) -> Encoded {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Lets the fan-out compress its messages from now on, if `socket` has agreed on that.
    fn note_compression(&mut self, socket: &Socket) {
        if !self.takes_compressed && socket.takes_shared_compression() {
            self.takes_compressed = true;
            self.fanout.shared.lock().tape.add_compressed_reader();
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Encoded> {
        let shared = &mut *self.fanout.shared.lock();
        let pending = match self.position {
            Position::At(cursor) => {
                // A subscriber that asks for more has sent what it received.
                shared.delivery.received(cursor, &mut self.counted);
                shared.tape.read_from(cursor).or_else(|| Some(shared.snapshot()))
            }
            // The round that counts this subscriber comes first.
            Position::Joined(round) if round == shared.rounds => None,
            Position::Joined(_) => Some(shared.snapshot()),
        };
        if let Some((frames, cursor)) = pending {
            self.position = Position::At(cursor);
            if !frames.is_empty() {
                return Poll::Ready(frames);
            }
        }
        let registered = self.waiting.filter(|(round, _)| *round == shared.rounds);
        match registered.and_then(|(_, place)| shared.wakers.get_mut(place)) {
            // The future may be polled by another waker than before.
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                self.waiting = Some((shared.rounds, shared.wakers.len()));
                shared.wakers.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl<S: State> Drop for Subscriber<S> {
    fn drop(&mut self) {
        let shared = &mut *self.fanout.shared.lock();
        shared.subscribers -= 1;
        shared.delivery.received(u64::MAX, &mut self.counted);
        if self.takes_compressed {
            shared.tape.remove_compressed_reader();
        }
        if shared.subscribers == 0 {
            shared.tape.trim(0);
        }
        self.fanout.round.notify_one();
    }
}
