//! Reads a line from the user, or a text message from the server.

use std::io::{BufRead, ErrorKind, IsTerminal, stdin, stdout};

use common::write_stdout;
use tokio::sync::oneshot;
use tungstenite::Message;

use super::errors::closed_early;
use crate::{Result, Socket};

/// Prints `prompt`, and returns the line that the user types. The socket answers pings meanwhile.
///
/// # Errors
///
/// One sentence, if the input or the connection ends first.
pub async fn input(prompt: &str, socket: &mut Socket) -> Result<String> {
    let prompt = prompt.to_owned();
    let (send, line) = oneshot::channel();
    // This is not a thread of tokio, because the program could not end while such a thread waits
    // for a line.
    std::thread::spawn(move || {
        _ = send.send(match write_stdout(prompt.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            // Ignore an error, because the input may be there even if the prompt is not visible.
            _ => read_line(),
        });
    });
    tokio::select! {
        line = line => line?,
        message = socket.recv() => match message? {
            Some(_) => Err("the server sent a message first; is it a hello server?".into()),
            None => Err(closed_early(socket)),
        },
    }
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    let bytes = stdin().lock().read_line(&mut line).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => {
            "the input is not valid UTF-8; convert it, for example with iconv".to_owned()
        }
        _ => format!("cannot read the input ({error}); type it, or pipe it in"),
    })?;
    if bytes == 0 {
        // On a terminal, put the error message on a line of its own.
        if stdout().is_terminal() {
            write_stdout(b"\n")?;
        }
        return Err("the input ended at the prompt; type a name and press Enter".into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Waits for a text message, and returns it.
///
/// # Errors
///
/// One sentence, if another kind of message arrives or the connection ends.
pub async fn recv_text(socket: &mut Socket) -> Result<String> {
    match socket.recv().await? {
        Some(Message::Text(text)) => Ok(text.as_str().to_owned()),
        Some(_) => Err("the server sent binary data; is it a hello server?".into()),
        None => Err(closed_early(socket)),
    }
}
