//! The keyboard: a prompt that what comes meanwhile does not tear, with editing and history.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::Result;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::lines::Print;

/// A line editor that has not started yet.
pub struct Editor {
    editor: DefaultEditor,
    printer: Printer,
}

type Printer = Box<dyn FnMut(String) -> rustyline::Result<()> + Send>;

impl Editor {
    /// `None` where the terminal cannot do it (`TERM=dumb`).
    pub fn open() -> Option<Self> {
        // A line is a message, also when several are pasted at once.
        let config = Config::builder().auto_add_history(true).bracketed_paste(false).build();
        let mut editor = DefaultEditor::with_config(config).ok()?;
        let mut printer = editor.create_external_printer().ok()?;
        mode::remember();
        Some(Self { editor, printer: Box::new(move |text| printer.print(text)) })
    }

    /// Reads lines into `typed` until Ctrl-D or Ctrl-C, which make us `leave`; returns what prints
    /// above the prompt, and puts the terminal in order when it is dropped.
    pub fn start(self, typed: mpsc::Sender<Result<String>>, leave: CancellationToken) -> Print {
        let Self { editor, printer } = self;
        let keyboard = thread::spawn(move || edit(editor, &typed, &leave));
        let mut screen = Screen { printer, keyboard };
        Box::new(move |line, _| screen.print(line))
    }
}

fn edit(
    mut editor: DefaultEditor,
    typed: &mpsc::Sender<Result<String>>,
    leave: &CancellationToken,
) {
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => Ok(line),
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err("what was typed is not UTF-8; set the terminal to UTF-8".into())
            }
            Err(_) => break,
        };
        if typed.blocking_send(line).is_err() {
            break;
        }
    }
    leave.cancel();
}

/// Prints above the prompt while there is one, by way of the thread that shows it.
struct Screen {
    printer: Printer,
    keyboard: JoinHandle<()>,
}

impl Screen {
    fn print(&mut self, line: &str) -> io::Result<()> {
        (self.printer)(line.to_owned()).map_err(io::Error::other)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The editor takes one line at a time: once it has taken this one, those before are on the
        // screen. Up and down again, it changes nothing there.
        _ = self.print("\u{1b}[A\n");
        ENDING.store(true, Ordering::Relaxed);
        let asked = Instant::now();
        while !self.keyboard.is_finished() && asked.elapsed() < LONG_ENOUGH && mode::interrupt() {
            thread::sleep(Duration::from_millis(2));
        }
        mode::restore();
    }
}

/// How long an interrupt may take to be seen: far longer than it does.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// Whether a signal is our own.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether the editor is being ended, which takes an interrupt that is nobody else's.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// The terminal's mode, which the editor changes while it waits for a key, and what makes it wait
/// no longer.
#[cfg(unix)]
pub mod mode {
    use std::io;
    use std::sync::OnceLock;

    use rustix::process::{Signal, getpid, kill_process};
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    static BEFORE: OnceLock<Termios> = OnceLock::new();

    /// Remembers the mode that is to be restored.
    pub fn remember() {
        if let Ok(mode) = tcgetattr(io::stdin()) {
            _ = BEFORE.set(mode);
        }
    }

    /// Whether it is another one now.
    fn is_raw() -> bool {
        let now = tcgetattr(io::stdin()).map(|mode| mode.local_modes);
        BEFORE.get().zip(now.ok()).is_some_and(|(before, now)| before.local_modes != now)
    }

    /// The only way to make the editor return, which restores the mode, and so to know that it
    /// prints no more: it handles this signal itself while it waits for a key.
    pub fn interrupt() -> bool {
        kill_process(getpid(), Signal::INT).is_ok()
    }

    /// Restores the mode, for who cannot wait for the editor.
    pub fn restore() {
        if let Some(before) = BEFORE.get().filter(|_| is_raw()) {
            _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Elsewhere the shell sets the mode anew before each of its prompts, and the editor ends with the
/// program.
#[cfg(not(unix))]
pub mod mode {
    /// Nothing to remember.
    pub fn remember() {}

    /// No way to do it.
    pub fn interrupt() -> bool {
        false
    }

    /// Nothing to restore.
    pub fn restore() {}
}
