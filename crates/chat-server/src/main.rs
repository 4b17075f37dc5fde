//! A chat with rooms: whoever has a pass for a room can talk in it, and misses nothing.
//!
//! Run `cargo run -p chat-server`, and in another shell `cargo run -p chat-server -- --invite Ada`,
//! which prints a link for your browser.

mod clerk;
mod pass;
mod room;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use clap::Parser;
use common::fanout::Fanout;
use common::server::{Response, flags, html, respond};
use common::{CloseWith, Flags, Request, Result, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use governor::{DefaultKeyedRateLimiter, Quota};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::{select, time::timeout};
use tungstenite::http::{HeaderValue, StatusCode, header};
use tungstenite::protocol::frame::coding::CloseCode;

use crate::clerk::Job;
use crate::pass::{Key, Pass};
use crate::room::{Event, Room, Visit};

const PAGE: &str = include_str!("../../../web/chat.html");

/// How long the names of people and rooms may be, and what is said; in characters.
const NAME: usize = 32;
const TEXT: usize = 1000;

/// How long a pass holds: until tomorrow.
const VALID: Duration = Duration::from_secs(24 * 3600);

/// How many messages of a connection are refused before it is closed.
const PATIENCE: usize = 20;

/// What a visitor says: `{"action":"say","id":"1","text":"Hi"}`. The id is the sender's choice; one
/// who heard no answer says the same again, under the same id.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Action {
    Say { id: String, text: String },
}

struct Chat {
    key: Key,
    jobs: mpsc::Sender<Job>,
    /// By name: several connections of one person share one bucket of tokens.
    limiter: DefaultKeyedRateLimiter<String>,
}

impl Chat {
    /// Reads what `name` says, unless it says too much at once.
    fn read(&self, name: &String, json: &[u8]) -> std::result::Result<Action, &'static str> {
        self.limiter.check_key(name).map_err(|_| "wait a little, then say it again")?;
        let form = r#"say {"action":"say","id":"1","text":"Hi"}"#;
        let action = serde_json::from_slice(json).map_err(|_| form)?;
        let Action::Say { id, text } = &action;
        if !(1..=NAME).contains(&id.len()) {
            return Err("an id has 1 to 32 bytes");
        }
        if text.trim().is_empty() || text.chars().count() > TEXT {
            return Err("a text has 1 to 1000 characters, and not only blanks");
        }
        Ok(action)
    }
}

/// Looks at each request before it is answered: the page is for all, a room for who has a pass.
fn process_request(chat: &Chat, request: &Request) -> Option<Response> {
    let has = |name| request.headers().contains_key(name);
    let is_websocket = has(header::SEC_WEBSOCKET_KEY);
    let Some(room) = request.uri().path().strip_prefix("/rooms/").filter(|room| is_room(room))
    else {
        return is_websocket.then(|| respond(StatusCode::NOT_FOUND, "Rooms are at /rooms/NAME."));
    };
    if !is_websocket && !has(header::AUTHORIZATION) {
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
            let mut response = respond(StatusCode::OK, "Come in.");
            let cookie = HeaderValue::try_from(pass.cookie(request)).ok()?;
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            Some(response)
        }
    }
}

fn is_room(name: &str) -> bool {
    (1..=NAME).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

async fn visit(socket: &mut Socket, request: Request, chat: Arc<Chat>) -> Result<()> {
    let expired = CloseWith(CloseCode::Policy, "the pass has expired; ask for another");
    let Some(pass) = chat.key.check(&request) else { return Err(expired.into()) };
    let since = request.uri().query().and_then(|query| query.strip_prefix("since=")?.parse().ok());
    drop(request);
    let (reply, room) = oneshot::channel();
    chat.jobs.send(Job::Open(pass.room.clone(), reply)).await?;
    let full = CloseWith(CloseCode::Again, "too many rooms are in use; come back later");
    let room = room.await?.ok_or(full)?;
    // Registered, until this is dropped
    let _visit = Visit::new(&room, &pass.name);
    timeout(pass.left(), talk(socket, &pass, since, &room, &chat))
        .await
        .unwrap_or(Err(expired.into()))
}

async fn talk(
    socket: &mut Socket,
    pass: &Pass,
    since: Option<i64>,
    room: &Arc<Fanout<Room>>,
    chat: &Chat,
) -> Result<()> {
    // What was said goes first, then what is said: nothing is lost between, and nothing comes twice.
    let (mut user, greeting) =
        room.subscribe_with(|room, to_one| room.greet(&pass.name, since, to_one));
    socket.send_encoded(greeting).await?;
    let mut refused = 0;
    loop {
        select! {
            biased;
            message = socket.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                match chat.read(&pass.name, &message.into_data()) {
                    // The sender hears it with all others, once it is written down.
                    Ok(Action::Say { id, text }) => {
                        let (room, to, name) = (pass.room.clone(), room.clone(), pass.name.clone());
                        chat.jobs.send(Job::Say { room, to, name, id, text }).await?;
                    }
                    Err(_) if refused == PATIENCE => {
                        return Err(CloseWith(CloseCode::Policy, "too many messages were refused").into());
                    }
                    Err(message) => {
                        refused += 1;
                        socket.send(Event::Error { message }.to_message()).await?;
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

    /// How many messages a second one may say
    #[arg(long, value_name = "MESSAGES", default_value = "5")]
    rate: NonZeroU32,

    /// Print a link that lets NAME into a room for a day, and end
    #[arg(long, value_name = "NAME")]
    invite: Option<String>,

    /// The room that the link is for
    #[arg(long, value_name = "ROOM", default_value = "lobby")]
    room: String,
}

/// The link that lets `name` in. What is behind # stays in the browser: no server, proxy or log
/// gets to see it.
fn invite(flags: ChatFlags, key: &Key, name: String) -> Result<String> {
    let room = flags.room;
    if !is_room(&room) {
        return Err("a room's name has 1 to 32 of a-z, 0-9 and -".into());
    }
    if !(1..=NAME).contains(&name.chars().count()) || name.contains(char::is_control) {
        return Err("a name has 1 to 32 characters, none of which is a control character".into());
    }
    let origin = flags.flags.allow_origin.into_iter().next();
    let origin = origin.unwrap_or_else(|| format!("http://{}", flags.flags.address));
    let link = format!("{origin}/rooms/{room}#");
    let expires = (UNIX_EPOCH.elapsed()? + VALID).as_secs();
    Ok(link + &key.sign(&Pass { room, name, expires })?)
}

async fn run() -> Result<()> {
    let mut flags: ChatFlags = flags::parse_or("localhost:7890");
    let key = Key::load(&flags.data)?;
    if let Some(name) = flags.invite.take() {
        common::text::say(&invite(flags, &key, name)?);
        return Ok(());
    }
    let jobs = clerk::start(&flags.data.join("chat.db"))?;
    let limiter = DefaultKeyedRateLimiter::keyed(Quota::per_second(flags.rate));
    let chat = Arc::new(Chat { key, jobs, limiter });
    let door = Arc::clone(&chat);
    Server::new(flags.flags)
        .page(PAGE)
        .process_request(move |request, _| process_request(&door, request))
        .serve(move |socket, request| Box::pin(visit(socket, request, Arc::clone(&chat))))
        .await
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    common::report(run().await)
}
