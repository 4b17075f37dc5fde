//! Compression of messages: the extension permessage-deflate (RFC 7692).
//!
//! | file | what it is for |
//! | --- | --- |
//! | `header` | the header `Sec-WebSocket-Extensions` |

mod header;

pub(crate) use self::header::extensions;
