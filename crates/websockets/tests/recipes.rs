//! The recipes of `reference/recipes.md` that choose which clients receive a message.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use testing::soon;
use tokio::select;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::yield_now;
use websockets::fanout::{Fanout, Frames, State};
use websockets::{CloseCode, CloseWith, Message, Result, Socket};

type Users = Arc<Mutex<HashMap<String, mpsc::Sender<Message>>>>;

async fn receive_inbox(socket: &mut Socket, name: String, users: Users) -> Result<()> {
    let (sender, mut inbox) = mpsc::channel(64);
    {
        let mut users = users.lock().unwrap();
        users.retain(|_, sender| !sender.is_closed());
        users.insert(name, sender);
    }
    loop {
        select! {
            message = socket.recv() => match message? {
                Some(_) => {} // Your own code comes here.
                None => return Ok(()),
            },
            message = inbox.recv() => match message {
                Some(message) => socket.send(message).await?,
                None => return Err(CloseWith::new(CloseCode::Policy, "removed").into()),
            },
        }
    }
}

/// Returns false if the user is offline, or has 64 messages that are not sent yet.
fn send_to(users: &Users, name: &str, message: impl Into<Message>) -> bool {
    let users = users.lock().unwrap();
    users.get(name).is_some_and(|sender| sender.try_send(message.into()).is_ok())
}

fn kick(users: &Users, name: &str) {
    users.lock().unwrap().remove(name);
}

type Room = broadcast::Sender<(u64, Message)>;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

async fn send_to_others(socket: &mut Socket, room: Room) -> Result<()> {
    let me = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let mut updates = room.subscribe();
    loop {
        select! {
            message = socket.recv() => match message? {
                // This fails only without a receiver, and `updates` is one.
                Some(message) => _ = room.send((me, message)),
                None => return Ok(()),
            },
            update = updates.recv() => match update {
                Ok((sender, message)) if sender != me => socket.send(message).await?,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Err(CloseWith::new(CloseCode::Again, "too slow").into()),
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}

/// The number of connections of each user.
#[derive(Default)]
struct Online(BTreeMap<String, usize>);

impl State for Online {
    fn snapshot(&self, frames: &mut Frames) {
        frames.push(self.0.keys().map(String::as_str).collect::<Vec<_>>().join(" "));
    }
}

/// A user who is online until this is dropped.
struct Presence(String, Arc<Fanout<Online>>);

impl Presence {
    fn new(name: String, online: Arc<Fanout<Online>>) -> Self {
        online.change(|online, frames| {
            *online.0.entry(name.clone()).or_default() += 1;
            online.snapshot(frames);
        });
        Self(name, online)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Self(name, online) = self;
        online.change(|online, frames| {
            let count = online.0.remove(name).unwrap_or_default();
            if count > 1 {
                online.0.insert(name.clone(), count - 1);
            }
            online.snapshot(frames);
        });
    }
}

async fn show_presence(
    socket: &mut Socket,
    name: String,
    online: Arc<Fanout<Online>>,
) -> Result<()> {
    let mut user = online.subscribe();
    let _presence = Presence::new(name, online);
    while user.next(socket).await?.is_some() {}
    Ok(())
}

/// Starts a handler, and returns its client.
fn start<F>(handler: impl FnOnce(Socket) -> F) -> (Socket, tokio::task::JoinHandle<Result<()>>)
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (server, client) = Socket::pair();
    (client, tokio::spawn(handler(server)))
}

async fn text(client: &mut Socket) -> String {
    let message = soon("a message", client.recv()).await.unwrap().unwrap();
    message.to_text().unwrap().to_owned()
}

#[tokio::test]
async fn one_user_receives_a_message_until_kicked() {
    let users = Users::default();
    let open = |name: &str| {
        let (name, users) = (name.to_owned(), users.clone());
        start(|mut socket| async move { receive_inbox(&mut socket, name, users).await })
    };
    let (mut ada, handler) = open("Ada");
    let (mut bob, _bob) = open("Bob");
    assert!(!send_to(&users, "Eve", "for Eve"));
    soon("Ada and Bob", async {
        while !send_to(&users, "Ada", "for Ada") || !send_to(&users, "Bob", "for Bob") {
            yield_now().await;
        }
    })
    .await;
    assert_eq!(text(&mut ada).await, "for Ada");
    assert_eq!(text(&mut bob).await, "for Bob");

    kick(&users, "Ada");
    let error = soon("the end of Ada's handler", handler).await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<CloseWith>().unwrap().0.code, CloseCode::Policy);
    assert!(!send_to(&users, "Ada", "for Ada"));
    assert!(send_to(&users, "Bob", "for Bob"));
}

#[tokio::test]
async fn everyone_but_the_sender_receives_a_message() {
    let room = Room::new(64);
    let open = || {
        let room = room.clone();
        start(|mut socket| async move { send_to_others(&mut socket, room).await })
    };
    let ((mut ada, _ada), (mut bob, _bob)) = (open(), open());
    soon("both handlers", async {
        while room.receiver_count() < 2 {
            yield_now().await;
        }
    })
    .await;
    ada.send("from Ada").await.unwrap();
    assert_eq!(text(&mut bob).await, "from Ada");
    // If Ada had received her own message, it would be first.
    bob.send("from Bob").await.unwrap();
    assert_eq!(text(&mut ada).await, "from Bob");
}

#[tokio::test]
async fn a_user_is_online_until_the_last_connection_ends() {
    let online = Fanout::new(Online::default());
    let open = |name: &str| {
        let (name, online) = (name.to_owned(), online.clone());
        start(|mut socket| async move { show_presence(&mut socket, name, online).await })
    };
    let (mut ada, _ada) = open("Ada");
    assert_eq!(text(&mut ada).await, "Ada");
    let (bob_at_home, at_home) = open("Bob");
    assert_eq!(text(&mut ada).await, "Ada Bob");
    let (bob_at_work, at_work) = open("Bob");
    assert_eq!(text(&mut ada).await, "Ada Bob");

    drop(bob_at_home);
    _ = soon("the end at home", at_home).await.unwrap();
    assert_eq!(text(&mut ada).await, "Ada Bob");
    drop(bob_at_work);
    _ = soon("the end at work", at_work).await.unwrap();
    assert_eq!(text(&mut ada).await, "Ada");
}
