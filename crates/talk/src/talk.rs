//! Connect, converse, connect again.

use std::pin::pin;
use std::time::Duration;

use common::client::{CLOSE_TIMEOUT, Connect, check_url, leave};
use common::socket::Pings;
use common::{Result, Socket};
use futures_util::{SinkExt, StreamExt};
use hyper::header::{HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tokio::select;
use tokio::time::{sleep, timeout};
use tungstenite::Message;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::CloseFrame;

use crate::backoff::Backoff;
use crate::console::{Console, Line};
use crate::flags::Flags;
use crate::lines::{closed_by_server, received};
use crate::trust;

/// Why a conversation is over.
enum End {
    /// Ctrl-D, Ctrl-C, or the end of the input and then silence.
    ByUs,
    ByServer(Option<CloseFrame>),
}

/// The whole of it.
///
/// # Errors
///
/// A sentence: there is no connection, it was lost, or the server closed it with another code than
/// 1000 and 1001.
pub async fn talk(flags: &Flags, console: &mut Console) -> Result<()> {
    check_url(&flags.url)?;
    let connect = options(flags)?;
    if flags.insecure {
        let warning = "WARNING: --insecure checks no certificate; anyone on the way can read and \
                       change what is said";
        console.status(warning).await;
    }
    let mut backoff = Backoff::default();
    let leaving = console.leave.clone();
    loop {
        let opened = select! {
            biased;
            () = leaving.cancelled() => return Ok(()),
            opened = connect.open(&flags.url) => opened,
        };
        let ended = match opened {
            Ok((socket, response)) => {
                backoff.connected();
                console.connected(&subprotocol(&response)).await;
                converse(flags, console, socket).await
            }
            Err(error) => Err(error),
        };
        let by_us = matches!(ended, Ok(End::ByUs)) || leaving.is_cancelled();
        let said = match ended {
            Ok(end) => say(console, end).await,
            Err(error) => Err(error),
        };
        if by_us || !flags.reconnect {
            return said;
        }
        if let Err(error) = said {
            console.status(&error.to_string()).await;
        }
        let pause = backoff.pause();
        console.status(&format!("trying again in {:.1} s", pause.as_secs_f64())).await;
        select! {
            biased;
            () = leaving.cancelled() => return Ok(()),
            () = sleep(pause) => {}
        }
    }
}

fn options(flags: &Flags) -> Result<Connect> {
    let mut connect = Connect {
        pings: Pings { interval: flags.ping_interval, ..Pings::default() },
        max_size: flags.max_size,
        ..Connect::default()
    };
    let headers = &mut connect.additional_headers;
    if let Some(origin) = &flags.origin {
        headers.insert(ORIGIN, origin.clone());
    }
    if !flags.subprotocols.is_empty() {
        let names = HeaderValue::try_from(flags.subprotocols.join(", "))?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, names);
    }
    for (name, value) in &flags.headers {
        headers.append(name, value.clone());
    }
    trust::encrypt(&mut connect, flags)?;
    Ok(connect)
}

fn subprotocol(response: &Response) -> String {
    let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
    chosen.map(|name| format!(" (subprotocol {name})")).unwrap_or_default()
}

/// One connection, from its first message to its close.
async fn converse(flags: &Flags, console: &mut Console, mut socket: Socket) -> Result<End> {
    let mut by_us = false;
    let over = exchange(flags, console, &mut socket).await.map(|ended_by_us| by_us = ended_by_us);
    if let Some(latency) = socket.latency().filter(|_| flags.time) {
        let latency = latency.as_secs_f64() * 1000.0;
        console.status(&format!("latency of the last ping: {latency:.1} ms")).await;
    }
    leave(&mut socket, &flags.url, over, CLOSE_TIMEOUT).await?;
    Ok(match by_us {
        true => End::ByUs,
        false => End::ByServer(socket.closed().flatten().cloned()),
    })
}

/// Sends what is typed and prints what comes, until one side is done; whether it is ours.
async fn exchange(flags: &Flags, console: &mut Console, socket: &mut Socket) -> Result<bool> {
    let Console { lines, leave, out, .. } = console;
    // Each half goes on while the other one waits: a server that answers before it has read
    // everything would otherwise wait for us, as we would for it.
    let (mut to_server, mut from_server) = socket.split();
    let mut sending = pin!(async {
        while let Some(line) = lines.recv().await {
            to_server.send(Message::text(line?)).await?;
        }
        Result::Ok(())
    });
    let mut sends = true;
    // How long the server may be silent; for ever while there is more to send.
    let mut wait = Duration::MAX;
    loop {
        // A message is taken when it can be printed: a slow reader of our output slows the server
        // down, nothing is lost, and what has to wait for the reader is no silence.
        let heard = async {
            let printer = out.reserve().await;
            (printer, timeout(wait, from_server.next()).await)
        };
        select! {
            biased;
            sent = &mut sending, if sends => {
                sends = false;
                match sent {
                    Ok(()) => wait = flags.wait,
                    // Why the connection is of no use any more is the reader's to find out.
                    Err(error) if error.is::<tungstenite::Error>() => {}
                    Err(error) => return Err(error),
                }
            }
            () = leave.cancelled() => return Ok(true),
            heard = heard => match heard {
                (Ok(printer), Ok(Some(message))) => printer.send(Line::Message(received(&message?))),
                (_, Ok(None)) => return Ok(false),
                // Nobody reads our output any more, or the server is silent.
                (Err(_), _) | (_, Err(_)) => return Ok(true),
            },
        }
    }
}

/// Says how it ended, if it ended well. 1000, 1001 and a close without a code are clean, as in
/// Python `websockets`' `ConnectionClosedOK`.
async fn say(console: &Console, end: End) -> Result<()> {
    match end {
        End::ByUs => console.status("closed: 1000, OK").await,
        End::ByServer(frame) => {
            let line = closed_by_server(frame.as_ref());
            if frame.is_some_and(|frame| !matches!(u16::from(frame.code), 1000 | 1001)) {
                return Err(line.into());
            }
            console.status(&line).await;
        }
    }
    Ok(())
}
