//! The client's side: a connection that is opened in time and closed in every case, a sentence
//! when it fails, and a prompt that does not keep the socket waiting.

mod connect;

pub use connect::*;
