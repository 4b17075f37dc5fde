//! Compression of messages: the extension permessage-deflate (RFC 7692).
//!
//! | file | what it is for |
//! | --- | --- |
//! | `header` | the header `Sec-WebSocket-Extensions` |
//! | `negotiation` | [`Compression`], and what a client and a server agree on |
//! | `compress` | compresses a message |
//! | `inflate` | inflates a message, piece by piece |

mod compress;
mod header;
mod inflate;
mod negotiation;

pub(crate) use self::compress::compress;
pub(crate) use self::header::extensions;
pub(crate) use self::inflate::{Inflater, is_invalid_data};
pub use self::negotiation::Compression;
pub(crate) use self::negotiation::{Deflate, LARGEST_WINDOW, accept};
#[cfg(feature = "client")]
pub(crate) use self::negotiation::{OFFER, confirm};
