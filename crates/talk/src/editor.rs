//! A line editor with a prompt and a history. A message that arrives does not break the line that
//! the user is typing.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::{Cmd, DefaultEditor, ExternalPrinter, KeyCode, KeyEvent, Modifiers};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use websockets::Result;

use crate::lines::Print;

/// A line editor that has not started yet.
pub struct Editor {
    editor: DefaultEditor,
    printer: Printer,
}

type Printer = Box<dyn FnMut(String) -> rustyline::Result<()> + Send>;

impl Editor {
    /// `None` if the terminal does not support it (`TERM=dumb`).
    pub fn open() -> Option<Self> {
        // Each line is a message, even if the user pastes several lines at once.
        let config = Config::builder().auto_add_history(true).bracketed_paste(false).build();
        let mut editor = DefaultEditor::with_config(config).ok()?;
        // There is nothing to complete, and JSON and code have tabs.
        editor.bind_sequence(
            KeyEvent(KeyCode::Tab, Modifiers::NONE),
            Cmd::Insert(1, "\t".to_owned()),
        );
        let mut printer = editor.create_external_printer().ok()?;
        mode::save();
        Some(Self { editor, printer: Box::new(move |text| printer.print(text)) })
    }

    /// Reads lines into `typed` until the user presses Ctrl-D or Ctrl-C, then cancels `quit`. The
    /// returned function prints above the prompt. When it is dropped, it restores the terminal.
    pub fn start(self, typed: mpsc::Sender<Result<Vec<u8>>>, quit: CancellationToken) -> Print {
        let Self { editor, printer } = self;
        let keyboard = thread::spawn(move || read_keyboard(editor, &typed, &quit));
        let mut printer = PromptPrinter { printer, keyboard };
        Box::new(move |line, _| printer.print(&String::from_utf8_lossy(line)))
    }
}

fn read_keyboard(
    mut editor: DefaultEditor,
    typed: &mpsc::Sender<Result<Vec<u8>>>,
    quit: &CancellationToken,
) {
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => Ok(line.into_bytes()),
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err("the line is not valid UTF-8; set the terminal to UTF-8".into())
            }
            Err(_) => break,
        };
        if typed.blocking_send(line).is_err() {
            break;
        }
    }
    quit.cancel();
}

/// Prints above the prompt. The thread that shows the prompt does the printing.
struct PromptPrinter {
    printer: Printer,
    keyboard: JoinHandle<()>,
}

impl PromptPrinter {
    fn print(&mut self, line: &str) -> io::Result<()> {
        (self.printer)(line.to_owned()).map_err(io::Error::other)
    }
}

impl Drop for PromptPrinter {
    fn drop(&mut self) {
        // The editor prints one line at a time. So when it has printed this line, all earlier lines
        // are on the screen. This line moves the cursor up and down again, so it changes nothing.
        _ = self.print("\u{1b}[A\n");
        ENDING.store(true, Ordering::Relaxed);
        let start = Instant::now();
        while !self.keyboard.is_finished()
            && start.elapsed() < INTERRUPT_TIMEOUT
            && mode::interrupt()
        {
            thread::sleep(Duration::from_millis(2));
        }
        mode::restore();
    }
}

/// The time that the editor has to notice an interrupt. It usually needs a few milliseconds.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether talk has sent an interrupt to itself.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether talk is ending the editor by an interrupt. Then this interrupt is not from the user.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

/// The mode of the terminal. The editor changes it while it waits for a key.
#[cfg(unix)]
pub mod mode {
    use std::io;
    use std::sync::OnceLock;

    use rustix::process::{Signal, getpid, kill_process};
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    static ORIGINAL: OnceLock<Termios> = OnceLock::new();

    /// Saves the mode, so that it can be restored.
    pub fn save() {
        if let Ok(mode) = tcgetattr(io::stdin()) {
            _ = ORIGINAL.set(mode);
        }
    }

    /// Whether the current mode is not the saved one.
    fn is_changed() -> bool {
        let now = tcgetattr(io::stdin()).map(|mode| mode.local_modes);
        ORIGINAL.get().zip(now.ok()).is_some_and(|(original, now)| original.local_modes != now)
    }

    /// Interrupts the editor. This is the only way to make it return while it waits for a key. When
    /// it has returned, it has restored the mode and prints nothing more.
    pub fn interrupt() -> bool {
        kill_process(getpid(), Signal::INT).is_ok()
    }

    /// Restores the saved mode, without waiting for the editor.
    pub fn restore() {
        if let Some(original) = ORIGINAL.get().filter(|_| is_changed()) {
            _ = tcsetattr(io::stdin(), OptionalActions::Drain, original);
        }
    }
}

/// On other systems nothing needs to be done. The shell sets the mode before each of its prompts,
/// and the editor ends with the program.
#[cfg(not(unix))]
pub mod mode {
    /// There is nothing to save.
    pub fn save() {}

    /// This is not possible here.
    pub fn interrupt() -> bool {
        false
    }

    /// There is nothing to restore.
    pub fn restore() {}
}
