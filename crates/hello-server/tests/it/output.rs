use testing::Peer;

use crate::start;

#[cfg(unix)]
#[tokio::test]
async fn an_unread_stdout_blocks_neither_clients_nor_shutdown() {
    let mut server = start(&[]).await;
    // Far more than a pipe holds, and than waits to be read.
    let name = "\u{1b}".repeat(200_000);
    for _ in 0..300 {
        let mut peer = Peer::connect(&server.url()).await;
        peer.send(name.clone()).await;
        assert_eq!(peer.text().await.len(), "Hello !".len() + name.len());
        assert_eq!(peer.closed().await.0, 1000);
    }
    server.terminate();
    assert!(server.exit().await.success());
}

/// A server whose stderr is a full pipe. The pipe holds 64 KiB, and is filled before the server
/// starts.
#[cfg(unix)]
async fn start_with_a_full_stderr() -> (tokio::process::Child, std::net::SocketAddr) {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt, BufReader};

    let fill = "head -c 65536 /dev/zero >&2; exec \"$0\" \"$@\"";
    let mut server = tokio::process::Command::new("sh")
        .args(["-c", fill, crate::EXE, "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdout = server.stdout.as_mut().unwrap();
    let mut line = String::new();
    testing::soon("the listening line", BufReader::new(stdout).read_line(&mut line)).await.unwrap();
    (server, line.trim_end().strip_prefix("listening on ws://").unwrap().parse().unwrap())
}

/// Ends it, and waits for that.
#[cfg(unix)]
async fn end(mut server: tokio::process::Child) {
    testing::kill(server.id().unwrap(), testing::Signal::TERM);
    assert!(testing::soon("the end", server.wait()).await.unwrap().success());
}

#[cfg(unix)]
#[tokio::test]
async fn an_unread_stderr_blocks_neither_clients_nor_shutdown() {
    use testing::{HANDSHAKE, http};

    let (server, address) = start_with_a_full_stderr().await;
    for _ in 0..20 {
        let foreign = HANDSHAKE.replace("Host:", "Origin: https://example.org\r\nHost:");
        assert!(http(address, &foreign).await.starts_with("HTTP/1.1 403 "));
    }
    let mut peer = Peer::connect(&format!("ws://{address}")).await;
    peer.send("Ada").await;
    assert_eq!(peer.text().await, "Hello Ada!");
    peer.close().await;
    end(server).await;
}

#[cfg(unix)]
#[tokio::test]
async fn shutdown_waits_1s_for_both_unread_outputs() {
    let mut took = Vec::new();
    // A machine may stand still for a second.
    for _ in 0..3 {
        let (server, address) = start_with_a_full_stderr().await;
        // More than a pipe holds.
        for _ in 0..20 {
            let mut peer = Peer::connect(&format!("ws://{address}")).await;
            peer.send("x".repeat(100_000)).await;
            assert_eq!(peer.text().await.len(), "Hello !".len() + 100_000);
            assert_eq!(peer.closed().await.0, 1000);
        }
        let began = std::time::Instant::now();
        end(server).await;
        took.push(began.elapsed().as_secs_f64());
        if took.last().is_some_and(|took| (0.9..1.9).contains(took)) {
            return;
        }
    }
    panic!("{took:?} s");
}

#[tokio::test]
async fn a_long_message_is_shortened_with_its_length() {
    let mut server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("\u{1b}".repeat(1 << 20)).await;
    peer.text().await;
    let line = server.line_with("< ").await;
    assert!(line.starts_with("< \\u{1b}\\u{1b}"), "{line}");
    assert!(line.len() < 5000 && line.ends_with(" bytes more)"), "{} bytes", line.len());
    assert!(server.line_with("> ").await.len() < 5000);
}

/// Starts a server whose stdout is this file. The address is not known from stdout then.
#[cfg(unix)]
fn start_into(stdout: impl Into<std::process::Stdio>) -> (tokio::process::Child, String) {
    let address = format!("127.0.0.1:{}", testing::free_port());
    let server = tokio::process::Command::new(crate::EXE)
        .arg(&address)
        .stdout(stdout)
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    (server, address)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_exits_1_with_one_line() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (mut server, _) = start_into(full);
    let mut stderr = BufReader::new(server.stderr.take().unwrap());
    let mut said = String::new();
    testing::soon("a line", stderr.read_line(&mut said)).await.unwrap();
    assert!(said.starts_with("cannot write to stdout (No space left on device"), "{said}");
    testing::kill(server.id().unwrap(), testing::Signal::TERM);
    assert_eq!(testing::soon("the end", server.wait()).await.unwrap().code(), Some(1));
    said.clear();
    stderr.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with("(lines lost on stdout: 2)\n"), "{said}");
}

/// Has this many conversations. Each prints two lines of about 4 KB.
#[cfg(unix)]
async fn converse(address: &str, times: usize) {
    for _ in 0..times {
        let mut peer = Peer::connect(&format!("ws://{address}")).await;
        peer.send("x".repeat(4000)).await;
        peer.text().await;
        assert_eq!(peer.closed().await.0, 1000);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_full_nonblocking_pipe_is_waited_for() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::unix::pipe::pipe;

    let (writer, reader) = pipe().unwrap();
    let (mut server, address) = start_into(writer.into_nonblocking_fd().unwrap());
    let mut lines = BufReader::new(reader).lines();
    let first = testing::soon("a line", lines.next_line()).await.unwrap();
    assert!(first.unwrap().starts_with("listening on "));
    // Far more than a pipe holds.
    converse(&address, 50).await;
    testing::kill(server.id().unwrap(), testing::Signal::TERM);
    let mut printed = 0;
    while let Some(line) = testing::soon("a line", lines.next_line()).await.unwrap() {
        printed += usize::from(line.len() > 4000);
    }
    assert_eq!(printed, 100);
    assert!(testing::soon("the end", server.wait()).await.unwrap().success());
}

#[cfg(unix)]
#[tokio::test]
async fn every_lost_line_is_counted_and_reported() {
    use std::io::{BufRead, BufReader};

    use tokio::io::AsyncReadExt;

    let (reader, writer) = std::io::pipe().unwrap();
    let (mut server, address) = start_into(writer);
    let mut lines = BufReader::new(reader).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("listening on "));
    // More than a pipe holds, and than waits to be written.
    converse(&address, 200).await;
    testing::kill(server.id().unwrap(), testing::Signal::TERM);
    assert!(testing::soon("the end", server.wait()).await.unwrap().success());
    let printed = lines.filter(|line| line.as_ref().is_ok_and(|line| line.len() > 4000)).count();
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    let lost = said.lines().find_map(|line| line.strip_prefix("(lines lost on stdout: "));
    let lost: usize = lost.unwrap().trim_end_matches(')').parse().unwrap();
    assert_eq!(printed + lost, 400, "{printed} and {lost}");
}
