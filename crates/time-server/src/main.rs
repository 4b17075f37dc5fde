//! WS server that sends messages at random intervals.
//!
//! Run `cargo run -p time-server` and open http://127.0.0.1:5678/ in a browser. You will see the
//! UTC time, again and again, after pauses of up to three seconds.

use std::process::ExitCode;
use std::time::Duration;

use common::{CloseWith, Flags, Result, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use tokio::time::timeout;
use tungstenite::Message;

const PAGE: &str = include_str!("../../../web/time.html");

async fn time(socket: &mut Socket) -> Result<()> {
    loop {
        let now = format!("{:.6}", Timestamp::now());
        socket.send(Message::text(now)).await?;

        // Listen during the pause: a socket that nobody reads answers no ping and sees no close.
        let pause = Duration::from_secs_f64(fastrand::f64() * 3.0);
        match timeout(pause, socket.next()).await {
            Err(_elapsed) => continue,
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(Some(Ok(_))) => {
                return Err(CloseWith::unsupported("this server only tells the time"));
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    let server = Server::new(Flags::parse_or("127.0.0.1:5678")).page(PAGE);
    // The original's page is opened as a file; and the time is no secret.
    let server = server.allow_null_origin();

    common::report(server.serve(|socket, _| Box::pin(time(socket))).await)
}
