//! A chat with rooms. A client with a token for a room can send messages there, and receives every
//! message, even after it was disconnected for a while.
//!
//! Run `cargo run -p chat-server`, and in another shell `cargo run -p chat-server -- --invite Ada`,
//! which prints a link for your browser.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod database;
mod invitation;
mod login;
mod metrics;
mod name;
mod protocol;
mod room;
mod store;
mod token;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::check_private;
use governor::{DefaultKeyedRateLimiter, Quota};
use scopeguard::defer;
use tokio::{select, sync::Mutex, task::block_in_place, time::sleep};
use websockets::fanout::Fanout;
use websockets::{CloseCode, CloseWith, Flags, Message, Request, Result, Server, Socket};
use websockets::{flags, log, print_line, report, with};

use crate::database::now_ms;
use crate::invitation::Invitations;
use crate::login::{Joining, Login, PAGE};
use crate::metrics::{CONNECTIONS, count_close, count_rejection};
use crate::name::{is_room, nickname};
use crate::protocol::{ClientMessage, Event, Refusal};
use crate::room::Room;
use crate::store::Store;
use crate::token::{Key, PASS_LIFETIME, Token};

/// The number of messages that the server rejects before it closes the connection.
const MAX_REFUSALS: usize = 20;

struct Chat {
    store: Mutex<Store>,
    /// Counts by name, so all connections of one user share one limit.
    limiter: DefaultKeyedRateLimiter<String>,
}

async fn handle(socket: &mut Socket, mut request: Request, chat: Arc<Chat>) -> Result<()> {
    let joining = request.extensions_mut().remove().ok_or("a request without a pass")?;
    let Joining { token, since } = joining;
    drop(request);
    // Joining reads from the disk while other clients wait for the lock, so it has a limit.
    let too_often = "too many connections in a short time; try again in a second";
    let allowed = chat.limiter.check_key(&token.name);
    allowed.map_err(|_| CloseWith::new(CloseCode::Again, too_often))?;

    // No client can post while this lock is held. So this client receives the whole history first,
    // then the new messages. It misses none between them and receives none twice.
    let mut store = chat.store.lock().await;
    let room = store.rooms.get(&token.room)?;
    room.change(|room, _| room.join(&token.name))?;
    CONNECTIONS.inc();
    // This runs when the function ends, even if it ends by an error or a panic.
    defer! {
        CONNECTIONS.dec();
        // When a room becomes empty, the limiter forgets the names that were idle long enough.
        if room.change(|room, _| room.leave(&token.name)) {
            chat.limiter.retain_recent();
        }
    }
    // The disk may be slow, so tokio moves the other tasks of this thread to another thread.
    let history = block_in_place(|| store.history_since(&token.room, since))
        .map_err(|refusal| CloseWith::new(CloseCode::Again, refusal.message))?;
    let last_number = store.last_number;
    let (mut subscriber, greeting) = room.subscribe_with(|room, to_one| {
        to_one.push(Event::Welcome { name: &token.name, number: last_number });
        history.into_iter().for_each(|message| to_one.push(message));
        to_one.push(room.presence());
    });
    drop(store);

    socket.send_encoded(greeting).await?;
    let mut expiry = pin!(sleep(token.remaining()));
    let mut refusals = 0;
    loop {
        select! {
            biased;
            () = &mut expiry => {
                let reason = "your pass expires; renew it, or ask for another invitation";
                return Err(CloseWith::new(CloseCode::Policy, reason).into());
            }
            message = subscriber.next(socket) => {
                let Some(message) = message? else { return Ok(()) };
                let message = ClientMessage::from_json(&message.into_data());
                match chat.answer(&token, &room, &message, last_number).await {
                    Ok(None) => {}
                    Ok(Some(answer)) => socket.send(answer).await?,
                    Err(Refusal { reason, message: text, retry }) => {
                        count_rejection(reason);
                        refusals += usize::from(reason != Refusal::DATABASE.reason);
                        if refusals > MAX_REFUSALS {
                            let reason = "too many rejected messages";
                            return Err(CloseWith::new(CloseCode::Policy, reason).into());
                        }
                        let id = message.as_ref().ok().and_then(ClientMessage::id);
                        socket.send(Event::Error { id, message: text, retry }).await?;
                    }
                }
            }
        }
    }
}

impl Chat {
    /// Does what a client asks for. Returns the answer that only this client receives, if there is
    /// one. The client has received everything up to the number `greeted` before.
    async fn answer(
        &self,
        token: &Token,
        room: &Fanout<Room>,
        message: &Result<ClientMessage, Refusal>,
        greeted: i64,
    ) -> Result<Option<Message>, Refusal> {
        self.limiter.check_key(&token.name).map_err(|_| Refusal::RATE)?;
        let message = message.as_ref().map_err(|refusal| *refusal)?;
        let mut store = self.store.lock().await;
        block_in_place(|| match message {
            ClientMessage::Older { before } => store.older(&token.room, *before).map(Some),
            ClientMessage::Post { id, text } => {
                let (number, stored) = store.post(token, room, id, text)?;
                // Everyone in the room, the sender included, receives a new message from the tape.
                // If the message was stored before the greeting, its sender lost the answer and
                // sent it again. Then only the sender receives it, here.
                Ok((number <= greeted).then_some(stored))
            }
        })
    }
}

/// Looks after the database while the server runs.
async fn tick(chat: Arc<Chat>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        let mut store = chat.store.lock().await;
        block_in_place(|| store.tick(Instant::now(), now_ms()));
    }
}

#[derive(Parser)]
// The messages are texts, and no secret is among them: tokens travel in headers.
#[command(mut_arg("compression", |arg| arg.default_value("deflate")))]
struct ChatFlags {
    #[command(flatten)]
    flags: Flags,

    /// Folder for the messages and the key that signs invitations
    #[arg(long, value_name = "FOLDER", default_value = "chat-data")]
    data: PathBuf,

    /// Messages per second that one user may send; joining a room counts as one
    #[arg(long, value_name = "MESSAGES", default_value = "5")]
    rate: NonZeroU32,

    /// Serve Prometheus metrics at this address [default: off]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<String>,

    /// Copy the messages to a new file, also while the server runs, then exit
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,

    /// Print a link that gives NAME in a room, then exit; it works once, within an hour
    #[arg(long, value_name = "NAME")]
    invite: Option<String>,

    /// Print a token that gives NAME in a room to a script, as talk --token, then exit; it works for
    /// a week
    #[arg(long, value_name = "NAME", conflicts_with = "invite")]
    token: Option<String>,

    /// Room that the link or the token is for
    #[arg(long, value_name = "ROOM", default_value = "lobby")]
    room: String,
}

/// What `--invite` or `--token` prints.
fn invite(flags: &ChatFlags, name: &str) -> Result<String> {
    let (room, name) = (flags.room.clone(), nickname(name)?);
    if !is_room(&room) {
        return Err("invalid --room; use 1 to 32 of a-z, 0-9 and -".into());
    }
    let key = Key::load(&flags.data)?;
    match flags.token {
        Some(_) => key.sign(&Token::pass(room, name, PASS_LIFETIME)),
        None => invitation::link(&flags.flags, &key, room, name),
    }
}

async fn run() -> Result<()> {
    let flags: ChatFlags = flags::parse_with_default_address("localhost:7890");
    // Other users of this machine must not read the messages or the key.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if let Some(to) = &flags.backup {
        return database::backup(&flags.data, to);
    }
    if let Some(name) = flags.invite.as_ref().or(flags.token.as_ref()) {
        print_line(&invite(&flags, name)?);
        return Ok(());
    }
    Key::create(&flags.data)?;
    let key = Key::load(&flags.data)?;
    // SQLite gives its other files the mode of the database.
    for file in ["chat.db", "chat.db-wal", "chat.db-shm", "chat.db-journal"] {
        check_private(&flags.data.join(file))?;
    }
    // This waits until an older server on the same folder has ended, so it comes before the rest.
    let store = Store::open(&flags.data)?;
    let failure = store.failure();
    if let Some(address) = flags.metrics {
        metrics::listen(address).await?;
    }
    let limiter = DefaultKeyedRateLimiter::keyed(Quota::per_second(flags.rate));
    let chat = Arc::new(Chat { store: Mutex::new(store), limiter });
    tokio::spawn(tick(chat.clone()));
    let login = Arc::new(Login { key, invitations: Invitations::new(&flags.data) });
    Server::new(flags.flags)
        .page(PAGE)
        .own_origin_only()
        .process_request(with(login, login::process_request))
        .ready(move || failure.borrow().clone().map_or(Ok(()), Err))
        .on_close(count_close)
        .serve_with(chat, handle)
        .await
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    report(run().await)
}
