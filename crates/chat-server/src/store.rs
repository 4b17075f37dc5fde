//! What was said, on the disk, and the rooms that are in use. A message is written first, and told
//! then: what a sender has heard of its own message, no kill takes back.
//!
//! One lock orders the writing, so that messages are told in the order of their numbers. It is not
//! the fan-out's: who only listens never waits for the disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use common::fanout::Fanout;
use common::{CloseWith, Result};
use rusqlite::{Connection, Row, params};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::metrics::{MESSAGES, TOLD};
use crate::pass::Pass;
use crate::room::{Event, Room, SHOWN, Said};

/// How many rooms may be in use at once.
const ROOMS: usize = 100;

/// How many messages one gets at most who comes back.
const MISSED: usize = 500;

/// How long a message is kept, in milliseconds: a week.
const KEPT: i64 = 7 * 24 * 3600 * 1000;

/// How long a new server waits for the end of an old one: longer than a stop takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// With WAL and NORMAL a commit outlives this program, however it ends. To outlive a power cut it
/// needs FULL, and waits for the disk. EXCLUSIVE: a second server on the same file waits for the
/// end of the first, because their rooms would not hear of each other.
const SCHEMA: &str = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, room TEXT NOT NULL,
        name TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (room, name, id)) STRICT;
    CREATE INDEX IF NOT EXISTS by_room ON messages (room, number);";

const NEWEST: &str =
    "SELECT * FROM messages WHERE room = ? AND number > ? ORDER BY number DESC LIMIT ?";

/// A thousand at most, so that nobody waits for long when there was silence for a week.
const FORGET: &str = "DELETE FROM messages WHERE number IN
    (SELECT number FROM messages WHERE number < ? LIMIT 1000)";

/// The file, and the rooms in use.
pub struct Store {
    db: Connection,
    /// The last number of any room, or the time of the start if there is none.
    pub last: i64,
    /// Of an empty file nobody knows what was in it, up to this number.
    unknown: i64,
    rooms: HashMap<String, Arc<Fanout<Room>>>,
}

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn open(path: &Path) -> Result<Self> {
        let db = Connection::open(path)?;
        db.busy_timeout(PATIENCE)?;
        db.execute_batch(SCHEMA).map_err(|error| {
            format!("cannot use {}: {error}; does another server?", path.display())
        })?;
        let last: Option<_> =
            db.query_row("SELECT max(number) FROM messages", [], |row| row.get(0))?;
        let start = now() - 1;
        let unknown = if last.is_none() { start } else { 0 };
        Ok(Self { db, last: last.unwrap_or(start), unknown, rooms: HashMap::new() })
    }

    /// The room of this name. It is in use until the last one has dropped it.
    ///
    /// # Errors
    ///
    /// 1013 when too many are in use.
    pub fn room(&mut self, name: &str) -> Result<Arc<Fanout<Room>>> {
        self.rooms.retain(|_, room| Arc::strong_count(room) > 1);
        if self.rooms.len() == ROOMS && !self.rooms.contains_key(name) {
            return Err(CloseWith(CloseCode::Again, "too many rooms are in use").into());
        }
        let room = self.rooms.entry(name.to_owned()).or_insert_with(|| {
            let room = Fanout::new(Room::default());
            room.watch(|took| TOLD.observe(took.as_secs_f64()));
            room
        });
        Ok(Arc::clone(room))
    }

    /// What was said in a room: all that follows the number `since`, or a gap and the newest, if
    /// not all of that is kept, or it is too much. For 0, who was not here before, the newest.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn past(&self, room: &str, since: i64) -> Result<Vec<Message>> {
        let mut newest = self.db.prepare_cached(NEWEST)?;
        let kept = self.unknown.max(now() - KEPT);
        // Above the last: another server said so.
        let from = if (kept..=self.last).contains(&since) { since } else { kept };
        let limit = if since == 0 { SHOWN } else { MISSED + 1 } as i64;
        let rows = newest.query_map(params![room, from, limit], message)?;
        let mut past: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        if since != 0 && (from != since || past.len() > MISSED) {
            past.truncate(SHOWN);
            past.push((0, Event::Gap.into()));
        }
        Ok(past.into_iter().rev().map(|(_, message)| message).collect())
    }

    /// Writes a message down, then tells the room. What was written down before, under the same
    /// id, is told to nobody: its sender has heard no answer, and says it again. Returns it as it
    /// was written, with its number.
    ///
    /// # Errors
    ///
    /// SQLite's: nobody was told, and the sender will say it again.
    pub fn say(&mut self, pass: &Pass, room: &Fanout<Room>, said: &Said) -> Result<(i64, Message)> {
        let (Pass { room: of, name, .. }, Said { id, text }) = (pass, said);
        // Also where the clock stands still, or goes back.
        let number = now().max(self.last + 1);
        self.db.prepare_cached(FORGET)?.execute([now() - KEPT])?;
        let write = "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)";
        self.db.prepare_cached(write)?.execute(params![number, of, name, id, text])?;
        let read = "SELECT * FROM messages WHERE room = ? AND name = ? AND id = ?";
        let (written, message) =
            self.db.prepare_cached(read)?.query_row([of, name, id], message)?;
        if written == number {
            self.last = number;
            MESSAGES.inc();
            room.change(|room, to_all| room.say(message.clone(), to_all));
        }
        Ok((written, message))
    }
}

/// Number and message of a row.
fn message(row: &Row) -> rusqlite::Result<(i64, Message)> {
    let (number, _room, name, id, text): (_, String, String, String, String) = row.try_into()?;
    Ok((number, Event::Message { number, name: &name, id: &id, text: &text }.into()))
}

/// Milliseconds since 1970.
fn now() -> i64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as i64
}
