//! The prompt, editing, and messages that arrive while the user types.

use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use rustix::termios::LocalModes;
use testing::soon;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::pty::Terminal;
use crate::{Server, accept, listen};

/// talk with a prompt, and the server's side of its connection.
async fn connected(flags: &[&str]) -> (Terminal, Server) {
    let (listener, url) = listen().await;
    let terminal = Terminal::start(&[&[url.as_str()], flags].concat());
    let socket = accept(&listener).await;
    terminal
        .shows(&["connected; type a line and press Enter to send it, Ctrl-D to leave", ">"])
        .await;
    (terminal, socket)
}

async fn next_message(socket: &mut Server) -> Message {
    soon("a message", socket.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_message_does_not_break_the_typed_line() {
    let (mut terminal, mut socket) = connected(&[]).await;
    terminal.press("half a li");
    terminal.shows(&["> half a li"]).await;
    socket.send(Message::text("news")).await.unwrap();
    terminal.shows(&["< news", "> half a li"]).await;
    terminal.cursor_is_at(11).await;
    socket.send(Message::binary(vec![1, 2])).await.unwrap();
    terminal.shows(&["< news", "< 2 bytes: 01 02", "> half a li"]).await;
    terminal.press("ne\r");
    assert_eq!(next_message(&mut socket).await, Message::text("half a line"));
    terminal.shows(&["< 2 bytes: 01 02", "> half a line", ">"]).await;

    // The line and the message may both be longer than the screen is wide.
    let (typed, news) = ("y".repeat(70), "n".repeat(70));
    terminal.press(&typed);
    terminal.shows_unbroken(&format!("> {typed}")).await;
    socket.send(Message::text(news.clone())).await.unwrap();
    terminal.shows_unbroken(&format!("< {news}> {typed}")).await;
    terminal.press("!\r");
    assert_eq!(next_message(&mut socket).await, Message::text(typed + "!"));
}

#[tokio::test]
async fn a_line_can_be_edited_and_called_back() {
    let (mut terminal, mut socket) = connected(&[]).await;
    // Two times left, an insertion, a backspace, then the end of the line.
    terminal.press("Zo\u{eb}!\u{1b}[D\u{1b}[Dxy\u{7f}\u{5} \u{1f980}\r");
    assert_eq!(next_message(&mut socket).await, Message::text("Zox\u{eb}! \u{1f980}"));
    terminal.press("second\r");
    assert_eq!(next_message(&mut socket).await, Message::text("second"));
    // Two times up, then down.
    terminal.press("\u{1b}[A\u{1b}[A");
    terminal.shows(&["> Zox\u{eb}! \u{1f980}"]).await;
    terminal.press("\u{1b}[B\r");
    assert_eq!(next_message(&mut socket).await, Message::text("second"));
    // Ctrl-U deletes the line. An empty line is a message, too.
    terminal.press("away\u{15}\r");
    assert_eq!(next_message(&mut socket).await, Message::text(""));
}

#[tokio::test]
async fn the_tab_key_inserts_a_tab() {
    let (mut terminal, mut socket) = connected(&[]).await;
    terminal.press("\ta\tb\r");
    assert_eq!(next_message(&mut socket).await, Message::text("\ta\tb"));
}

#[tokio::test]
async fn pasted_text_is_never_dropped() {
    let (listener, url) = listen().await;
    let mut terminal = Terminal::start(&[&url, "--reconnect"]);
    let mut socket = accept(&listener).await;
    terminal.press("connected\r");
    assert_eq!(next_message(&mut socket).await, Message::text("connected"));
    // Until talk connects again, the lines only wait.
    let address = listener.local_addr().unwrap();
    drop((socket, listener));
    let lines: Vec<_> = (0..200).map(|n| format!("{n:200}\t|")).collect();
    let long = "x".repeat(20_000);
    let pasted = lines.join("\r") + "\r" + &long + "\r";
    let (done, paste) = oneshot::channel();
    std::thread::spawn(move || {
        terminal.press(&pasted);
        _ = done.send(terminal);
    });
    let _terminal = soon("the paste", paste).await.unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let mut socket = accept(&listener).await;
    for line in lines.into_iter().chain([long]) {
        assert_eq!(next_message(&mut socket).await, Message::text(line));
    }
}

#[tokio::test]
async fn ctrl_d_and_ctrl_c_close_with_1000() {
    for keys in ["\u{4}", "half\u{3}"] {
        let (mut terminal, mut socket) = connected(&[]).await;
        terminal.press(keys);
        let last = next_message(&mut socket).await;
        assert!(matches!(last, Message::Close(Some(CloseFrame { code: CloseCode::Normal, .. }))));
        while let Some(Ok(_)) = socket.next().await {}
        drop(socket);
        assert_eq!(terminal.ended().await, Some(0));
        terminal.shows_unbroken("closed: 1000, OK").await;
    }
}

#[tokio::test]
async fn a_server_close_restores_the_terminal() {
    let (mut terminal, mut socket) = connected(&[]).await;
    terminal.press("half");
    terminal.shows(&["> half"]).await;
    assert!(!terminal.mode().local_modes.contains(LocalModes::ICANON));
    for news in ["one", "two", "three"] {
        socket.feed(Message::text(news)).await.unwrap();
    }
    socket.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    assert_eq!(terminal.ended().await, Some(0));
    terminal
        .shows(&["< one", "< two", "< three", "closed by the server: 1001, going away", "> half"])
        .await;
    assert!(terminal.mode().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
    terminal.cursor_is_at(0).await;
}

#[tokio::test]
async fn a_refusal_leaves_the_terminal_as_it_was() {
    let (listener, url) = listen().await;
    drop(listener);
    let mut terminal = Terminal::start(&[&url]);
    assert_eq!(terminal.ended().await, Some(1));
    terminal
        .shows(&[&format!("cannot connect to {url}: connection refused; start the server first")])
        .await;
    assert!(terminal.mode().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}

#[tokio::test]
async fn it_comes_back_at_a_terminal_too() {
    let (listener, url) = listen().await;
    let mut terminal = Terminal::start(&[&url, "--reconnect"]);
    drop(accept(&listener).await);
    let mut again = accept(&listener).await;
    terminal.press("back?\r");
    assert_eq!(next_message(&mut again).await, Message::text("back?"));
}

#[tokio::test]
async fn a_second_ctrl_c_ends_talk_at_once() {
    let (mut terminal, mut socket) = connected(&[]).await;
    terminal.press("\u{3}");
    // The server reads the close frame, but never answers it.
    let mut closed = [0; 8];
    soon("a close", socket.get_mut().read_exact(&mut closed)).await.unwrap();
    let began = Instant::now();
    terminal.interrupt();
    assert_eq!(terminal.ended().await, Some(1));
    assert!(began.elapsed().as_secs() < 5);
    assert!(terminal.mode().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}
