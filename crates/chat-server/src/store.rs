//! The messages of all rooms, and the rooms in use. The server stores a message before it sends it.
//! So a message that its sender has received back is never lost, even after `kill -9`.
//!
//! One lock orders the writes, so every client receives the messages in the order of their numbers.
//! The fan-out has another lock, so a client that only listens never waits for the disk.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Row, params};
use tokio::sync::watch;
use websockets::fanout::Fanout;
use websockets::{Message, Result};

use crate::database::{Database, now_ms};
use crate::metrics::{DATABASE_ERRORS, MESSAGES};
use crate::protocol::{Event, Refusal, Stored};
use crate::room::{RECENT_MESSAGES, Room, Rooms};
use crate::token::Token;

/// The limit of missed messages that a client receives when it reconnects.
const MAX_BACKLOG: usize = 500;

/// The time that a message is kept, in milliseconds: one week.
const RETENTION_MS: i64 = 7 * 24 * 3600 * 1000;

/// A clock that is wrong by a month must not delete the history before you notice. So the server
/// deletes nothing until its clock has run for a day without a jump.
const TRUST_CLOCK_AFTER: Duration = Duration::from_secs(24 * 3600);
const MAX_JUMP_MS: i64 = 60_000;

/// If the row exists already, this changes nothing and returns it.
const INSERT: &str = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (room, name, id) DO UPDATE SET id = excluded.id RETURNING *";

/// Whether the database has all messages after this number.
const IS_KNOWN: &str = "SELECT ?1 = deleted_to
    OR ?1 > deleted_to AND EXISTS (SELECT * FROM messages WHERE number = ?1) FROM state";

const SELECT_AFTER: &str =
    "SELECT * FROM messages WHERE room = ? AND number > ? ORDER BY number DESC LIMIT ?";

const SELECT_BEFORE: &str =
    "SELECT * FROM messages WHERE room = ? AND number < ? ORDER BY number DESC LIMIT ?";

/// Deletes at most 1,000 messages from before the time `?1`, so that it does not take long. A time
/// may be wrong, so a message must also be older than the first one from between `?1` and now. If
/// there is none, nothing is deleted.
const DELETE_EXPIRED: &str = "DELETE FROM messages WHERE number IN
    (SELECT number FROM messages WHERE time < ?1 AND number < coalesce((SELECT number FROM messages
        WHERE time BETWEEN ?1 AND ?2 ORDER BY number LIMIT 1), 0)
    ORDER BY number LIMIT 1000)";

/// The messages, and the rooms in use.
pub struct Store {
    database: Database,
    /// The number of the last message of any room.
    pub last_number: i64,
    pub rooms: Rooms,
    /// Why the database failed, if it has not worked again since.
    failure: watch::Sender<Option<String>>,
    /// The times of the last tick.
    last_tick: (Instant, i64),
    clock_even_since: Instant,
}

impl Store {
    /// Opens the database in a folder. Creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// An error message with the path, the reason, and what to do.
    pub fn open(folder: &Path) -> Result<Self> {
        let database = Database::open(folder)?;
        let last_number = "SELECT max(deleted_to, coalesce((SELECT max(number) FROM messages), 0))
            FROM state";
        let last_number = database.connection.query_row(last_number, [], |row| row.get(0))?;
        let now = Instant::now();
        let last_tick = (now, now_ms());
        let (rooms, failure) = (Rooms::default(), watch::Sender::default());
        Ok(Self { database, last_number, rooms, failure, last_tick, clock_even_since: now })
    }

    /// Why the database failed; `None` while it works.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    /// The messages of a room after the number `since`. If some of them are no longer kept, or if
    /// there are too many, the result is a gap and the latest messages. For a new client, `since`
    /// is `None` and the result is the latest messages.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn history_since(&self, room: &str, since: Option<i64>) -> Result<Vec<Message>, Refusal> {
        let read = || -> Result<_> {
            let mut is_known = self.database.connection.prepare_cached(IS_KNOWN)?;
            let known = match since {
                Some(since) if is_known.query_row([since], |row| row.get(0))? => Some(since),
                _ => None,
            };
            let limit = if known.is_some() { MAX_BACKLOG + 1 } else { RECENT_MESSAGES };
            let mut history = self.select(SELECT_AFTER, room, known.unwrap_or(0), limit)?;
            let has_gap = since != known || history.len() > MAX_BACKLOG;
            if has_gap {
                history.drain(..history.len().saturating_sub(RECENT_MESSAGES));
            }
            let gap = has_gap.then_some(Event::Gap);
            let history = history.into_iter().map(Event::Message);
            Ok(gap.into_iter().chain(history).map(Message::from).collect())
        };
        read().map_err(|error| self.failed(&error))
    }

    /// The last messages of a room before the number `before`, as an event.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn older(&self, room: &str, before: i64) -> Result<Message, Refusal> {
        let messages = self.select(SELECT_BEFORE, room, before, RECENT_MESSAGES);
        let messages = messages.map_err(|error| self.failed(&error))?;
        Ok(Event::Older { messages }.into())
    }

    /// Stores a message, then sends it to its room. If a message with this id is stored already,
    /// its sender received no answer and sent it again, so the room receives nothing. Returns the
    /// stored message and its number.
    ///
    /// # Errors
    ///
    /// The database failed, or the stored message has another text. Then no client received it.
    pub fn post(
        &mut self,
        token: &Token,
        room: &Fanout<Room>,
        id: &str,
        text: &str,
    ) -> Result<(i64, Message), Refusal> {
        let time = now_ms();
        // The clock may stand still or go back, but the numbers must grow.
        let number = time.max(self.last_number + 1);
        let write = || -> Result<_> {
            self.database.check()?;
            let mut insert = self.database.connection.prepare_cached(INSERT)?;
            let row = params![number, token.room, token.name, id, text, time];
            // SQLite commits only when there are no more rows, so this must not stop at the first.
            let rows: Vec<_> = insert.query_map(row, read_row)?.collect::<rusqlite::Result<_>>()?;
            Ok(rows.into_iter().next().ok_or("no row")?)
        };
        let stored = write().map_err(|error| self.failed(&error))?;
        self.works();
        if stored.text != text {
            return Err(Refusal::ID);
        }
        let number = stored.number;
        let stored = Message::from(Event::Message(stored));
        if number > self.last_number {
            self.last_number = number;
            MESSAGES.inc();
            room.change(|room, to_all| room.post(stored.clone(), to_all));
        }
        Ok((number, stored))
    }

    /// Deletes expired messages, and finds out whether a database that failed works again. Call it
    /// every second with the time of a clock that never jumps, and with the time of day.
    pub fn tick(&mut self, instant: Instant, now: i64) {
        let (last_instant, last_now) = std::mem::replace(&mut self.last_tick, (instant, now));
        let expected = last_now + (instant - last_instant).as_millis() as i64;
        if (now - expected).abs() > MAX_JUMP_MS {
            self.clock_even_since = instant;
        }
        let is_trusted = instant - self.clock_even_since >= TRUST_CLOCK_AFTER;
        let write = || -> Result<()> {
            self.database.check()?;
            if is_trusted {
                let mut delete = self.database.connection.prepare_cached(DELETE_EXPIRED)?;
                delete.execute([now - RETENTION_MS, now])?;
            }
            if self.failure.borrow().is_some() {
                self.database.connection.execute("UPDATE state SET probes = probes + 1", [])?;
            }
            Ok(())
        };
        match write() {
            Ok(()) => self.works(),
            Err(error) => _ = self.failed(&error),
        }
    }

    fn select(&self, query: &str, room: &str, number: i64, limit: usize) -> Result<Vec<Stored>> {
        let mut select = self.database.connection.prepare_cached(query)?;
        let rows = select.query_map(params![room, number, limit as i64], read_row)?;
        let mut rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        rows.reverse();
        Ok(rows)
    }

    /// Logs the first of several failures, because a full disk has no space for all of them.
    fn failed(&self, error: &websockets::Error) -> Refusal {
        DATABASE_ERRORS.inc();
        if self.failure.send_replace(Some(format!("The database failed: {error}."))).is_none() {
            tracing::error!("the database failed: {error}; messages are rejected until it works");
        }
        Refusal::DATABASE
    }

    /// Called after a write. A database on a full disk can still be read.
    fn works(&self) {
        if self.failure.send_if_modified(|failure| failure.take().is_some()) {
            tracing::info!("the database works again");
        }
    }
}

fn read_row(row: &Row) -> rusqlite::Result<Stored> {
    let (number, _room, name, id, text, time): (_, String, _, _, _, _) = row.try_into()?;
    Ok(Stored { number, time, name, id, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3600 * 1000;

    fn count(store: &Store) -> i64 {
        let count = "SELECT count(*) FROM messages";
        store.database.connection.query_row(count, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn messages_expire_only_while_the_clock_runs_evenly() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let (mut instant, mut now) = store.last_tick;
        // Number 3 was stored with a clock that was in the past, and number 4 with one in the future.
        let times =
            [-8 * 24, -4 * 24, -9000 * 24, 9000 * 24, 5 * 24].map(|hours| now + hours * HOUR_MS);
        let start = store.last_number;
        for (number, time) in (start + 1..).zip(times) {
            let row = params![number, "lobby", "Ada", number.to_string(), "", time];
            store.database.connection.query_row(INSERT, row, |_| Ok(())).unwrap();
        }
        let mut pass_hours = |store: &mut Store, hours, jump: i64| {
            for _ in 0..hours {
                instant += Duration::from_secs(3600);
                now += HOUR_MS;
                store.tick(instant, now);
            }
            now += jump;
            store.tick(instant, now);
        };
        pass_hours(&mut store, 23, 0);
        assert_eq!(count(&store), 5, "the server has not run for a day");
        pass_hours(&mut store, 1, 0);
        assert_eq!(count(&store), 4, "the first message has expired");
        for _ in 0..3 {
            pass_hours(&mut store, 23, 30 * 24 * HOUR_MS);
            pass_hours(&mut store, 23, -30 * 24 * HOUR_MS);
        }
        assert_eq!(count(&store), 4, "the clock jumps every day");
        pass_hours(&mut store, 24, 0);
        assert_eq!(count(&store), 2, "numbers 4 and 5 are left");
        let known = |number: i64| -> bool {
            let number = start + number;
            store.database.connection.query_row(IS_KNOWN, [number], |row| row.get(0)).unwrap()
        };
        assert_eq!([2, 3, 4, 5, 6].map(known), [false, true, true, true, false]);
    }

    #[test]
    fn a_clock_that_starts_ahead_deletes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let (instant, now) = store.last_tick;
        let row = params![store.last_number + 1, "lobby", "Ada", "1", "", now - 30 * 24 * HOUR_MS];
        store.database.connection.query_row(INSERT, row, |_| Ok(())).unwrap();
        for hours in 1..48 {
            store.tick(instant + Duration::from_secs(hours * 3600), now + hours as i64 * HOUR_MS);
        }
        assert_eq!(count(&store), 1);
    }
}
