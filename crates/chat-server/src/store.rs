//! The database of all messages, and the rooms in use. The server stores a message before it sends
//! it. So a message that its sender has received back is never lost, even after `kill -9`.
//!
//! One lock orders the writes, so every client receives the messages in the order of their numbers.
//! The fan-out has another lock, so a client that only listens never waits for the disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, Row, params};
use websockets::fanout::Fanout;
use websockets::{CloseCode, CloseWith, Message, Result};

use crate::metrics::{DELIVERY, MESSAGES};
use crate::room::{ClientMessage, Event, RECENT_MESSAGES, Room};
use crate::token::Token;

/// The limit of rooms in use at the same time.
const MAX_ROOMS: usize = 100;

/// The limit of missed messages that a client receives when it reconnects.
const MAX_BACKLOG: usize = 500;

/// The time that a message is kept, in milliseconds: one week.
const RETENTION_MS: i64 = 7 * 24 * 3600 * 1000;

/// The time that a new server waits for the old one to end. A server stops in less time than this.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// With WAL and NORMAL, a commit survives any end of this program. To survive a power cut, it would
/// need FULL and have to wait for the disk. EXCLUSIVE makes a second server on the same file wait
/// for the end of the first, because clients of one server would not receive the messages of the
/// other.
const SCHEMA: &str = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, room TEXT NOT NULL,
        name TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (room, name, id)) STRICT;
    CREATE INDEX IF NOT EXISTS by_room ON messages (room, number);";

const SELECT_NEWEST: &str =
    "SELECT * FROM messages WHERE room = ? AND number > ? ORDER BY number DESC LIMIT ?";

/// Deletes at most 1,000 messages, so the first message after a quiet week does not take long.
const DELETE_EXPIRED: &str = "DELETE FROM messages WHERE number IN
    (SELECT number FROM messages WHERE number < ? LIMIT 1000)";

/// The database, and the rooms in use.
pub struct Store {
    db: Connection,
    /// The number of the last message of any room. If there is none, the time of the start.
    pub last_number: i64,
    /// A new database may replace a lost one. So the messages up to this number are unknown.
    oldest_known: i64,
    rooms: HashMap<String, Arc<Fanout<Room>>>,
}

impl Store {
    /// Opens the database. Creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// An error message with the path, the error of SQLite, and what to do.
    pub fn open(path: &Path) -> Result<Self> {
        let message = |error| format!("cannot open {}: {error}; {}", path.display(), hint(&error));
        let db = Connection::open(path).map_err(message)?;
        db.busy_timeout(LOCK_TIMEOUT)?;
        db.execute_batch(SCHEMA).map_err(message)?;
        let last_number: Option<_> = db
            .query_row("SELECT max(number) FROM messages", [], |row| row.get(0))
            .map_err(message)?;
        let start = now_ms() - 1;
        let oldest_known = if last_number.is_none() { start } else { 0 };
        let last_number = last_number.unwrap_or(start);
        Ok(Self { db, last_number, oldest_known, rooms: HashMap::new() })
    }

    /// The room with this name. It is in use until every connection has dropped it.
    ///
    /// # Errors
    ///
    /// 1013 if too many rooms are in use.
    pub fn room(&mut self, name: &str) -> Result<Arc<Fanout<Room>>> {
        self.rooms.retain(|_, room| Arc::strong_count(room) > 1);
        if self.rooms.len() == MAX_ROOMS && !self.rooms.contains_key(name) {
            return Err(CloseWith::new(CloseCode::Again, "too many rooms are in use").into());
        }
        let room = self.rooms.entry(name.to_owned()).or_insert_with(|| {
            let room = Fanout::new(Room::default());
            room.measure_delivery(|took| DELIVERY.observe(took.as_secs_f64()));
            room
        });
        Ok(Arc::clone(room))
    }

    /// The messages of a room after the number `since`. If some of them are no longer kept, or if
    /// there are too many, the result is a gap and the latest messages. For a new client, `since`
    /// is 0 and the result is the latest messages.
    ///
    /// # Errors
    ///
    /// The error of SQLite.
    pub fn history_since(&self, room: &str, since: i64) -> Result<Vec<Message>> {
        let mut newest = self.db.prepare_cached(SELECT_NEWEST)?;
        let oldest = self.oldest_known.max(now_ms() - RETENTION_MS);
        // A number above the last one comes from another server.
        let from = if (oldest..=self.last_number).contains(&since) { since } else { oldest };
        let limit = if since == 0 { RECENT_MESSAGES } else { MAX_BACKLOG + 1 } as i64;
        let rows = newest.query_map(params![room, from, limit], read_row)?;
        let mut history: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        if since != 0 && (from != since || history.len() > MAX_BACKLOG) {
            history.truncate(RECENT_MESSAGES);
            history.push((0, Event::Gap.into()));
        }
        Ok(history.into_iter().rev().map(|(_, message)| message).collect())
    }

    /// Stores a message, then sends it to its room. If a message with this id is stored already,
    /// its sender received no answer and sent it again, so the room receives nothing. Returns the
    /// stored message and its number.
    ///
    /// # Errors
    ///
    /// The error of SQLite. Then no client received the message, and its sender will send it again.
    pub fn post(
        &mut self,
        token: &Token,
        room: &Fanout<Room>,
        message: &ClientMessage,
    ) -> Result<(i64, Message)> {
        let (Token { room: room_name, name, .. }, ClientMessage { id, text }) = (token, message);
        // The clock may stand still or go back, but the numbers must grow.
        let number = now_ms().max(self.last_number + 1);
        self.db.prepare_cached(DELETE_EXPIRED)?.execute([now_ms() - RETENTION_MS])?;
        let insert = "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)";
        self.db.prepare_cached(insert)?.execute(params![number, room_name, name, id, text])?;
        let select = "SELECT * FROM messages WHERE room = ? AND name = ? AND id = ?";
        let (stored_number, stored) =
            self.db.prepare_cached(select)?.query_row([room_name, name, id], read_row)?;
        if stored_number == number {
            self.last_number = number;
            MESSAGES.inc();
            room.change(|room, to_all| room.post(stored.clone(), to_all));
        }
        Ok((stored_number, stored))
    }
}

/// What to do if the database cannot be opened.
fn hint(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => "stop the other server, or pass another --data",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "move the file away, or replace it by a backup"
        }
        Some(ErrorCode::DiskFull) => "free some space",
        _ => "let this user write the file and its folder, or pass another --data",
    }
}

/// Reads the number and the message from a row.
fn read_row(row: &Row) -> rusqlite::Result<(i64, Message)> {
    let (number, _room, name, id, text): (_, String, String, String, String) = row.try_into()?;
    Ok((number, Event::Message { number, name: &name, id: &id, text: &text }.into()))
}

/// The time in milliseconds since 1970.
fn now_ms() -> i64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as i64
}
