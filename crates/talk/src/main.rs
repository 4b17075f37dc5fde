//! Talks with any WebSocket server, ours or not, from a terminal or a script.
//!
//! Run `cargo run -p talk -- ws://localhost:8765` while `cargo run -p hello-server` runs in another
//! terminal, and type your name. What you send is marked `>`, what comes `<`.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `flags` | the command line |
//! | `talk` | connect, converse, connect again |
//! | `console` | lines from the keyboard or a pipe, and lines to the screen or a pipe |
//! | `editor` | the keyboard: a prompt that what comes meanwhile does not tear |
//! | `lines` | how messages and close codes are printed |
//! | `backoff` | how long to wait before the next try |
//! | `trust` | which servers `wss://` believes |

mod backoff;
mod console;
mod editor;
mod flags;
mod lines;
mod talk;
mod trust;

use std::process::ExitCode;

use clap::Parser;
use common::Result;

use crate::console::Console;
use crate::flags::Flags;
use crate::talk::talk;

async fn run(flags: Flags) -> Result<()> {
    let mut console = Console::open(flags.time)?;
    let result = talk(&flags, &mut console).await;
    // What was printed comes before what is said of the end.
    console.finish().await;
    result
}

#[tokio::main]
async fn main() -> ExitCode {
    common::report(run(Flags::parse()).await)
}
