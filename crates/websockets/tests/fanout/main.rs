//! The public interface of the fan-out. tungstenite reads the frames that the subscribers receive.

/// `next` and `flush`, which send the updates to a socket.
mod next;
/// Panics in the code of a user of the fan-out.
mod panics;

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use testing::soon;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use websockets::fanout::{Encoded, Fanout, Frames, State, Subscriber};

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
