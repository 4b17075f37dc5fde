//! The client: a connection that is opened in time and closed in every case, one sentence if it
//! fails, and a prompt during which the socket stays alive.
//!
//! | file | purpose |
//! | --- | --- |
//! | `conversation` | [`connect`] and `connect_tls`: open, run a conversation, close |
//! | `connect` | [`Connect`]: open a WebSocket, and follow redirects |
//! | `handshake` | the opening handshake |
//! | `http` | one HTTP request, and the response to it |
//! | `url` | a `ws://` or `wss://` URL and its parts |
//! | `dial` | a TCP connection to the first address of a host that answers |
//! | `proxy` | the proxies of the environment |
//! | `encrypt` | feature `tls`: TLS, and error messages for it |
//! | `errors` | one error message for each failure of a WebSocket |
//! | `input` | a line from the user, a text from the server |

mod connect;
mod conversation;
mod dial;
#[cfg(feature = "tls")]
mod encrypt;
mod errors;
mod handshake;
mod http;
mod input;
mod proxy;
mod url;

pub use connect::Connect;
#[cfg(feature = "tls")]
pub use conversation::connect_tls;
pub use conversation::{check_url, connect, leave};
pub use input::{input, recv_text};
