//! A well-behaved client.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use crate::soon;

/// A client for any of the servers.
pub struct Peer(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Peer {
    /// Connects.
    pub async fn connect(url: &str) -> Self {
        Self(soon("a connect", connect_async(url)).await.unwrap().0)
    }

    /// Connects as a page of `origin`. The error is the status of the response, if the server
    /// rejects the page.
    pub async fn connect_from(url: &str, origin: &str) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("Origin", origin.parse().unwrap());
        match soon("a connect", connect_async(request)).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: impl Into<Message>) {
        soon("a send", self.0.send(message.into())).await.unwrap();
    }

    /// Sends a message with the next [`flush`](Self::flush), so that a few writes send many
    /// messages.
    pub async fn feed(&mut self, message: impl Into<Message>) {
        soon("a feed", self.0.feed(message.into())).await.unwrap();
    }

    /// Sends the messages of [`feed`](Self::feed).
    pub async fn flush(&mut self) {
        soon("a flush", self.0.flush()).await.unwrap();
    }

    /// Returns the next message that is not a ping.
    pub async fn message(&mut self) -> Message {
        loop {
            match soon("a message", self.0.next()).await.unwrap().unwrap() {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    /// Returns the next message, which must be text.
    pub async fn text(&mut self) -> String {
        match self.message().await {
            Message::Text(text) => text.to_string(),
            other => panic!("text was expected, not {other:?}"),
        }
    }

    /// Returns the close frame, which must come next, and waits for the end.
    pub async fn closed(&mut self) -> (u16, String) {
        let Message::Close(Some(CloseFrame { code, reason })) = self.message().await else {
            panic!("a close frame was expected")
        };
        assert!(soon("the end", self.0.next()).await.is_none_or(|last| last.is_err()));
        (code.into(), reason.to_string())
    }

    /// Closes with 1000 and waits for the end.
    pub async fn close(mut self) {
        let frame = CloseFrame { code: 1000.into(), reason: "".into() };
        soon("a close", self.0.close(Some(frame))).await.unwrap();
        while let Some(Ok(_)) = soon("the end", self.0.next()).await {}
    }
}
