//! WS server that sends messages at random intervals.
//!
//! Run `cargo run -p time-server` and open http://127.0.0.1:5678/ in a browser. You will see the
//! UTC time, again and again, after pauses of up to three seconds.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use websockets::{CloseWith, Flags, Result, Server, Socket, log, report};

const PAGE: &str = include_str!("../../../web/time.html");

async fn time(socket: &mut Socket) -> Result<()> {
    loop {
        let now = format!("{:.6}", Timestamp::now());
        socket.send(now).await?;

        // Receive during the pause: the socket answers pings only while the handler waits for it.
        let pause = Duration::from_secs_f64(fastrand::f64() * 3.0);
        if let Ok(message) = timeout(pause, socket.recv()).await {
            return match message? {
                None => Ok(()),
                Some(_) => Err(CloseWith::unsupported("this server only sends the time")),
            };
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    let flags = Flags::parse_with_default_address("127.0.0.1:5678");
    // The page of the Python version is opened as a file, and the time is no secret.
    let server = Server::new(flags).page(PAGE).allow_null_origin();

    report(server.serve(time).await)
}
