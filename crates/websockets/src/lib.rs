//! WebSockets for services: the part that Python's `websockets` plays for the Python versions of
//! these demos, on tungstenite.
//!
//! A handler is a plain `async fn`. The server does the rest: it listens, checks requests, keeps
//! connections alive, closes them with the right code, and shuts down.
//!
//! ```no_run
//! use websockets::{Flags, Result, Server, Socket};
//!
//! async fn hello(socket: &mut Socket) -> Result<()> {
//!     let Some(name) = socket.recv().await? else { return Ok(()) };
//!     socket.send(format!("Hello {name}!")).await?;
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     Server::new(Flags::default()).serve(hello).await
//! }
//! ```
//!
//! | folder | purpose |
//! | --- | --- |
//! | [`server`] | serve: listen, accept, answer HTTP, run the handler, close, shut down |
//! | [`socket`] | a WebSocket that answers pings and notices a peer that no longer answers |
//! | [`fanout`] | broadcast a shared state to many clients |
//! | `client` | feature `client`: connect to a server, and explain why if that fails |
//!
//! Three features add to this. `client` compiles the client, `tls` the TLS of servers and clients,
//! and `hyper` the [bridge](Server::bridge) for a service whose port belongs to axum or hyper.
//!
//! Nothing hides the libraries below. Messages and close codes are those of `tungstenite`, which is
//! re-exported with `futures_util` and `tokio_tungstenite`, so that your program uses the same
//! versions.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod catch;
#[cfg(feature = "client")]
pub mod client;
mod deflate;
pub mod fanout;
mod headers;
pub mod server;
pub mod socket;

pub use common::{Error, Result, escaped, log, print_line, printable, report};
pub use deflate::Compression;
#[cfg(feature = "hyper")]
pub use server::Bridge;
pub use server::{Flags, Request, Response, Server, flags, html, listen, respond, signals, with};
pub use socket::{CloseWith, Options, Socket};
pub use tungstenite::Message;
pub use tungstenite::protocol::CloseFrame;
pub use tungstenite::protocol::frame::coding::CloseCode;
pub use {futures_util, tokio_tungstenite, tungstenite};
