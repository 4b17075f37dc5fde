//! What was said, on the disk, and the rooms that are in use. A message is written first, and told
//! then: what a sender has heard of its own message, no kill takes back.
//!
//! One lock orders the writing, so that messages are told in the order of their numbers. It is not
//! the fan-out's: who only listens never waits for the disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use common::Result;
use common::fanout::Fanout;
use rusqlite::{Connection, params};
use tungstenite::Message;

use crate::metrics::METRICS;
use crate::pass::Pass;
use crate::room::{Event, HELD, Room, Said};

/// How many rooms may be in use at once. A room holds 3 MiB of messages at most.
const ROOMS: usize = 100;

/// How long a message is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

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

const NEWEST: &str = "SELECT * FROM (SELECT number, name, id, text FROM messages
    WHERE room = ? ORDER BY number DESC LIMIT ?) ORDER BY number";

/// The file, and the rooms in use.
pub struct Store {
    db: Connection,
    /// The last number of any room.
    last: i64,
    rooms: HashMap<String, Weak<Fanout<Room>>>,
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
        let last =
            db.query_row("SELECT ifnull(max(number), 0) FROM messages", [], |row| row.get(0))?;
        Ok(Self { db, last, rooms: HashMap::new() })
    }

    /// The room of this name, with what is known of it; `None` when too many are in use.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn room(&mut self, name: &str) -> Result<Option<Arc<Fanout<Room>>>> {
        if let Some(room) = self.rooms.get(name).and_then(Weak::upgrade) {
            return Ok(Some(room));
        }
        self.rooms.retain(|_, room| room.strong_count() > 0);
        if self.rooms.len() == ROOMS {
            return Ok(None);
        }
        let mut room = Room::new(self.forget()?);
        let mut newest = self.db.prepare_cached(NEWEST)?;
        // One more than the room holds: the one that it forgets.
        let mut rows = newest.query(params![name, HELD as i64 + 1])?;
        while let Some(row) = rows.next()? {
            let (number, name, id, text): (_, String, String, String) = row.try_into()?;
            let message = Event::message(number, &name, &id, &text);
            room.say(number, message);
        }
        let room = Fanout::new(room);
        room.watch(|took| METRICS.told.observe(took.as_secs_f64()));
        self.rooms.insert(name.to_owned(), Arc::downgrade(&room));
        Ok(Some(room))
    }

    /// Deletes what is too old; returns the number up to which messages are.
    fn forget(&self) -> Result<i64> {
        let too_old = now() - KEPT.as_millis() as i64;
        self.db.prepare_cached("DELETE FROM messages WHERE number <= ?")?.execute([too_old])?;
        Ok(too_old)
    }

    /// Writes a message down, then tells the room. If it was written down before, it is returned:
    /// its sender has not heard so, and says it again.
    ///
    /// # Errors
    ///
    /// SQLite's: nobody was told, and the sender will say it again.
    pub fn say(
        &mut self,
        pass: &Pass,
        room: &Fanout<Room>,
        said: &Said,
    ) -> Result<Option<Message>> {
        self.forget()?;
        // Also where the clock stands still, or goes back.
        let number = now().max(self.last + 1);
        let (Pass { room: of, name, .. }, Said { id, text }) = (pass, said);
        let mut write =
            self.db.prepare_cached("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)")?;
        if write.execute(params![number, of, name, id, text])? == 1 {
            self.last = number;
            METRICS.messages.inc();
            let message = Event::message(number, name, id, text);
            room.change(|room, to_all| {
                to_all.push(message.clone());
                room.say(number, message);
            });
            return Ok(None);
        }
        let mut read = self.db.prepare_cached(
            "SELECT number, text FROM messages WHERE room = ? AND name = ? AND id = ?",
        )?;
        let (number, text): (_, String) =
            read.query_row([of, name, id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Some(Event::message(number, name, id, &text)))
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as i64
}
