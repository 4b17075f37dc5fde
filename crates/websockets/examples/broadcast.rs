//! Sends each message to every client: the room of a benchmark.
//!
//! Run `cargo run -p websockets --example broadcast`; it accepts the servers' flags.

use std::process::ExitCode;
use std::sync::Arc;

use websockets::fanout::{Fanout, Frames, State};
use websockets::{Flags, Result, Server, Socket, log, report};

struct Room;

impl State for Room {
    /// A new client receives only later messages.
    fn snapshot(&self, _: &mut Frames) {}
}

async fn broadcast(socket: &mut Socket, room: Arc<Fanout<Room>>) -> Result<()> {
    let mut subscriber = room.subscribe();
    while let Some(message) = subscriber.next(socket).await? {
        room.change(|_, frames| frames.push(message));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    let server = Server::new(Flags::parse_with_default_address("localhost:9002"));

    report(server.serve_with(Fanout::new(Room), broadcast).await)
}
