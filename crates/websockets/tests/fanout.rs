//! The public interface of the fan-out. tungstenite reads the frames that the subscribers receive.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use testing::{frame, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use websockets::fanout::{Encoded, Fanout, Frames, State, Subscriber};
use websockets::{Options, Socket};

/// Sends a new client the number of clients, and the last message.
#[derive(Default)]
struct Room {
    subscribers: usize,
    last: String,
}

impl State for Room {
    fn snapshot(&self, frames: &mut Frames) {
        frames.push(format!("{} here; {}", self.subscribers, self.last));
    }

    fn before_round(&mut self, subscribers: usize, frames: &mut Frames) {
        if self.subscribers != subscribers {
            self.subscribers = subscribers;
            frames.push(format!("{subscribers} here"));
        }
    }
}

fn room() -> Arc<Fanout<Room>> {
    Fanout::new(Room::default())
}

fn say(room: &Fanout<Room>, text: &str) {
    room.change(|room, frames| {
        frames.push(text);
        room.last = text.to_owned();
    });
}

/// The stream that a client reads, and to which it writes its pongs.
struct Pipe<'a>(&'a [u8]);

impl Read for Pipe<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, to)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, pong: &[u8]) -> io::Result<usize> {
        Ok(pong.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads frames as a client does. Panics when one is torn.
fn decode(frames: Encoded) -> Vec<Message> {
    // Ask for one more than there are, because a torn frame only shows in the bytes after it.
    let mut end = Frames::default();
    end.push(Message::Close(None));
    let frames = [frames.into_bytes(), end.into_encoded().into_bytes()].concat();
    let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
    let mut client = WebSocket::from_raw_socket(Pipe(&frames), Role::Client, Some(config));
    let mut messages = Vec::new();
    loop {
        match client.read() {
            Ok(Message::Close(_)) => return messages,
            Ok(message) => messages.push(message),
            Err(error) => panic!("a torn frame after {} messages: {error}", messages.len()),
        }
    }
}

async fn heard(user: &mut Subscriber<Room>) -> Vec<Message> {
    decode(soon("news", user.recv()).await)
}

async fn join(room: &Arc<Fanout<Room>>, present: &str) -> Subscriber<Room> {
    let mut user = room.subscribe();
    assert_eq!(heard(&mut user).await, [Message::text(present)]);
    user
}

#[tokio::test]
async fn messages_of_every_length_arrive_in_order() {
    let room = room();
    let mut user = join(&room, "1 here; ").await;
    let lengths = [0, 1, 124, 125, 126, 127, 128, 255, 256, 16_383, 16_384, 65_535, 65_536, 70_000];
    let mut said = Vec::new();
    for length in lengths.into_iter().chain(lengths.into_iter().rev()) {
        said.push(Message::text("é".repeat(length / 2) + &"x".repeat(length % 2)));
        said.push(Message::binary(vec![0x81; length]));
    }
    said.push(Message::Ping(Bytes::from_static(b"ping")));
    room.change(|_, frames| said.iter().cloned().for_each(|message| frames.push(message)));
    let mut heard_ = Vec::new();
    while heard_.len() < said.len() {
        heard_.extend(heard(&mut user).await);
    }
    assert!(heard_ == said, "the messages differ");
}

#[tokio::test]
async fn a_message_larger_than_the_tape_arrives_whole() {
    let room = room();
    let mut user = join(&room, "1 here; ").await;
    say(&room, &"x".repeat(3 << 20));
    assert_eq!(heard(&mut user).await, [Message::text("x".repeat(3 << 20))]);
    say(&room, "short");
    assert_eq!(heard(&mut user).await, [Message::text("short")]);
    // A subscriber that was away meanwhile receives both messages whole.
    let mut late = join(&room, "2 here; short").await;
    say(&room, &"y".repeat(2 << 20));
    say(&room, "last");
    assert_eq!(heard(&mut late).await, [Message::text("2 here; last")]);
}

#[tokio::test]
async fn a_slow_subscriber_skips_to_the_snapshot() {
    let room = room();
    let mut slow = join(&room, "1 here; ").await;
    // 131 bytes a frame: more than 1 MiB in all.
    for n in 0..10_000 {
        say(&room, &format!("{n:0>127}"));
    }
    let newest = format!("{:0>127}", 9_999);
    assert_eq!(heard(&mut slow).await, [Message::text(format!("1 here; {newest}"))]);
    say(&room, "next");
    assert_eq!(heard(&mut slow).await, [Message::text("next")]);
}

#[tokio::test]
async fn a_subscriber_takes_one_batch_and_misses_nothing() {
    let room = room();
    let mut slow = join(&room, "1 here; ").await;
    for n in 0..5_000 {
        say(&room, &format!("{n:0>127}"));
    }
    let mut next = 0;
    while next < 5_000 {
        let frames = soon("news", slow.recv()).await;
        assert!(frames.len() <= 16 << 10, "{} bytes at once", frames.len());
        for message in decode(frames) {
            assert_eq!(message, Message::text(format!("{next:0>127}")));
            next += 1;
        }
    }
}

#[tokio::test]
async fn a_new_subscriber_is_in_its_first_count() {
    let room = room();
    let mut newcomer = room.subscribe();
    assert!(newcomer.recv().now_or_never().is_none(), "the round comes first");
    yield_now().await;
    let others: Vec<_> = (0..100).map(|_| room.subscribe()).collect();
    let Some(present) = newcomer.recv().now_or_never() else { panic!("it was not let in") };
    assert_eq!(decode(present), [Message::text("1 here; ")]);
    drop(others);
    say(&room, "hello");
    let told = heard(&mut newcomer).await;
    assert!(told.contains(&Message::text("hello")), "{told:?}");
}

#[tokio::test]
async fn a_thousand_new_subscribers_are_one_message() {
    let room = room();
    let mut first = join(&room, "1 here; ").await;
    let crowd: Vec<_> = (0..1000).map(|_| room.subscribe()).collect();
    assert_eq!(heard(&mut first).await, [Message::text("1001 here")]);
    drop(crowd);
    assert_eq!(heard(&mut first).await, [Message::text("1 here")]);
}

#[tokio::test]
async fn a_returning_subscriber_misses_nothing() {
    let room = room();
    say(&room, "before");
    let (mut user, greeting) = room.subscribe_with(|room, frames| frames.push(&*room.last));
    say(&room, "after");
    assert_eq!(decode(greeting), [Message::text("before")]);
    let mut told = heard(&mut user).await;
    while !told.contains(&Message::text("1 here")) {
        told.extend(heard(&mut user).await);
    }
    assert_eq!(told, [Message::text("after"), Message::text("1 here")]);
}

#[tokio::test]
async fn all_messages_before_a_round_are_one_write() {
    let room = room();
    let mut user = join(&room, "1 here; ").await;
    for n in 0..64 {
        say(&room, &n.to_string());
    }
    assert_eq!(heard(&mut user).await.len(), 64);
}

#[tokio::test]
async fn a_dropped_fan_out_leaves_no_task() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let rooms: Vec<_> = (0..10).map(|_| room()).collect();
    let user = rooms[0].subscribe();
    assert_eq!(tasks(), before + 10);
    drop(rooms);
    let fewer_than = async |limit| {
        while tasks() > limit {
            yield_now().await;
        }
    };
    soon("nine of them to end", fewer_than(before + 1)).await;
    drop(user);
    soon("the last to end", fewer_than(before)).await;
}

#[tokio::test]
async fn delivery_is_reported_after_the_last_subscriber() {
    let room = room();
    let reports = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&reports);
    room.measure_delivery(move |_| _ = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let reports = || reports.load(std::sync::atomic::Ordering::Relaxed);
    let [mut quick, mut slow, mut leaving] = [(); 3].map(|()| room.subscribe());
    for subscriber in [&mut quick, &mut slow, &mut leaving] {
        soon("the present", subscriber.recv()).await;
    }
    say(&room, "one");
    soon("one", quick.recv()).await;
    soon("one", slow.recv()).await;
    // A subscriber has sent a batch only when it asks for the next one.
    assert!(quick.recv().now_or_never().is_none());
    assert_eq!(reports(), 0);
    assert!(slow.recv().now_or_never().is_none());
    assert_eq!(reports(), 0);
    let mut late = room.subscribe();
    drop(leaving);
    assert_eq!(reports(), 1, "who has gone is not waited for, nor who came later");
    say(&room, "two");
    for subscriber in [&mut quick, &mut slow, &mut late] {
        soon("two", subscriber.recv()).await;
        assert!(subscriber.recv().now_or_never().is_none_or(|rest| !rest.is_empty()));
    }
    soon("the report", async {
        while reports() < 2 {
            for subscriber in [&mut quick, &mut slow, &mut late] {
                _ = subscriber.recv().now_or_never();
            }
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_wakes_whichever_task_polled_it_last() {
    let rooms: Vec<_> = (0..3).map(|_| room()).collect();
    let mut users = Vec::new();
    for room in &rooms {
        users.push(join(room, "1 here; ").await);
    }
    // Each time, `select!` drops the set of futures and the wakers that they were polled with.
    for n in 0..10 {
        let update = tokio::select! {
            Some(update) = async {
                users.iter_mut().map(Subscriber::recv).collect::<FuturesUnordered<_>>().next().await
            } => update,
            () = async {
                yield_now().await;
                say(&rooms[n % 3], &n.to_string());
                std::future::pending().await
            } => unreachable!(),
        };
        assert_eq!(decode(update), [Message::text(n.to_string())]);
    }
}

#[tokio::test]
async fn next_sends_the_snapshot_before_it_returns_a_message() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    client.send("first").await.unwrap();
    let mut user = room.subscribe();
    let received = user.next(&mut server).await.unwrap();
    assert_eq!(received, Some(Message::text("first")));
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("1 here; ")));
}

#[tokio::test]
async fn next_sends_updates_while_it_waits() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    let handler = tokio::spawn({
        let mut user = room.subscribe();
        async move { user.next(&mut server).await.unwrap() }
    });
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("1 here; ")));
    say(&room, "news");
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("news")));
    client.send("done").await.unwrap();
    assert_eq!(handler.await.unwrap(), Some(Message::text("done")));
}

#[tokio::test]
async fn next_loses_no_update_when_it_is_dropped() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    let mut user = join(&room, "1 here; ").await;
    let sender = async {
        for n in 0..500 {
            // More than the connection holds, so that most calls are dropped while they write.
            say(&room, &format!("{n:0>1000}"));
            for _ in 0..3 {
                tokio::select! {
                    biased;
                    message = user.next(&mut server) => panic!("{message:?}"),
                    () = yield_now() => {}
                }
            }
        }
        user.next(&mut server).await
    };
    let receiver = async {
        let mut next = 0;
        while next < 500 {
            let message = client.recv().await.unwrap().unwrap();
            assert_eq!(message, Message::text(format!("{next:0>1000}")));
            next += 1;
        }
    };
    tokio::select! {
        () = soon("every update", receiver) => {}
        message = sender => panic!("{message:?}"),
    }
}

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

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ten_thousand_unused_fan_outs_are_small() {
    use testing::memory::resident_kib;
    let before = resident_kib(std::process::id());
    let rooms: Vec<_> = (0..10_000).map(|_| room()).collect();
    // Each fan-out was used, and has 100 KB that no subscriber received.
    for room in &rooms {
        drop(room.subscribe());
        for _ in 0..100 {
            say(room, &"x".repeat(1000));
        }
        yield_now().await;
    }
    let cost = resident_kib(std::process::id()) - before;
    println!("{cost} KiB");
    assert!(cost < 20 << 10, "{cost} KiB");
    assert_eq!(rooms[0].subscribers(), 0);
}

#[tokio::test]
async fn flush_sends_updates_before_the_next_message() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    let mut user = room.subscribe();
    user.flush(&mut server).await.unwrap();
    server.send("welcome").await.unwrap();
    say(&room, "update");
    user.flush(&mut server).await.unwrap();
    server.send("answer").await.unwrap();
    for expected in ["1 here; ", "welcome", "update", "answer"] {
        assert_eq!(client.recv().await.unwrap(), Some(Message::text(expected)));
    }
}

#[tokio::test]
async fn a_change_sees_how_many_will_receive_it() {
    let room = room();
    let count = || room.change(|_, frames| frames.subscribers());
    assert_eq!(count(), 0);
    let user = room.subscribe();
    let (other, _) = room.subscribe_with(|_, _| {});
    assert_eq!((count(), room.subscribers()), (2, 2));
    drop((user, other));
    assert_eq!(count(), 0);
}

/// Reads server frames of fewer than 126 bytes until `count` of them are complete. Panics when one
/// is torn.
async fn frames_of(stream: &mut DuplexStream, count: usize) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let mut head = [0; 2];
        soon("a frame", stream.read_exact(&mut head)).await.unwrap();
        assert!(
            [0x81, 0x8a].contains(&head[0]) && head[1] < 126,
            "torn: {head:x?} after {frames:x?}"
        );
        let mut payload = vec![0; head[1].into()];
        soon("its payload", stream.read_exact(&mut payload)).await.unwrap();
        frames.push((head[0], payload));
    }
    frames
}

/// Lets the other futures of a test run.
async fn yield_often() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test]
async fn an_update_does_not_tear_a_pong() {
    let room = room();
    let (here, mut there) = duplex(160);
    let mut server = Socket::new(here, &[], Role::Server, Options::default());
    let mut user = room.subscribe();
    let shared = Arc::clone(&room);
    let handler = async move {
        while user.next(&mut server).await?.is_some() {
            say(&shared, "update");
        }
        Ok::<_, tungstenite::Error>(())
    };
    let peer = async {
        frames_of(&mut there, 1).await;
        // After this there is no room for the whole pong.
        say(&room, &"x".repeat(100));
        yield_often().await;
        // Both arrive at once, so the update of the click is on the tape when the pong is written.
        let click_and_ping = [frame(0x81, "click"), frame(0x89, [b'P'; 125])].concat();
        there.write_all(&click_and_ping).await.unwrap();
        yield_often().await;
        let frames = frames_of(&mut there, 3).await;
        assert!(frames.contains(&(0x8a, vec![b'P'; 125])), "{frames:x?}");
        assert!(frames.contains(&(0x81, b"update".to_vec())), "{frames:x?}");
    };
    tokio::select! {
        () = peer => {}
        ended = handler => panic!("{ended:?}"),
    }
}

/// Has an empty snapshot.
struct Silent;

impl State for Silent {
    fn snapshot(&self, _: &mut Frames) {}
}

#[tokio::test]
async fn a_client_is_read_after_an_empty_snapshot() {
    let silent = Fanout::new(Silent);
    let (mut server, mut client) = Socket::pair();
    let mut user = silent.subscribe();
    let handler = tokio::spawn(async move { user.next(&mut server).await });
    // The round comes and goes before the client sends anything.
    for _ in 0..10 {
        yield_now().await;
    }
    client.send("hello").await.unwrap();
    let received = soon("the message", handler).await.unwrap();
    assert_eq!(received.unwrap(), Some(Message::text("hello")));
}
