//! The input and the output of talk, and the signals that end it. Each has a thread of its own, so a
//! slow user or a slow reader of the output does not block the connection.

use std::io::{self, IsTerminal};
use std::thread;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use websockets::Result;

use crate::editor::{Editor, is_ending, mode};
use crate::flags::Flags;
use crate::input::{Input, KEYBOARD_QUEUE_SIZE, QUEUE_SIZE, read};
use crate::output::{Output, StartEditor};

/// The input and the output of talk.
pub struct Console {
    /// The lines to send.
    pub input: Input,
    /// Cancelled by Ctrl-D, Ctrl-C, or a signal, and when the output cannot be written.
    pub quit: CancellationToken,
    /// The lines to print.
    pub output: Output,
    /// Whether a user types at a terminal.
    is_interactive: bool,
}

impl Console {
    /// Starts the threads. At a terminal there is a prompt with editing and history, otherwise
    /// plain lines.
    ///
    /// # Errors
    ///
    /// An error if talk cannot register a signal handler.
    pub fn open(flags: &Flags) -> Result<Self> {
        let quit = CancellationToken::new();
        listen_for_signals(quit.clone())?;
        let editor = match io::stdin().is_terminal() && io::stdout().is_terminal() {
            true => Editor::open(),
            false => None,
        };
        let is_interactive = editor.is_some();
        let size = if is_interactive { KEYBOARD_QUEUE_SIZE } else { QUEUE_SIZE };
        let (typed, lines) = mpsc::channel(size);
        let start_editor: StartEditor = match editor {
            Some(editor) => Some(Box::new({
                let quit = quit.clone();
                move || editor.start(typed, quit)
            })),
            None => {
                let delimiter = flags.delimiter;
                thread::spawn(move || read(&typed, delimiter));
                None
            }
        };
        let output = Output::start(flags.time, start_editor, quit.clone());
        let input = Input::new(lines, flags.binary);
        Ok(Self { input, quit, output, is_interactive })
    }

    /// Shows the prompt, if a user types at a terminal.
    pub fn connected(&self, how: &str) {
        if self.is_interactive {
            self.output.prompt();
            let hint = "type a line and press Enter to send it, Ctrl-D to leave";
            self.output.status(&format!("connected{how}; {hint}"));
        }
    }

    /// Waits until everything is printed and the terminal has its original mode. A reader that
    /// reads nothing for 5 s loses the rest.
    ///
    /// # Errors
    ///
    /// An error message if stdout cannot be written. It is not an error that its reader has closed it.
    pub async fn finish(self) -> Result<()> {
        self.output.finish().await
    }
}

/// The first signal closes the connection, the second one ends talk at once.
fn listen_for_signals(quit: CancellationToken) -> Result<()> {
    // The handlers are registered now and not at the first poll, because a signal right after the
    // start must not kill talk.
    #[cfg(unix)]
    let mut next_signal = {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        async move || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        }
    };
    #[cfg(windows)]
    let mut next_signal = {
        let mut interrupt = tokio::signal::windows::ctrl_c()?;
        async move || {
            interrupt.recv().await;
        }
    };
    tokio::spawn(async move {
        loop {
            next_signal().await;
            // Ctrl-C or Ctrl-D at the prompt counts as the first signal. An interrupt that ends the
            // editor does not count.
            if quit.is_cancelled() && !is_ending() {
                mode::restore();
                std::process::exit(1);
            }
            quit.cancel();
        }
    });
    Ok(())
}
