//! The file of the database: opened by one server at a time, and copied for a backup.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

use file_id::{FileId, get_file_id};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::NamedTempFile;
use websockets::Result;

/// The time that a new server waits for the old one to end. A server stops in less time than this.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that a message waits while another program writes to the file, for example `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// With WAL, other programs can read the file while the server writes. With WAL and NORMAL, a commit
/// survives any end of this program. To survive a power cut, it would need FULL and have to wait
/// for the disk.
///
/// Numbers up to `deleted_to` are of messages that were deleted, by the server or by you. In a new
/// file they are unknown, because it may replace a lost one.
const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, room TEXT NOT NULL,
        name TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, time INTEGER NOT NULL,
        UNIQUE (room, name, id)) STRICT;
    CREATE INDEX IF NOT EXISTS by_room ON messages (room, number);
    CREATE TABLE IF NOT EXISTS state (deleted_to INTEGER NOT NULL, probes INTEGER NOT NULL) STRICT;
    CREATE TRIGGER IF NOT EXISTS remember_deleted AFTER DELETE ON messages
        BEGIN UPDATE state SET deleted_to = max(deleted_to, old.number); END;
    COMMIT";

/// In files of earlier versions, the number of a message was its time.
const ADD_TIME: &str = "BEGIN; ALTER TABLE messages ADD COLUMN time INTEGER NOT NULL DEFAULT 0;
    UPDATE messages SET time = number; COMMIT";

const INIT_STATE: &str =
    "INSERT INTO state SELECT coalesce((SELECT min(number) FROM messages), ?) - 1, 0
    WHERE NOT EXISTS (SELECT * FROM state)";

/// A server that starts with a copy does not have the later messages. So all numbers of the copy
/// count as deleted, and a client that returns receives a gap event.
const MARK_COPY: &str = "UPDATE state SET deleted_to = 1 + max(deleted_to, (SELECT coalesce(max(number), 0) FROM messages))";

/// The opened file. No other server has it open.
pub struct Database {
    pub connection: Connection,
    path: PathBuf,
    id: FileId,
    /// Clients of one server would not receive the messages of another, so this stays locked.
    _lock: File,
}

impl Database {
    /// Opens the database in a folder. Creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// An error message with the path, the error of SQLite, and what to do.
    pub fn open(folder: &Path) -> Result<Self> {
        let lock = lock(folder)?;
        let path = folder.join("chat.db");
        let open = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let columns = "SELECT group_concat(name) FROM pragma_table_info('messages')";
            let columns: Option<String> = connection.query_row(columns, [], |row| row.get(0))?;
            if columns.is_some_and(|columns| !columns.contains("time")) {
                connection.execute_batch(ADD_TIME)?;
            }
            connection.execute_batch(SCHEMA)?;
            connection.execute(INIT_STATE, [now_ms()])?;
            Ok(connection)
        };
        let message = |error| format!("cannot open {}: {error}; {}", path.display(), hint(&error));
        let connection = open().map_err(message)?;
        let id = get_file_id(&path)?;
        Ok(Self { connection, path, id, _lock: lock })
    }

    /// Checks that the file still has its name. Without its name, it disappears with this program,
    /// and SQLite would not notice.
    ///
    /// # Errors
    ///
    /// An error message with the path and what to do.
    pub fn check(&self) -> Result<()> {
        if get_file_id(&self.path).is_ok_and(|id| id == self.id) {
            return Ok(());
        }
        let path = self.path.display();
        Err(format!("{path} was removed or replaced; put it back, or restart the server").into())
    }
}

/// Locks a folder for this server. If another one has it, waits until that one has ended.
fn lock(folder: &Path) -> Result<File> {
    let message = |error: &dyn std::fmt::Display, hint| {
        format!("cannot lock the folder {}: {error}; {hint}", folder.display())
    };
    let hint = "let this user write to it, or pass another --data";
    let file = File::options().create(true).append(true).open(folder.join("lock"));
    let file = file.map_err(|error| message(&error, hint))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_TIMEOUT => {
                sleep(Duration::from_millis(20));
            }
            Err(error) => {
                return Err(message(&error, "stop the other server, or pass another --data").into());
            }
        }
    }
}

/// Copies the database of a folder to a new file, also while a server uses it.
///
/// # Errors
///
/// An error message with both paths, the reason, and what to do.
pub fn backup(folder: &Path, to: &Path) -> Result<()> {
    let copy = || -> Result<()> {
        let from = folder.join("chat.db");
        let from = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // The copy gets its name only when it is complete.
        let parent =
            to.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let copy = NamedTempFile::new_in(parent)?;
        let name = copy.path().to_str().ok_or("the path is not UTF-8")?;
        from.execute("VACUUM INTO ?", [name])?;
        Connection::open(copy.path())?.execute(MARK_COPY, [])?;
        copy.as_file().sync_all()?;
        copy.persist_noclobber(to)?;
        Ok(())
    };
    let message = |error| {
        let (from, to) = (folder.display(), to.display());
        format!("cannot copy the messages in {from} to {to}: {error}; check --data and --backup")
    };
    Ok(copy().map_err(message)?)
}

/// The fix for a database that cannot be opened.
fn hint(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => "stop the other program that writes to it",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "move the file away, or replace it by a backup"
        }
        Some(ErrorCode::DiskFull) => "free some space",
        _ => "let this user write the file and its folder, or pass another --data",
    }
}

/// The time in milliseconds since 1970.
pub fn now_ms() -> i64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as i64
}
