//! Reads lines from the keyboard or a pipe, and prints lines to the screen or a pipe. Each has a
//! thread of its own, so a slow user or a slow reader of the output does not block the connection.

use std::io::{self, BufRead, ErrorKind, IsTerminal, Read};
use std::iter::from_fn;
use std::thread;
use std::time::Duration;

use common::{print_status, write_stdout};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use websockets::{Message, Result, printable};

use crate::editor::{Editor, is_ending, mode};
use crate::flags::{Delimiter, Flags};
use crate::lines::Print;

/// The number of lines that wait to be sent. It keeps the thread busy.
const QUEUE_SIZE: usize = 64;

/// The same for lines from the keyboard. The editor must never wait, because the terminal drops
/// pasted text that is not read.
const KEYBOARD_QUEUE_SIZE: usize = 1 << 20;

/// The size of the messages that wait to be printed, in bytes. While there are more, talk receives
/// nothing, so a slow reader of the output slows the server down and loses nothing.
const MAX_WAITING: usize = 16 << 20;

/// If the reader of the output takes no chunk for this time, it loses messages. Otherwise a reader
/// that has stopped would keep talk from answering the server's pings, and from ending.
const PATIENCE: Duration = Duration::from_secs(5);

/// The size of the chunks in which a message is printed, in bytes. Each chunk shows that the reader
/// reads, because a large message may take it longer than `PATIENCE`.
const CHUNK_SIZE: usize = 16 << 10;

/// A line to print.
pub enum Line {
    /// A message of the server, for stdout, with its newline.
    Message(Vec<u8>),
    /// The status of the connection, for stderr, with its newline. So a script can separate it from
    /// the messages.
    Status(String),
    /// Not a line, but the start of the prompt. It starts only after talk has connected, because
    /// before that you could not send a line.
    Prompt,
}

/// The input and the output of talk.
pub struct Console {
    /// The lines to send.
    pub input: Input,
    /// Cancelled by Ctrl-D, Ctrl-C, or a signal, and when the output cannot be written.
    pub quit: CancellationToken,
    /// The lines to print.
    pub output: Output,
    /// Completes when everything is printed, or when the output cannot be written.
    printed: oneshot::Receiver<io::Result<()>>,
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
        let (lines, to_print) = mpsc::unbounded_channel();
        let waiting = watch::Sender::new(Waiting::default());
        let (done, printed) = oneshot::channel();
        let editor = match io::stdin().is_terminal() && io::stdout().is_terminal() {
            true => Editor::open(),
            false => None,
        };
        let is_interactive = editor.is_some();
        let size = if is_interactive { KEYBOARD_QUEUE_SIZE } else { QUEUE_SIZE };
        let (typed, input) = mpsc::channel(size);
        let start_editor: StartEditor = match editor {
            Some(editor) => Some(Box::new({
                let quit = quit.clone();
                move || editor.start(typed, quit)
            })),
            None => {
                let delimiter = flags.delimiter;
                thread::spawn(move || read_input(&typed, delimiter));
                None
            }
        };
        let output = Output { lines, waiting: waiting.clone(), lost: 0 };
        let time = flags.time;
        thread::spawn({
            let quit = quit.clone();
            move || {
                let result = print_all(to_print, &waiting, time, start_editor);
                if result.is_err() {
                    quit.cancel();
                }
                _ = done.send(result);
            }
        });
        let input = Input { lines: input, unsent: None, taken: 0, is_binary: flags.binary };
        Ok(Self { input, quit, output, printed, is_interactive })
    }

    /// Shows the prompt, if a user types at a terminal.
    pub fn connected(&self, how: &str) {
        if self.is_interactive {
            _ = self.output.lines.send(Line::Prompt);
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
    pub async fn finish(mut self) -> Result<()> {
        let Output { lines, waiting, lost } = self.output;
        drop(lines);
        let mut progress = waiting.subscribe();
        // Only the thread keeps a sender, so this ends when the thread does.
        drop(waiting);
        while let Ok(Ok(())) = timeout(PATIENCE, progress.changed()).await {}
        let lost = lost + progress.borrow().messages;
        match self.printed.try_recv() {
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            Ok(Err(error)) => return Err(error.into()),
            _ if lost > 0 => print_status(&lost_messages(lost)),
            _ => {}
        }
        Ok(())
    }
}

/// Messages that wait to be printed.
#[derive(Default)]
struct Waiting {
    messages: u64,
    bytes: usize,
}

/// The lines to print.
pub struct Output {
    lines: mpsc::UnboundedSender<Line>,
    waiting: watch::Sender<Waiting>,
    /// The messages that are lost, and not reported yet.
    lost: u64,
}

impl Output {
    /// Waits until there is room for a message, as long as the reader reads. Cancel safe.
    pub async fn room(&self) {
        if self.lost == 0 {
            let mut waiting = self.waiting.subscribe();
            while waiting.borrow_and_update().bytes > MAX_WAITING
                && let Ok(Ok(())) = timeout(PATIENCE, waiting.changed()).await
            {}
        }
    }

    /// Prints a message. It is lost if there is no room.
    pub fn message(&mut self, line: Vec<u8>) {
        if self.waiting.borrow().bytes > MAX_WAITING {
            self.lost += 1;
            return;
        }
        if self.lost > 0 {
            self.status(&lost_messages(self.lost));
            self.lost = 0;
        }
        self.waiting.send_modify(|waiting| {
            waiting.messages += 1;
            waiting.bytes += line.len();
        });
        _ = self.lines.send(Line::Message(line));
    }

    /// Prints the status of the connection.
    pub fn status(&self, line: &str) {
        // This fails only if the output cannot be written, and `finish` reports that.
        _ = self.lines.send(Line::Status(format!("{line}\n")));
    }
}

fn lost_messages(lost: u64) -> String {
    format!("messages lost, because nothing read the output: {lost}")
}

/// The lines to send, from one connection to the next.
pub struct Input {
    /// An error if the input is not valid text. It ends when a piped input ends.
    lines: mpsc::Receiver<Result<Vec<u8>>>,
    /// The line that was taken last, until it is sent.
    unsent: Option<Message>,
    /// The number of lines that were taken.
    taken: u64,
    is_binary: bool,
}

impl Input {
    /// The next line, which stays the next one until it is sent. `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// An error message if the input is not valid text.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        if self.unsent.is_none() {
            let Some(line) = self.lines.recv().await.transpose()? else { return Ok(None) };
            self.taken += 1;
            self.unsent = Some(match self.is_binary {
                true => Message::binary(line),
                false => Message::text(String::from_utf8(line).map_err(|_| {
                    let hint = "convert it, for example with iconv, or send it with --binary";
                    format!("line {} of the input is not valid UTF-8; {hint}", self.taken)
                })?),
            });
        }
        Ok(self.unsent.clone())
    }

    /// Call this when the line is written to an open connection.
    pub fn sent(&mut self) {
        self.unsent = None;
    }

    /// Says which lines are not sent, if there are any.
    pub fn report_unsent(&mut self) -> Option<String> {
        let mut lines = from_fn(|| self.lines.try_recv().ok()).flatten().map(Message::binary);
        let first = self.unsent.take().or_else(|| lines.next())?;
        let more = if lines.next().is_some() { ", and the lines after it" } else { "" };
        Some(format!(
            "not sent: \"{}\"{more}",
            printable(&String::from_utf8_lossy(&first.into_data()))
        ))
    }
}

/// A function that starts the editor. It can be called once.
type StartEditor = Option<Box<dyn FnOnce() -> Print + Send>>;

fn print_all(
    mut lines: mpsc::UnboundedReceiver<Line>,
    waiting: &watch::Sender<Waiting>,
    time: bool,
    mut start_editor: StartEditor,
) -> io::Result<()> {
    let mut print: Print = Box::new(print_plain);
    let mut chunk_size = CHUNK_SIZE;
    while let Some(line) = lines.blocking_recv() {
        let now = time.then(|| Timestamp::now().strftime("%H:%M:%S%.3fZ ").to_string());
        let mut now = now.unwrap_or_default().into_bytes();
        match line {
            Line::Message(line) => {
                now.extend(&line);
                let mut rest = line.len();
                for chunk in now.chunks(chunk_size) {
                    print(chunk, false)?;
                    // The time is not counted.
                    let printed = chunk.len().min(rest);
                    rest -= printed;
                    waiting.send_modify(|waiting| waiting.bytes -= printed);
                }
                waiting.send_modify(|waiting| waiting.messages -= 1);
            }
            Line::Status(text) => {
                now.extend(text.as_bytes());
                print(&now, true)?;
            }
            Line::Prompt => {
                print = start_editor.take().map_or(print, |start| start());
                // The editor prints whole lines.
                chunk_size = usize::MAX;
            }
        }
    }
    Ok(())
}

fn print_plain(line: &[u8], is_status: bool) -> io::Result<()> {
    match is_status {
        // If stderr is closed, the messages can still be printed.
        true => print_status(String::from_utf8_lossy(line).trim_end()),
        false => write_stdout(line)?,
    }
    Ok(())
}

/// Reads the messages of a pipe or a file until it ends.
fn read_input(typed: &mpsc::Sender<Result<Vec<u8>>>, delimiter: Delimiter) {
    let cannot_read = |error| format!("cannot read the input ({error})").into();
    let mut input = io::stdin().lock();
    let Some(delimiter) = delimiter.byte() else {
        let mut message = Vec::new();
        let result = input.read_to_end(&mut message).map_err(cannot_read);
        if !matches!(result, Ok(0)) {
            _ = typed.blocking_send(result.map(|_| message));
        }
        return;
    };
    for line in input.split(delimiter) {
        let line = line.map_err(cannot_read).map(|mut line| {
            _ = line.pop_if(|last| delimiter == b'\n' && *last == b'\r');
            line
        });
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

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_does_not_run_out_of_time() {
        let (lines, _to_print) = mpsc::unbounded_channel();
        let waiting = watch::Sender::new(Waiting { messages: 1, bytes: MAX_WAITING + 10 });
        let output = Output { lines, waiting, lost: 0 };
        let read = async |bytes| {
            sleep(Duration::from_secs(4)).await;
            output.waiting.send_modify(|waiting| waiting.bytes -= bytes);
        };
        let began = Instant::now();
        let room = async {
            output.room().await;
            began.elapsed().as_secs()
        };
        let (waited, ()) = tokio::join!(room, async {
            read(5).await;
            read(4).await;
            read(1).await;
        });
        assert_eq!(waited, 12);
        // From now on nothing is read.
        output.waiting.send_modify(|waiting| waiting.bytes += 1);
        output.room().await;
        assert_eq!(began.elapsed().as_secs(), 17);
    }
}
