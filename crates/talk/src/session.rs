//! Connects, exchanges messages, and connects again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{IsTerminal, stdout};
use std::pin::pin;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::select;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};
use websockets::client::{Connect, check_url, leave};
use websockets::tungstenite::Error as WsError;
use websockets::tungstenite::handshake::client::Response;
use websockets::tungstenite::http::HeaderValue;
use websockets::tungstenite::http::header::{
    AUTHORIZATION, ORIGIN, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
};
use websockets::tungstenite::protocol::CloseFrame;
use websockets::{CloseWith, Error, Options, Result, Socket};

use crate::backoff::Backoff;
use crate::console::Console;
use crate::flags::Flags;
use crate::lines::{format_close, format_message};
use crate::tls;

/// Talks with the server until one side closes the connection. With `--reconnect`, connects again
/// whenever the server closed it or the connection failed.
///
/// # Errors
///
/// An error message if talk cannot connect, if the connection was lost, if the server closed it
/// with another code than 1000 and 1001, or if the input cannot be read or is not valid text.
pub async fn run(flags: &Flags, console: &mut Console) -> Result<()> {
    check_url(&flags.url)?;
    let connect = connect_options(flags)?;
    if flags.insecure {
        let warning = "WARNING: --insecure checks no certificate; anyone on the network path can \
                       read and change the messages";
        console.output.status(warning);
    }
    let mut has_connected = false;
    let result = keep_talking(flags, console, &connect, &mut has_connected).await;
    // If talk could not connect at all, the error says enough.
    if (result.is_ok() || has_connected)
        && let Some(unsent) = console.input.report_unsent()
    {
        console.output.status(&unsent);
    }
    result
}

async fn keep_talking(
    flags: &Flags,
    console: &mut Console,
    connect: &Connect,
    has_connected: &mut bool,
) -> Result<()> {
    let mut backoff = Backoff::default();
    let quit = console.quit.clone();
    loop {
        let opened = select! {
            biased;
            () = quit.cancelled() => return Ok(()),
            opened = connect.open(&flags.url) => opened,
        };
        let (by_us, result) = match opened {
            Ok((mut socket, response)) => {
                *has_connected = true;
                let began = Instant::now();
                console.connected(&agreed(&response));
                let result = exchange(flags, console, &mut socket).await;
                // The closing handshake can take 10 s, so its time does not count.
                backoff.connection_ended(began.elapsed());
                let by_us = match &result {
                    Ok(by_us) => *by_us,
                    // Any other error comes from the input.
                    Err(error) => !error.is::<WsError>(),
                };
                (by_us, close(flags, console, socket, result).await)
            }
            Err(error) => (false, Err(error)),
        };
        if by_us || quit.is_cancelled() || !flags.reconnect {
            return result;
        }
        if let Err(error) = result {
            console.output.status(&error.to_string());
        }
        let pause = backoff.next_pause();
        console.output.status(&format!("trying again in {:.1} s", pause.as_secs_f64()));
        select! {
            biased;
            () = quit.cancelled() => return Ok(()),
            () = sleep(pause) => {}
        }
    }
}

fn connect_options(flags: &Flags) -> Result<Connect> {
    let mut connect = Connect {
        options: Options {
            ping_interval: flags.ping_interval,
            max_size: flags.max_size,
            ..Options::default()
        },
        compression: flags.compression,
        ..Connect::default()
    };
    let headers = &mut connect.additional_headers;
    if let Some(origin) = &flags.origin {
        headers.insert(ORIGIN, origin.clone());
    }
    if let Some(token) = &flags.token {
        headers.insert(AUTHORIZATION, token.clone());
    }
    if !flags.subprotocols.is_empty() {
        let names = HeaderValue::try_from(flags.subprotocols.join(", "))?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, names);
    }
    for (name, value) in &flags.headers {
        headers.append(name, value.clone());
    }
    tls::configure(&mut connect, flags)?;
    Ok(connect)
}

/// What the server has agreed to.
fn agreed(response: &Response) -> String {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let subprotocol = header(SEC_WEBSOCKET_PROTOCOL).map(|name| format!("subprotocol {name}"));
    let compression = header(SEC_WEBSOCKET_EXTENSIONS).filter(|extension| !extension.is_empty());
    let agreed: Vec<_> =
        subprotocol.into_iter().chain(compression.map(|_| "compressed".into())).collect();
    match agreed.as_slice() {
        [] => String::new(),
        agreed => format!(" ({})", agreed.join(", ")),
    }
}

/// Closes the connection after `exchange` has returned `result`, and prints how it was closed.
async fn close(
    flags: &Flags,
    console: &Console,
    mut socket: Socket,
    result: Result<bool>,
) -> Result<()> {
    if flags.time && socket.latency().is_some() {
        let latency = format_latency("latency of the last ping:", socket.latency());
        console.output.status(&latency);
    }
    let by_us = matches!(result, Ok(true));
    let result = match by_us {
        true => Err(flags.close.clone().into()),
        false => result.map(drop),
    };
    let is_too_large = result.as_ref().is_err_and(is_too_large);
    match leave(&mut socket, &flags.url, result).await {
        Err(error) if is_too_large => return Err(format!("{error}, or raise --max-size").into()),
        Err(error) if !error.is::<CloseWith>() => return Err(error),
        _ => {}
    }
    let frame = socket.closed().flatten();
    // A server may close with another code than ours, for example at the same moment.
    let is_echo = frame.as_ref().is_none_or(|frame| frame.code == flags.close.0.code);
    if by_us && is_echo {
        console.output.status(&format_close("closed", Some(&flags.close.0)));
        return Ok(());
    }
    report_close(console, frame)
}

fn is_too_large(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(WsError::Capacity(_)))
}

/// Sends the lines of the input and prints the messages of the server, until one side ends the
/// connection. Returns whether this side ended it.
async fn exchange(flags: &Flags, console: &mut Console, socket: &mut Socket) -> Result<bool> {
    let Console { input, quit, output, .. } = console;
    // Sending and receiving run side by side. If sending blocked receiving, talk and a server that
    // answers before it has read everything would wait for each other forever.
    let socket = RefCell::new(socket);
    let mut send_input = pin!(async {
        while let Some(line) = input.next().await? {
            poll_fn(|cx| socket.borrow_mut().poll_ready_unpin(cx)).await?;
            socket.borrow_mut().start_send_unpin(line)?;
            poll_fn(|cx| socket.borrow_mut().poll_flush_unpin(cx)).await?;
            input.sent();
            // If the server closes, that is noticed before many more lines are sent.
            yield_now().await;
        }
        Ok::<_, Error>(())
    });
    let mut is_sending = true;
    // A terminal obeys control characters, so there they stay escaped.
    let raw = (flags.raw && !stdout().is_terminal()).then_some(flags.delimiter);
    // The server may be silent for this time. There is no limit while the input is open.
    let mut wait = Duration::MAX;
    let latency = Cell::new(None);
    loop {
        // A message is received only when there is room for it. So the time that a slow reader of
        // the output takes is not silence.
        let receive = async {
            output.room().await;
            let next = poll_fn(|cx| {
                let next = socket.borrow_mut().poll_next_unpin(cx);
                // Receiving handles pongs, too. They are no messages, so the time continues.
                let new = socket.borrow().latency();
                if flags.ping && latency.replace(new) != new {
                    output.status(&format_latency("pong after", new));
                }
                next
            });
            timeout(wait, next).await
        };
        select! {
            biased;
            result = &mut send_input, if is_sending => {
                is_sending = false;
                match result {
                    Ok(()) => wait = flags.wait,
                    // The receiving half will find out why the connection has failed.
                    Err(error) if error.is::<WsError>() => {}
                    Err(error) => return Err(error),
                }
            }
            () = quit.cancelled() => return Ok(true),
            received = receive => match received {
                Ok(Some(message)) => output.message(format_message(message?, raw)),
                Ok(None) => return Ok(false),
                // The server was silent for too long.
                Err(_) => return Ok(true),
            },
        }
    }
}

fn format_latency(what: &str, latency: Option<Duration>) -> String {
    format!("{what} {:.1} ms", latency.unwrap_or_default().as_secs_f64() * 1000.0)
}

/// Prints how the server closed the connection. 1000, 1001 and a close without a code are clean, as
/// in `ConnectionClosedOK` of Python `websockets`. Any other code is an error.
fn report_close(console: &Console, frame: Option<CloseFrame>) -> Result<()> {
    let line = format_close("closed by the server", frame.as_ref());
    if frame.is_some_and(|frame| !matches!(u16::from(frame.code), 1000 | 1001)) {
        return Err(line.into());
    }
    console.output.status(&line);
    Ok(())
}
