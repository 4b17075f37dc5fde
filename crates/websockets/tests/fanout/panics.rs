use futures_util::FutureExt;
use testing::soon;
use tungstenite::Message;
use websockets::fanout::{Fanout, Frames, State};

use crate::{decode, heard, join, room, say};

#[tokio::test]
async fn a_panic_in_change_publishes_no_message() {
    let room = room();
    let mut user = join(&room, "1 here; ").await;
    let change = || {
        room.change(|_, frames| {
            frames.push("half of it");
            panic!("in the middle");
        })
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(change)).unwrap_err();
    say(&room, "whole");
    assert_eq!(heard(&mut user).await, [Message::text("whole")]);
}

/// Panics at the given step.
#[derive(Default)]
struct Fragile {
    in_snapshot: bool,
    in_before_round: bool,
}

impl State for Fragile {
    fn snapshot(&self, frames: &mut Frames) {
        frames.push("half of a snapshot");
        assert!(!self.in_snapshot, "in snapshot");
    }

    fn before_round(&mut self, _: usize, frames: &mut Frames) {
        if std::mem::take(&mut self.in_before_round) {
            frames.push("half of a round");
            panic!("in before_round");
        }
    }
}

#[tokio::test]
async fn a_panic_in_before_round_stops_no_update() {
    let fragile = Fanout::new(Fragile::default());
    let mut user = fragile.subscribe();
    soon("the snapshot", user.recv()).await;
    fragile.change(|state, frames| {
        state.in_before_round = true;
        frames.push("before");
    });
    assert_eq!(decode(soon("an update", user.recv()).await), [Message::text("before")]);
    fragile.change(|_, frames| frames.push("after"));
    assert_eq!(decode(soon("an update", user.recv()).await), [Message::text("after")]);
}

#[tokio::test]
async fn a_panic_in_snapshot_ends_only_its_own_subscriber() {
    let fragile = Fanout::new(Fragile::default());
    let mut user = fragile.subscribe();
    soon("the snapshot", user.recv()).await;
    fragile.change(|state, _| state.in_snapshot = true);
    let mut late = fragile.subscribe();
    let panicked = tokio::spawn(async move { late.recv().await }).await;
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(fragile.subscribers(), 1);
    fragile.change(|_, frames| frames.push("after"));
    assert_eq!(decode(soon("an update", user.recv()).await), [Message::text("after")]);
}

#[tokio::test]
async fn a_delivery_report_may_panic_during_a_panic() {
    let room = room();
    room.measure_delivery(|_| panic!("in the report"));
    let mut quick = join(&room, "1 here; ").await;
    let mut panicking = room.subscribe();
    soon("the snapshot", panicking.recv()).await;
    say(&room, "news");
    heard(&mut quick).await;
    let panicked = tokio::spawn(async move {
        // The last subscriber that has not received the message leaves by a panic.
        let _panicking = panicking;
        panic!("in the handler");
    });
    _ = quick.recv().now_or_never();
    assert!(panicked.await.unwrap_err().is_panic());
    say(&room, "more");
    soon("an update", quick.recv()).await;
}
