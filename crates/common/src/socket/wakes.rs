//! Tells wakes that concern a connection from all others of its task.
//!
//! A handler that also waits for something else, such as the news of a room, looks at its socket
//! at each of its wakes. Nine in ten are not the connection's, and an attempt to read costs as
//! much as the write that the handler was woken for. What waits for the connection waits with
//! [`Wakes`] for a waker, which notes that there is a reason to look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::task::{ArcWake, AtomicWaker};

/// A waker for what concerns the connection.
#[derive(Debug)]
pub(crate) struct Wakes {
    /// Something happened since this was last set to false.
    pub(crate) happened: AtomicBool,
    /// Whom to wake then: who waits for a message,
    pub(crate) reader: AtomicWaker,
    /// and who waits for a write to be taken. Mostly they are one task, but the halves that
    /// `split` makes may be in two.
    pub(crate) writer: AtomicWaker,
}

impl Default for Wakes {
    fn default() -> Self {
        // Nothing was looked at yet.
        let happened = AtomicBool::new(true);
        Self { happened, reader: AtomicWaker::new(), writer: AtomicWaker::new() }
    }
}

impl ArcWake for Wakes {
    fn wake_by_ref(this: &Arc<Self>) {
        this.happened.store(true, Ordering::Release);
        this.reader.wake();
        this.writer.wake();
    }
}
