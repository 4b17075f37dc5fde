//! A service of one's own: messages, flags and a page that `common` knows nothing of.

use std::process::ExitCode;
use std::sync::Arc;

use common::futures_util::{SinkExt, StreamExt};
use common::server::flags;
use common::tungstenite::Message;
use common::{CloseWith, Flags, Request, Result, Server, Socket};
use serde::{Deserialize, Serialize};

/// Greets in any language.
#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    flags: Flags,

    /// What to say to whoever comes
    #[arg(long, default_value = "Hello")]
    greeting: String,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    text: String,
    room: String,
}

async fn greet(socket: &mut Socket, request: Request, greeting: &str) -> Result<()> {
    let room = request.uri().path().to_owned();
    drop(request);
    while let Some(message) = socket.next().await.transpose()? {
        let Ok(Name { name }) = serde_json::from_slice(&message.into_data()) else {
            return Err(CloseWith::unsupported("say {\"name\": …}"));
        };
        let answer = Greeting { text: format!("{greeting}, {name}!"), room: room.clone() };
        socket.send(Message::text(serde_json::to_string(&answer)?)).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { flags, greeting } = flags::parse_or("localhost:0");
    let page = format!("<p>{greeting}</p>");
    let server = Server::new(flags).page(page).subprotocols(["greeting.v1"]);
    let greeting: Arc<str> = greeting.into();
    let serve = server.serve(move |socket, request| {
        let greeting = Arc::clone(&greeting);
        Box::pin(async move { greet(socket, request, &greeting).await })
    });
    common::report(serve.await)
}
