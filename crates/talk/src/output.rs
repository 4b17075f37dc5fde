//! Prints lines to the screen or a pipe.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

use common::{print_status, write_stdout};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use websockets::Result;

use crate::lines::Print;

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
enum Line {
    /// A message of the server, for stdout, with its newline.
    Message(Vec<u8>),
    /// The status of the connection, for stderr, with its newline. So a script can separate it from
    /// the messages.
    Status(String),
    /// Not a line, but the start of the prompt. It starts only after talk has connected, because
    /// before that you could not send a line.
    Prompt,
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
    /// Completes when everything is printed, or when the output cannot be written.
    printed: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    /// Starts the thread. Cancels `quit` if the output cannot be written.
    pub fn start(time: bool, start_editor: StartEditor, quit: CancellationToken) -> Self {
        let (lines, to_print) = mpsc::unbounded_channel();
        let waiting = watch::Sender::new(Waiting::default());
        let (done, printed) = oneshot::channel();
        let output = Self { lines, waiting: waiting.clone(), lost: 0, printed };
        thread::spawn(move || {
            let result = print_all(to_print, &waiting, time, start_editor);
            if result.is_err() {
                quit.cancel();
            }
            _ = done.send(result);
        });
        output
    }

    /// Shows the prompt.
    pub fn prompt(&self) {
        _ = self.lines.send(Line::Prompt);
    }

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

    /// Waits until everything is printed, or until the reader reads nothing for 5 s.
    ///
    /// # Errors
    ///
    /// An error message if stdout cannot be written. It is not an error that its reader has closed it.
    pub async fn finish(self) -> Result<()> {
        let Self { lines, waiting, lost, mut printed } = self;
        drop(lines);
        let mut progress = waiting.subscribe();
        // Only the thread keeps a sender, so this ends when the thread does.
        drop(waiting);
        while let Ok(Ok(())) = timeout(PATIENCE, progress.changed()).await {}
        let lost = lost + progress.borrow().messages;
        match printed.try_recv() {
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            Ok(Err(error)) => return Err(error.into()),
            _ if lost > 0 => print_status(&lost_messages(lost)),
            _ => {}
        }
        Ok(())
    }
}

fn lost_messages(lost: u64) -> String {
    format!("messages lost, because nothing read the output: {lost}")
}

/// A function that starts the editor. It can be called once.
pub type StartEditor = Option<Box<dyn FnOnce() -> Print + Send>>;

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

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_does_not_run_out_of_time() {
        let (lines, _to_print) = mpsc::unbounded_channel();
        let waiting = watch::Sender::new(Waiting { messages: 1, bytes: MAX_WAITING + 10 });
        let (_done, printed) = oneshot::channel();
        let output = Output { lines, waiting, lost: 0, printed };
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
