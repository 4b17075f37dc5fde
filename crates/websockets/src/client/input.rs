//! A line from the user, a text from the server.

use std::io::{BufRead, ErrorKind, IsTerminal, stdin, stdout};

use common::write_stdout;
use tokio::sync::oneshot;
use tungstenite::Message;

use super::errors::closed_early;
use crate::{Result, Socket};

/// Prints `prompt` and waits for a line on standard input. The socket answers pings meanwhile.
///
/// # Errors
///
/// One sentence, if the input or the connection ends first.
pub async fn input(prompt: &str, socket: &mut Socket) -> Result<String> {
    let prompt = prompt.to_owned();
    let (send, line) = oneshot::channel();
    // Not a thread of tokio, which would keep the program from ending while it waits for a line.
    std::thread::spawn(move || {
        _ = send.send(match write_stdout(prompt.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            // Even if nobody sees the prompt, the input may be there.
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
            "the input is not UTF-8, which text must be; convert it, for example by iconv"
                .to_owned()
        }
        _ => format!("cannot read the input ({error}); type it, or pipe it in"),
    })?;
    if bytes == 0 {
        // A person sees the message on a line of its own. A program gets the output as it is.
        if stdout().is_terminal() {
            write_stdout(b"\n")?;
        }
        return Err("the input ended at the prompt; type a name and press Enter".into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Waits for one text message.
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
