//! Keeps a panic in a user's code from spreading.

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `call`, and returns `None` if it panics. The panic hook has logged the panic by then.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // The payload may be any value, and dropping it may panic again.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                forget(payload);
            }
            None
        }
    }
}
