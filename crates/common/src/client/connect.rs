//! What the two clients need besides the library: a connection that is opened in time and closed
//! in every case, a sentence when it fails, and a prompt that does not keep the socket waiting.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tungstenite::Message;
use tungstenite::error::{Error as WsError, TlsError};
use tungstenite::handshake::client::Response;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::socket::Keepalive;
use crate::socket::Pings;
use crate::socket::close::{close, close_frame};
use crate::text::printable;
use crate::{Error, Result, Socket};

/// How long connecting may take, the TLS and the WebSocket handshake included: Python
/// `websockets`' default.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may take to answer a close frame: Python `websockets`' default.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a `ws://` URL, trying every address of its host in turn, runs `conversation`,
/// and closes with 1000 however that ended: a socket that is dropped says nothing, and the
/// server would see a lost connection.
///
/// # Errors
///
/// The conversation's, or a sentence that says what to do.
pub async fn connect(
    url: &str,
    conversation: impl AsyncFnOnce(&mut Socket) -> Result<()>,
) -> Result<()> {
    if url.starts_with("wss://") {
        return Err("this client does not encrypt; use wss-client for a wss:// URL".into());
    }
    run(open(url, connect_async_with_config(url, None, true)).await?, conversation).await
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
    if url.starts_with("ws://") {
        return Err("this client always encrypts; use hello-client for a ws:// URL".into());
    }
    run(open(url, encrypted(url, connector)).await?, conversation).await
}

/// `connect_async_tls_with_config` would do, but for `wss://[::1]`: it hands native-tls the
/// brackets too, and a host of that name is in no certificate.
#[cfg(feature = "tls")]
async fn encrypted(
    url: &str,
    connector: tokio_native_tls::TlsConnector,
) -> std::result::Result<Opened, WsError> {
    let request = tungstenite::client::IntoClientRequest::into_client_request(url)?;
    let host = request.uri().host().unwrap_or_default();
    let host = host.trim_matches(['[', ']']).to_owned();
    let port = request.uri().port_u16().unwrap_or(443);
    let stream = tokio::net::TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(&host, stream).await.map_err(TlsError::from)?;
    tokio_tungstenite::client_async(request, MaybeTlsStream::NativeTls(stream)).await
}

async fn run(
    mut socket: Socket,
    conversation: impl AsyncFnOnce(&mut Socket) -> Result<()>,
) -> Result<()> {
    let result = conversation(&mut socket).await;
    close(&mut socket, close_frame(CloseCode::Normal, ""), CLOSE_TIMEOUT).await;
    result
}

type Opened = (WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>, Response);

async fn open(
    url: &str,
    connecting: impl Future<Output = std::result::Result<Opened, WsError>>,
) -> Result<Socket> {
    if !url.starts_with("ws://") && !url.starts_with("wss://") {
        return Err(no_url(url).into());
    }
    // The future of a TLS connect is large; it is needed once.
    match timeout(OPEN_TIMEOUT, Box::pin(connecting)).await {
        Ok(Ok((websocket, _response))) => Ok(Keepalive::new(websocket, Pings::default())),
        Ok(Err(error)) => Err(explain(url, &error)),
        Err(_) => Err(format!(
            "no answer from {url} within {} s; is it the right address?",
            OPEN_TIMEOUT.as_secs()
        )
        .into()),
    }
}

fn explain(url: &str, error: &WsError) -> Error {
    let text = match error {
        WsError::Io(io) if io.kind() == ErrorKind::ConnectionRefused => {
            format!("cannot connect to {url}: connection refused; start the server first")
        }
        WsError::Io(io) => format!("cannot connect to {url}: {io}; is it the right address?"),
        WsError::Url(_) | WsError::HttpFormat(_) => no_url(url),
        WsError::Http(response) => {
            let status = response.status();
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body);
            let sentence = printable(body.lines().next().unwrap_or_default()).to_string();
            format!("{url} answered {status} instead of a WebSocket: {sentence}")
        }
        WsError::Tls(error) => explain_tls(url, error),
        error => format!("{url} does not speak WebSocket: {error}; is it the right port?"),
    };
    text.into()
}

fn no_url(url: &str) -> String {
    format!("{url:?} is not a WebSocket's URL; give one like ws://localhost:8765")
}

#[cfg(feature = "tls")]
fn explain_tls(url: &str, error: &TlsError) -> String {
    crate::tls::explain(url, error)
}

#[cfg(not(feature = "tls"))]
fn explain_tls(url: &str, error: &TlsError) -> String {
    format!("cannot connect to {url}: {error}; use wss-client")
}

/// Prints `prompt` and waits for a line on standard input, while the socket answers pings.
///
/// # Errors
///
/// A sentence when the input or the connection ends first.
pub async fn input(prompt: &str, socket: &mut Socket) -> Result<String> {
    print!("{prompt}");
    std::io::stdout().flush()?;
    let (send, line) = oneshot::channel();
    // A thread of our own: tokio's would keep the program from ending while it waits for a line.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        _ = send.send(read.map(|bytes| (bytes, line)));
    });
    tokio::select! {
        line = line => {
            let (bytes, line) = line??;
            if bytes == 0 {
                // Off the prompt's line, for a person; a program wants the output as it is.
                if std::io::stdout().is_terminal() {
                    println!();
                }
                return Err("the input ended at the prompt; type a name and press Enter".into());
            }
            Ok(line.trim_end_matches(['\r', '\n']).to_owned())
        }
        message = socket.next() => match message.transpose()? {
            Some(_) => Err("the server spoke first; is it a hello server?".into()),
            None => Err(closed(socket)),
        },
    }
}

/// Waits for one text message.
///
/// # Errors
///
/// A sentence when something else comes, or the connection ends.
pub async fn recv(socket: &mut Socket) -> Result<String> {
    match socket.next().await.transpose()? {
        Some(Message::Text(text)) => Ok(text.as_str().to_owned()),
        Some(_) => Err("the server sent binary data; is it a hello server?".into()),
        None => Err(closed(socket)),
    }
}

fn closed(socket: &Socket) -> Error {
    match socket.closed() {
        Some(Some(frame)) => format!(
            "the server closed the connection too early: {} {}",
            u16::from(frame.code),
            printable(&frame.reason)
        ),
        _ => "the server closed the connection too early".into(),
    }
    .into()
}
