//! Tells wakes that concern a connection from all others of its task.
//!
//! A handler that also waits for something else, such as the news of a room, looks at its socket
//! at each of its wakes. Nine in ten are not the connection's, and an attempt to read costs as
//! much as the write that the handler was woken for. What waits for the connection waits with
//! [`Wakes`] for a waker, which notes that there is a reason to look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use futures_util::task::AtomicWaker;

/// A waker for what concerns the connection.
#[derive(Debug)]
pub(crate) struct Wakes {
    /// Something happened since this was last set to false.
    pub(crate) happened: AtomicBool,
    /// Whom to wake then.
    pub(crate) task: AtomicWaker,
}

impl Default for Wakes {
    fn default() -> Self {
        // Nothing was looked at yet.
        Self { happened: AtomicBool::new(true), task: AtomicWaker::new() }
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.happened.store(true, Ordering::Release);
        self.task.wake();
    }
}
