//! Talks with any WebSocket server, ours or not, from a terminal or a script.
//!
//! Run `cargo run -p talk -- ws://localhost:8765` while `cargo run -p hello-server` runs in another
//! terminal, and type your name. `>` marks the lines that you send, `<` the messages of the server.
//!
//! | file | purpose |
//! | --- | --- |
//! | `flags` | the command line |
//! | `session` | connects, exchanges messages, and connects again |
//! | `console` | the input, the output, and the signals that end talk |
//! | `input` | the lines to send, from the keyboard or a pipe |
//! | `output` | prints lines to the screen or a pipe |
//! | `editor` | the line editor; a message never breaks the line that you type |
//! | `lines` | formats messages and close codes |
//! | `backoff` | the pause before the next connection attempt |
//! | `tls` | TLS options for `wss://` |

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backoff;
mod console;
mod editor;
mod flags;
mod input;
mod lines;
mod output;
mod session;
mod tls;

use std::process::ExitCode;

use clap::Parser;
use websockets::{Result, report};

use crate::console::Console;
use crate::flags::Flags;

async fn run(flags: Flags) -> Result<()> {
    let mut console = Console::open(&flags)?;
    let result = session::run(&flags, &mut console).await;
    // An error is printed after all messages.
    console.finish().await.and(result)
}

#[tokio::main]
async fn main() -> ExitCode {
    report(run(Flags::parse()).await)
}
