//! Reads lines from the keyboard or a pipe, and prints lines to the screen or a pipe. Each has a
//! thread of its own, so a slow user or a slow reader of the output does not block the connection.

use std::io::{self, BufRead, IsTerminal, Write};
use std::iter::from_fn;
use std::thread;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use websockets::{Message, Result, printable};

use crate::editor::{Editor, is_ending, mode};
use crate::lines::Print;

/// The number of lines that wait to be printed, or to be sent. It keeps both threads busy.
const QUEUE_SIZE: usize = 64;

/// A line to print.
pub enum Line {
    /// A message of the server, for stdout.
    Message(String),
    /// The status of the connection, for stderr. So a script can separate it from the messages.
    Status(String),
    /// Not a line, but the start of the prompt. It starts only after talk has connected, because
    /// before that you could not send a line.
    Prompt,
}

/// The input and the output of talk.
pub struct Console {
    /// The lines to send.
    pub input: Input,
    /// Cancelled by Ctrl-D, Ctrl-C, or a signal.
    pub quit: CancellationToken,
    /// The lines to print. It is closed when the reader of the output has closed it.
    pub output: mpsc::Sender<Line>,
    /// Completes when everything is printed.
    printed: oneshot::Receiver<()>,
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
    pub fn open(time: bool) -> Result<Self> {
        let quit = CancellationToken::new();
        listen_for_signals(quit.clone())?;
        let (typed, input) = mpsc::channel(QUEUE_SIZE);
        let (output, to_print) = mpsc::channel(QUEUE_SIZE);
        let (done, printed) = oneshot::channel();
        let editor = match io::stdin().is_terminal() && io::stdout().is_terminal() {
            true => Editor::open(),
            false => None,
        };
        let is_interactive = editor.is_some();
        let start_editor: StartEditor = match editor {
            Some(editor) => Some(Box::new({
                let quit = quit.clone();
                move || editor.start(typed, quit)
            })),
            None => {
                thread::spawn(move || read_lines(&typed));
                None
            }
        };
        thread::spawn(move || {
            print_all(to_print, time, start_editor);
            _ = done.send(());
        });
        let input = Input { lines: input, unsent: None };
        Ok(Self { input, quit, output, printed, is_interactive })
    }

    /// Shows the prompt, if a user types at a terminal.
    pub async fn connected(&self, how: &str) {
        if self.is_interactive {
            _ = self.output.send(Line::Prompt).await;
            let hint = "type a line and press Enter to send it, Ctrl-D to leave";
            self.status(&format!("connected{how}; {hint}")).await;
        }
    }

    /// Prints the status of the connection.
    pub async fn status(&self, line: &str) {
        // This fails only if the reader has closed the output, and then it does not matter.
        _ = self.output.send(Line::Status(line.to_owned())).await;
    }

    /// Waits until everything is printed and the terminal has its original mode.
    pub async fn finish(self) {
        drop(self.output);
        _ = self.printed.await;
    }
}

/// The lines to send, from one connection to the next.
pub struct Input {
    /// An error if the input is not valid text. It ends when a piped input ends.
    lines: mpsc::Receiver<Result<String>>,
    /// The line that was taken last, until it is sent.
    unsent: Option<Message>,
}

impl Input {
    /// The next line, which stays the next one until it is sent. `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// An error message if the input is not valid text.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        if self.unsent.is_none() {
            self.unsent = self.lines.recv().await.transpose()?.map(Message::text);
        }
        Ok(self.unsent.clone())
    }

    /// Call this when the line is written to an open connection.
    pub fn sent(&mut self) {
        self.unsent = None;
    }

    /// Says which lines are not sent, if there are any.
    pub fn report_unsent(&mut self) -> Option<String> {
        let mut lines = from_fn(|| self.lines.try_recv().ok()).flatten().map(Message::text);
        let first = self.unsent.take().or_else(|| lines.next())?;
        let more = if lines.next().is_some() { ", and the lines after it" } else { "" };
        Some(format!("not sent: \"{}\"{more}", printable(first.to_text().ok()?)))
    }
}

/// A function that starts the editor. It can be called once.
type StartEditor = Option<Box<dyn FnOnce() -> Print + Send>>;

fn print_all(mut lines: mpsc::Receiver<Line>, time: bool, mut start_editor: StartEditor) {
    let mut print: Print = Box::new(print_plain);
    while let Some(line) = lines.blocking_recv() {
        let now = match time {
            true => Timestamp::now().strftime("%H:%M:%S%.3fZ ").to_string(),
            false => String::new(),
        };
        let result = match line {
            Line::Message(text) => print(&format!("{now}{text}\n"), false),
            Line::Status(text) => print(&format!("{now}{text}\n"), true),
            Line::Prompt => {
                if let Some(start_editor) = start_editor.take() {
                    print = start_editor();
                }
                Ok(())
            }
        };
        if result.is_err() {
            return;
        }
    }
}

fn print_plain(line: &str, is_status: bool) -> io::Result<()> {
    match is_status {
        // If stderr is closed, the messages can still be printed.
        true => _ = io::stderr().write_all(line.as_bytes()),
        false => {
            let mut stdout = io::stdout();
            stdout.write_all(line.as_bytes())?;
            stdout.flush()?;
        }
    }
    Ok(())
}

/// Reads lines from a pipe or a file until it ends.
fn read_lines(typed: &mpsc::Sender<Result<String>>) {
    for (number, line) in io::stdin().lock().split(b'\n').enumerate() {
        let line = match line.map(String::from_utf8) {
            Ok(Ok(line)) => Ok(line.strip_suffix('\r').map(str::to_owned).unwrap_or(line)),
            Ok(Err(_)) => Err(format!(
                "line {} of the input is not valid UTF-8; convert it, for example with iconv",
                number + 1
            )
            .into()),
            Err(error) => Err(format!("cannot read the input ({error})").into()),
        };
        let failed = line.is_err();
        // Sending fails only if the session is over.
        if typed.blocking_send(line).is_err() || failed {
            return;
        }
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
