//! Mistakes that the compiler finds. This does not compile.

use websockets::{Flags, Request, Result, Server, Socket, with};

async fn takes_no_socket() -> Result<()> {
    Ok(())
}

async fn returns_a_string(_: &mut Socket) -> String {
    String::new()
}

async fn holds_an_rc(socket: &mut Socket) -> Result<()> {
    let count = std::rc::Rc::new(1);
    socket.recv().await?;
    drop(count);
    Ok(())
}

async fn takes_another_state(_: &mut Socket, _: Request, _: String) -> Result<()> {
    Ok(())
}

async fn sends_text_as_frames(socket: &mut Socket) -> Result<()> {
    let json = String::from("{}");
    Ok(socket.send_encoded(json.into()).await?)
}

fn main() {
    let server = || Server::new(Flags::default());
    _ = server().serve(takes_no_socket);
    _ = server().serve(returns_a_string);
    _ = server().serve(holds_an_rc);
    _ = server().serve_with(7, takes_another_state);
    _ = server().serve_on(vec![], with(7, takes_another_state), async {});
    _ = server().serve(sends_text_as_frames);
}
