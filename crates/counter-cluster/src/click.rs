//! A click on its way to Redis, and what its user is told if it is not counted.

use common::events::Action;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

/// What a user asks for, and where a refusal goes.
pub struct Click {
    pub action: Action,
    pub refused: UnboundedSender<Refusal>,
}

impl Click {
    /// Tells the user, if it is still there.
    pub fn refuse(&self, refusal: Refusal) {
        _ = self.refused.unbounded_send(refusal);
    }
}

/// Why a click was not counted.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// The value would leave the range of an i64.
    OutOfRange,
    /// Redis did not carry the call out.
    Refused,
    /// There is no connection to Redis.
    Unreachable,
    /// The call was made, and its reply was lost: the click may have been counted.
    NoReply,
}

impl Refusal {
    /// What the user is told.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::OutOfRange => "the counter can go no further in this direction",
            Self::Refused => "the shared counter refused your click; try again",
            Self::Unreachable => "the shared counter is unreachable; try again",
            Self::NoReply => {
                "the shared counter did not answer; nobody knows if your click was counted"
            }
        }
    }
}

/// The refusals of one user. It holds no more than clicks of this user are on their way, because a
/// refusal is sent before the next click is read. Not tokio's channel, which would take 1 KiB of
/// memory for each user, also for those who never click.
pub fn refusals() -> (UnboundedSender<Refusal>, UnboundedReceiver<Refusal>) {
    unbounded()
}
