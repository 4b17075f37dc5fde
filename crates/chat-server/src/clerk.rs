//! The clerk: the one thread that opens rooms, writes down what is said, and has it told only
//! then. One, so that messages are told in the order of their numbers; and a thread, so that
//! nobody waits for the disk with a lock in hand.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use common::Result;
use common::fanout::Fanout;
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::room::{Event, HELD, Room};

/// How many rooms may have visitors at once. A room holds 3 MiB of messages at most.
const ROOMS: usize = 100;

/// How long a message is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many jobs may wait. As many are written in one transaction: the disk takes as long for one.
const WAITING: usize = 1000;

/// With WAL, it is FULL that makes a commit wait for the disk.
const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, room TEXT NOT NULL,
        name TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (room, name, id)) STRICT;
    CREATE INDEX IF NOT EXISTS by_room ON messages (room, number);";

/// What the clerk is asked for.
pub enum Job {
    /// The room of this name; `None` when there are too many.
    Open(String, oneshot::Sender<Option<Arc<Fanout<Room>>>>),
    /// Write this down, then tell the room.
    Say { room: String, to: Arc<Fanout<Room>>, name: String, id: String, text: String },
}

/// Starts the clerk, who works until nobody can send a job any more.
///
/// # Errors
///
/// SQLite's, when it cannot open its file.
pub fn start(path: &Path) -> Result<mpsc::Sender<Job>> {
    let db = Connection::open(path)?;
    db.execute_batch(SCHEMA)?;
    let last = db.query_row("SELECT ifnull(max(number), 0) FROM messages", [], |row| row.get(0))?;
    let mut clerk = Clerk { db, last, rooms: HashMap::new() };
    let (jobs, mut inbox) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut waiting = Vec::new();
        while inbox.blocking_recv_many(&mut waiting, WAITING) > 0 {
            if let Err(error) = clerk.work(waiting.drain(..)) {
                // Nobody was told. The senders will say it again.
                error!("cannot write down what is said: {error}");
            }
        }
    });
    Ok(jobs)
}

struct Clerk {
    db: Connection,
    /// The last number, of all rooms'.
    last: i64,
    rooms: HashMap<String, Weak<Fanout<Room>>>,
}

impl Clerk {
    fn work(&mut self, jobs: impl Iterator<Item = Job>) -> rusqlite::Result<()> {
        let (mut to_tell, mut to_open) = (Vec::new(), Vec::new());
        let transaction = self.db.transaction()?;
        for job in jobs {
            match job {
                Job::Open(name, reply) => to_open.push((name, reply)),
                Job::Say { room, to, name, id, text } => {
                    // Also where the clock stands still or goes back.
                    self.last = now().max(self.last + 1);
                    let number = self.last;
                    let written = transaction
                        .prepare_cached("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)")?
                        .execute(params![number, room, name, id, text])?;
                    // 0: a sender who heard no answer says it again.
                    if written == 1 {
                        let message = Event::Message { number, name: &name, id: &id, text: &text };
                        to_tell.push((to, number, message.to_message()));
                    }
                }
            }
        }
        transaction.commit()?;
        for (room, number, message) in to_tell {
            room.change(|room, to_all| {
                to_all.push(message.clone());
                room.say(number, message);
            });
        }
        for (name, reply) in to_open {
            _ = reply.send(self.open(name)?);
        }
        Ok(())
    }

    fn open(&mut self, name: String) -> rusqlite::Result<Option<Arc<Fanout<Room>>>> {
        if let Some(room) = self.rooms.get(&name).and_then(Weak::upgrade) {
            return Ok(Some(room));
        }
        self.rooms.retain(|_, room| room.strong_count() > 0);
        if self.rooms.len() == ROOMS {
            return Ok(None);
        }
        let too_old = now() - KEPT.as_millis() as i64;
        self.db.execute("DELETE FROM messages WHERE number <= ?", [too_old])?;
        let mut room = Room::new(too_old);
        // One more than the room holds: it is the one that is forgotten.
        let mut newest = self.db.prepare_cached(
            "SELECT * FROM (SELECT number, name, id, text FROM messages WHERE room = ?
                ORDER BY number DESC LIMIT ?) ORDER BY number",
        )?;
        let mut rows = newest.query(params![name, HELD as i64 + 1])?;
        while let Some(row) = rows.next()? {
            let (number, name, id, text): (_, String, String, String) = row.try_into()?;
            let message = Event::Message { number, name: &name, id: &id, text: &text };
            room.say(number, message.to_message());
        }
        let room = Fanout::new(room);
        self.rooms.insert(name, Arc::downgrade(&room));
        Ok(Some(room))
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as i64
}
