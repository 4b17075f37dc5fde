//! The client's side: a connection that is opened in time and closed in every case, one sentence
//! when it fails, and a prompt that does not keep the socket waiting.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `conversation` | [`connect`] and [`connect_tls`]: open, converse, close with the fitting code |
//! | `handshake` | [`Connect`]: open a WebSocket, by way of redirects if need be |
//! | `url` | a `ws://` or `wss://` URL and its parts |
//! | `dial` | every address of a host, with a head start for each |
//! | `proxy` | the proxies of the environment |
//! | `encrypt` | feature `tls`: TLS, and words for what goes wrong with it |
//! | `errors` | one sentence for each failure of a WebSocket |
//! | `input` | a line from the person, a message from the server |

mod conversation;
mod dial;
#[cfg(feature = "tls")]
mod encrypt;
mod errors;
mod handshake;
mod input;
mod proxy;
mod url;

#[cfg(feature = "tls")]
pub use conversation::connect_tls;
pub use conversation::{CLOSE_TIMEOUT, check_url, connect, leave};
pub use handshake::Connect;
pub use input::{input, recv};
