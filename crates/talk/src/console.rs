//! Lines from the keyboard or a pipe, and lines to the screen or a pipe, each on a thread of its
//! own: neither a person who thinks nor a reader who is slow keeps the connection waiting.

use std::io::{self, BufRead, IsTerminal, Write};
use std::thread;

use common::Result;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::editor::{Editor, is_ending, mode};
use crate::lines::Print;

/// How many lines wait to be printed, or to be sent: enough to keep both sides busy.
const LINES: usize = 64;

/// A line to print.
pub enum Line {
    /// What the server sent: the output proper.
    Message(String),
    /// What became of the connection: kept apart from the messages, so that a script can tell.
    Status(String),
    /// No line, but the prompt, from here on. Not before there is a connection: a refusal leaves
    /// nothing to type.
    Prompt,
}

/// What is typed, and where it is printed.
pub struct Console {
    /// What is to be sent; a sentence when it is no text; the end of a piped input.
    pub lines: mpsc::Receiver<Result<String>>,
    /// Ctrl-D and Ctrl-C at a terminal, and a signal from anywhere.
    pub leave: CancellationToken,
    /// What is to be printed; closed once nobody reads it.
    pub out: mpsc::Sender<Line>,
    /// Ends when everything is printed.
    printed: oneshot::Receiver<()>,
    /// Whether a person sits there.
    terminal: bool,
}

impl Console {
    /// At a terminal: a prompt, with editing and history. Else: plain lines.
    ///
    /// # Errors
    ///
    /// When the system has no place for a signal's handler.
    pub fn open(time: bool) -> Result<Self> {
        let leave = CancellationToken::new();
        listen_for_signals(leave.clone())?;
        let (typed, lines) = mpsc::channel(LINES);
        let (out, to_print) = mpsc::channel(LINES);
        let (done, printed) = oneshot::channel();
        let editor = match io::stdin().is_terminal() && io::stdout().is_terminal() {
            true => Editor::open(),
            false => None,
        };
        let terminal = editor.is_some();
        let prompt: Prompt = match editor {
            Some(editor) => Some(Box::new({
                let leave = leave.clone();
                move || editor.start(typed, leave)
            })),
            None => {
                thread::spawn(move || read(&typed));
                None
            }
        };
        thread::spawn(move || {
            print_all(to_print, time, prompt);
            _ = done.send(());
        });
        Ok(Self { lines, leave, out, printed, terminal })
    }

    /// Shows a person the prompt. A script has no use for it.
    pub async fn connected(&self, how: &str) {
        if self.terminal {
            _ = self.out.send(Line::Prompt).await;
            let hint = "type a line and press Enter to send it, Ctrl-D to leave";
            self.status(&format!("connected{how}; {hint}")).await;
        }
    }

    /// Prints what became of the connection.
    pub async fn status(&self, line: &str) {
        // Nobody reads it any more: then nobody wants to know.
        _ = self.out.send(Line::Status(line.to_owned())).await;
    }

    /// Waits until everything is printed and the terminal is as it was.
    pub async fn finish(self) {
        drop(self.out);
        _ = self.printed.await;
    }
}

/// Starts the editor, once.
type Prompt = Option<Box<dyn FnOnce() -> Print + Send>>;

fn print_all(mut lines: mpsc::Receiver<Line>, time: bool, mut prompt: Prompt) {
    let mut print: Print = Box::new(plain);
    while let Some(line) = lines.blocking_recv() {
        let now = match time {
            true => Timestamp::now().strftime("%H:%M:%S%.3fZ ").to_string(),
            false => String::new(),
        };
        let printed = match line {
            Line::Message(text) => print(&format!("{now}{text}\n"), false),
            Line::Status(text) => print(&format!("{now}{text}\n"), true),
            Line::Prompt => {
                if let Some(start) = prompt.take() {
                    print = start();
                }
                Ok(())
            }
        };
        if printed.is_err() {
            return;
        }
    }
}

fn plain(line: &str, status: bool) -> io::Result<()> {
    match status {
        // Without stderr there is still the output.
        true => _ = io::stderr().write_all(line.as_bytes()),
        false => {
            let mut stdout = io::stdout();
            stdout.write_all(line.as_bytes())?;
            stdout.flush()?;
        }
    }
    Ok(())
}

/// Reads lines from a pipe or a file to its end.
fn read(typed: &mpsc::Sender<Result<String>>) {
    for (number, line) in io::stdin().lock().split(b'\n').enumerate() {
        let line = match line.map(String::from_utf8) {
            Ok(Ok(line)) => Ok(line.strip_suffix('\r').map(str::to_owned).unwrap_or(line)),
            Ok(Err(_)) => Err(format!(
                "line {} of the input is not UTF-8, which text must be; convert it, for example \
                 by iconv",
                number + 1
            )
            .into()),
            Err(error) => Err(format!("cannot read the input ({error})").into()),
        };
        let failed = line.is_err();
        // Nobody listens: the conversation is over.
        if typed.blocking_send(line).is_err() || failed {
            return;
        }
    }
}

/// The first signal closes the connection, the second one ends at once.
fn listen_for_signals(leave: CancellationToken) -> Result<()> {
    // Registered now, not at the first poll: a signal right after the start must not kill.
    #[cfg(unix)]
    let mut next = {
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
    let mut next = {
        let mut interrupt = tokio::signal::windows::ctrl_c()?;
        async move || {
            interrupt.recv().await;
        }
    };
    tokio::spawn(async move {
        loop {
            next().await;
            // The first one may have been a key.
            if leave.is_cancelled() && !is_ending() {
                mode::restore();
                std::process::exit(1);
            }
            leave.cancel();
        }
    });
    Ok(())
}
