//! A whole conversation of a client, from connecting to closing.

use tungstenite::error::Error as WsError;
use tungstenite::protocol::frame::coding::CloseCode;

use super::connect::Connect;
use super::errors;
use super::url::Target;
use crate::socket::{CLOSE_TIMEOUT, close_frame, close_frame_for};
use crate::{CloseWith, Result, Socket};

/// Checks whether `url` is the URL of a WebSocket, before you connect.
///
/// # Errors
///
/// One sentence with the fault.
pub fn check_url(url: &str) -> Result<()> {
    Target::parse(url).map(|_| ())
}

/// Connects to a `ws://` URL, runs `conversation`, and closes the connection, even if the
/// conversation fails. (If a socket is dropped, the server sees a lost connection.) The close code
/// is 1000, or the one for the server's mistake.
///
/// # Errors
///
/// The conversation's error, or one sentence with the failure and a fix.
pub async fn connect(
    url: &str,
    conversation: impl AsyncFnOnce(&mut Socket) -> Result<()>,
) -> Result<()> {
    run(Connect::default(), url, conversation).await
}

/// Like [`connect`], for a `wss://` URL and with this TLS connector.
///
/// # Errors
///
/// The conversation's error, or one sentence with the failure and a fix.
#[cfg(feature = "tls")]
pub async fn connect_tls(
    url: &str,
    connector: tokio_native_tls::TlsConnector,
    conversation: impl AsyncFnOnce(&mut Socket) -> Result<()>,
) -> Result<()> {
    // A ws:// URL would not be encrypted.
    if !Target::parse(url)?.secure() {
        return Err("this client always uses TLS; use hello-client for a ws:// URL".into());
    }
    let options = Connect { tls: Some(connector), ..Connect::default() };
    run(options, url, conversation).await
}

async fn run(
    options: Connect,
    url: &str,
    conversation: impl AsyncFnOnce(&mut Socket) -> Result<()>,
) -> Result<()> {
    let (mut socket, _) = options.open(url).await?;
    let result = conversation(&mut socket).await;
    leave(&mut socket, url, result).await
}

/// Closes `socket`, which was opened for `url`, with the code that fits the result of the
/// conversation: 1000, the code of [`CloseWith`], or the code for the server's mistake. An error of
/// tungstenite becomes one sentence.
///
/// # Errors
///
/// The conversation's error. If that is a lost connection, but the server's close frame had
/// arrived, the error has the code and the reason of the close frame.
pub async fn leave(socket: &mut Socket, url: &str, result: Result<()>) -> Result<()> {
    let normal = || close_frame(CloseCode::Normal, "");
    let (frame, result) = match result.map_err(|error| error.downcast::<WsError>()) {
        Ok(()) => (Some(normal()), Ok(())),
        Err(Ok(fault)) => {
            let message = errors::broken(&Target::parse(url)?, &fault);
            (close_frame_for(Err(fault)), Err(message.into()))
        }
        Err(Err(error)) => {
            let chosen = error.downcast_ref().map(|CloseWith(frame)| frame.clone());
            (Some(chosen.unwrap_or_else(normal)), Err(error))
        }
    };
    let is_lost = frame.is_none();
    // Even if the connection is lost, this reads what the server sent before.
    socket.connection().close(frame.unwrap_or_else(normal), CLOSE_TIMEOUT).await;
    match socket.closed() {
        Some(_) if is_lost => Err(errors::closed_early(socket)),
        _ => result,
    }
}
