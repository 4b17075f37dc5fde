//! A client's conversation, from the first packet to the last.

use std::time::Duration;

use tungstenite::error::Error as WsError;
use tungstenite::protocol::frame::coding::CloseCode;

use super::errors;
use super::handshake::Connect;
use super::url::Target;
use crate::socket::close::{close, close_frame, frame_for};
use crate::{Result, Socket};

/// How long the server may take to answer a close frame: Python `websockets`' default.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether `url` is a WebSocket's, for who wants to know before connecting, or would try again.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn check_url(url: &str) -> Result<()> {
    Target::parse(url).map(|_| ())
}

/// Connects to a `ws://` URL, runs `conversation`, and closes however that ended: a socket that is
/// dropped says nothing, and the server would see a lost connection. The code is 1000, or the one
/// that tells the server what it did wrong.
///
/// # Errors
///
/// The conversation's, or a sentence that says what to do.
pub async fn connect(
    url: &str,
    conversation: impl AsyncFnOnce(&mut Socket) -> Result<()>,
) -> Result<()> {
    run(Connect::default(), url, conversation).await
}

/// The same for a `wss://` URL, trusting what `connector` trusts.
///
/// # Errors
///
/// The conversation's, or a sentence that says what to do.
#[cfg(feature = "tls")]
pub async fn connect_tls(
    url: &str,
    connector: tokio_native_tls::TlsConnector,
    conversation: impl AsyncFnOnce(&mut Socket) -> Result<()>,
) -> Result<()> {
    // With ws:// the connector would never be asked, and nothing encrypted.
    if !Target::parse(url)?.secure() {
        return Err("this client always encrypts; use hello-client for a ws:// URL".into());
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
    leave(&mut socket, url, result, CLOSE_TIMEOUT).await
}

/// Closes `socket`, which was opened for `url`, with the code that fits how the conversation
/// ended: 1000, or what the server did wrong. What the library says of that becomes a sentence.
///
/// # Errors
///
/// The conversation's.
pub async fn leave(
    socket: &mut Socket,
    url: &str,
    result: Result<()>,
    close_timeout: Duration,
) -> Result<()> {
    let normal = Some(close_frame(CloseCode::Normal, ""));
    let (frame, result) = match result.map_err(|error| error.downcast::<WsError>()) {
        Ok(()) => (normal, Ok(())),
        Err(Ok(fault)) => {
            let sentence = errors::broken(&Target::parse(url)?, &fault);
            (frame_for(Err(fault)), Err(sentence.into()))
        }
        Err(Err(error)) => (normal, Err(error)),
    };
    // Without a frame there is nobody left to tell.
    if let Some(frame) = frame {
        close(socket, frame, close_timeout).await;
    }
    result
}
