//! A chat with rooms: whoever has a pass for a room can talk in it, and misses nothing.
//!
//! Run `cargo run -p chat-server`, and in another shell `cargo run -p chat-server -- --invite Ada`,
//! which prints a link for your browser.

mod metrics;
mod pass;
mod room;
mod store;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use clap::Parser;
use common::server::{Response, flags, html, respond};
use common::{CloseWith, Flags, Request, Result, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use governor::{DefaultKeyedRateLimiter, Quota};
use scopeguard::defer;
use tokio::{select, sync::Mutex, task::block_in_place, time::sleep};
use tungstenite::http::{self, HeaderValue, StatusCode, header};
use tungstenite::protocol::frame::coding::CloseCode;

use crate::metrics::{CLOSED, CONNECTIONS};
use crate::pass::{Key, Pass};
use crate::room::{Event, Said};
use crate::store::Store;

const PAGE: &str = include_str!("../../../web/chat.html");

/// How long the names of people and of rooms may be, in characters.
const NAME: usize = 32;

/// How long a pass holds: until tomorrow.
const VALID: Duration = Duration::from_secs(24 * 3600);

/// How many messages of a connection are refused before it is closed.
const PATIENCE: usize = 20;

struct Chat {
    key: Key,
    store: Mutex<Store>,
    /// By name: several connections of one person share one bucket of tokens.
    limiter: DefaultKeyedRateLimiter<String>,
}

/// Looks at each request before it is answered: the page is for all, a room for who has a pass.
fn process_request(chat: &Chat, request: &Request) -> Option<Response> {
    let is_websocket = request.headers().contains_key(header::SEC_WEBSOCKET_KEY);
    let Some(room) = request.uri().path().strip_prefix("/rooms/").filter(|room| is_room(room))
    else {
        return is_websocket.then(|| respond(StatusCode::NOT_FOUND, "Rooms are at /rooms/NAME."));
    };
    // A proxy may have a login of its own, which is none of ours.
    let asks = |value: &HeaderValue| value == "cookie" || value.as_bytes().starts_with(b"Bearer ");
    if !is_websocket && !request.headers().get(header::AUTHORIZATION).is_some_and(asks) {
        return Some(html(PAGE.into()));
    }
    match chat.key.check(request) {
        None => Some(respond(StatusCode::UNAUTHORIZED, "This room needs a pass that holds.")),
        Some(pass) if pass.room != room => {
            Some(respond(StatusCode::FORBIDDEN, "This pass is for another room."))
        }
        Some(_) if is_websocket => None,
        // From the link's token to a cookie, for which the page asks by this header. No other
        // site's page can send it.
        Some(pass) => {
            let answer = http::Response::builder().header(header::SET_COOKIE, pass.cookie(request));
            answer.body("Come in.\n".into()).ok()
        }
    }
}

fn is_room(name: &str) -> bool {
    (1..=NAME).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

async fn talk(socket: &mut Socket, request: Request, chat: Arc<Chat>) -> Result<()> {
    let expired = "the pass has expired; ask for another";
    let pass = chat.key.check(&request).ok_or(CloseWith(CloseCode::Policy, expired))?;
    let since = request.uri().query().and_then(|query| query.strip_prefix("since=")?.parse().ok());
    let since = since.unwrap_or_default();
    drop(request);
    // To come in reads from the disk, and others wait for that.
    let often = CloseWith(CloseCode::Again, "you come too often; wait a little");
    chat.limiter.check_key(&pass.name).map_err(|_| often)?;

    // While this is locked nobody says anything: what was said goes first, then what is said.
    // Nothing is lost between, nothing comes twice.
    let mut store = chat.store.lock().await;
    let room = store.room(&pass.room)?;
    room.change(|room, _| room.enter(&pass.name))?;
    CONNECTIONS.inc();
    // However the conversation ends.
    defer! {
        CONNECTIONS.dec();
        // Who leaves nobody behind lets the names be forgotten that have been quiet for long.
        if room.change(|room, _| room.leave(&pass.name)) {
            chat.limiter.retain_recent();
        }
    }
    // A disk may be slow: other conversations of this thread move to another.
    let past = block_in_place(|| store.past(&pass.room, since))?;
    let last = store.last;
    let (mut user, greeting) = room.subscribe_with(|room, to_one| {
        to_one.push(Event::Hello { name: &pass.name, number: last });
        past.into_iter().for_each(|message| to_one.push(message));
        to_one.push(room.who());
    });
    drop(store);

    socket.send_encoded(greeting).await?;
    let mut expiry = pin!(sleep(pass.left()));
    let mut refused = 0;
    loop {
        select! {
            biased;
            () = &mut expiry => return Err(CloseWith(CloseCode::Policy, expired).into()),
            message = socket.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let turn = chat.limiter.check_key(&pass.name);
                let turn = turn.map_err(|_| "wait a little, then say it again");
                match turn.and_then(|()| Said::from_json(&message.into_data())) {
                    Ok(said) => {
                        let mut store = chat.store.lock().await;
                        let (number, message) = block_in_place(|| store.say(&pass, &room, &said))?;
                        drop(store);
                        // The sender hears it with all others, in its place, unless that place is
                        // before the greeting: it was said before, and the answer to it was lost.
                        if number <= last {
                            socket.send(message).await?;
                        }
                    }
                    Err(message) if refused < PATIENCE => {
                        refused += 1;
                        socket.send(Event::Error { message }.into()).await?;
                    }
                    Err(_) => {
                        return Err(CloseWith(CloseCode::Policy, "too much was refused").into());
                    }
                }
            }
            frames = user.recv() => socket.send_encoded(frames).await?,
        }
    }
}

#[derive(Parser)]
struct ChatFlags {
    #[command(flatten)]
    flags: Flags,

    /// Where the messages and the key for passes are kept
    #[arg(long, value_name = "FOLDER", default_value = "chat-data")]
    data: PathBuf,

    /// How many messages a second one may say; to come in counts as one
    #[arg(long, value_name = "MESSAGES", default_value = "5")]
    rate: NonZeroU32,

    /// Tell Prometheus the figures, at this address [default: tell nobody]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<String>,

    /// Print a link that lets NAME into a room for a day, and end
    #[arg(long, value_name = "NAME")]
    invite: Option<String>,

    /// The room that the link is for
    #[arg(long, value_name = "ROOM", default_value = "lobby")]
    room: String,
}

/// The link that lets `name` in. What is behind # stays in the browser: no server, proxy or log
/// gets to see it.
fn invite(ChatFlags { flags, room, .. }: ChatFlags, key: &Key, name: String) -> Result<String> {
    let is_name = (1..=NAME).contains(&name.chars().count()) && !name.contains(char::is_control);
    if !is_name || !is_room(&room) {
        return Err(
            "names have 1 to 32 characters, no controls; a room's only a-z, 0-9 and -".into()
        );
    }
    let origin = flags.allow_origin.into_iter().next();
    let origin = origin.unwrap_or_else(|| format!("http://{}", flags.address));
    let link = format!("{origin}/rooms/{room}#");
    let expires = (UNIX_EPOCH.elapsed()? + VALID).as_secs();
    Ok(link + &key.sign(&Pass { room, name, expires })?)
}

async fn run() -> Result<()> {
    let mut flags: ChatFlags = flags::parse_or("localhost:7890");
    // What is said in a room is as private as the key.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let key = Key::load(&flags.data)?;
    if let Some(name) = flags.invite.take() {
        common::text::say(&invite(flags, &key, name)?);
        return Ok(());
    }
    // This waits for the end of a server before this one, and so it comes first.
    let store = Mutex::new(Store::open(&flags.data.join("chat.db"))?);
    if let Some(address) = flags.metrics {
        metrics::listen(address).await?;
    }
    let limiter = DefaultKeyedRateLimiter::keyed(Quota::per_second(flags.rate));
    let chat = Arc::new(Chat { key, store, limiter });
    let door = Arc::clone(&chat);
    Server::new(flags.flags)
        .page(PAGE)
        .process_request(move |request, _| process_request(&door, request))
        .on_close(|code| _ = CLOSED.get_or_create(&[("code", code.into())]).inc())
        .serve(move |socket, request| Box::pin(talk(socket, request, Arc::clone(&chat))))
        .await
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    common::report(run().await)
}
