//! A client that writes any bytes, and so can break every rule.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::soon;

/// A TCP connection, and the bytes that were read but not used yet.
pub struct Raw {
    /// The connection.
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    /// Connects, and sends nothing.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connect", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Connects and completes the opening handshake.
    pub async fn open(address: SocketAddr) -> Self {
        Self::connect(address).await.opened().await
    }

    /// Does the same with a very small receive buffer. So a client that does not read blocks the
    /// server after kilobytes, and not after megabytes.
    pub async fn open_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = soon("a connect", socket.connect(address)).await.unwrap();
        Self { stream, read: Vec::new() }.opened().await
    }

    async fn opened(mut self) -> Self {
        self.write(HANDSHAKE).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        soon("a write", self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Writes a masked frame: its first byte (FIN, reserved bits, opcode) and its payload.
    pub async fn frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.write(frame(first, payload)).await;
    }

    /// Reads up to and including the empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            assert!(self.more().await, "the connection ended in the middle of a head");
        }
    }

    /// Returns the first byte and the payload of the next frame, or `None` at the end of the
    /// connection.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, payload, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Some((first, payload));
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "the connection ended inside of a frame");
                return None;
            }
        }
    }

    /// Reads frames until the close frame, and returns its code, or `None` if there is none.
    pub async fn close_code(&mut self) -> Option<u16> {
        while let Some((first, payload)) = self.next_frame().await {
            if first == 0x88 {
                return Some(u16::from_be_bytes([payload[0], payload[1]]));
            }
        }
        None
    }

    /// Writes `bytes` again and again, and reads meanwhile, until a close frame arrives. Returns
    /// its code, or `None` if there is none.
    pub async fn flood(&mut self, bytes: &[u8]) -> Option<u16> {
        let Self { stream, read } = self;
        let (mut from, mut to) = stream.split();
        let write = async {
            while to.write_all(bytes).await.is_ok() {}
            std::future::pending().await
        };
        let listen = async {
            loop {
                while let Some((first, payload, length)) = parse(read) {
                    read.drain(..length);
                    if first == 0x88 {
                        return Some(u16::from_be_bytes([payload[0], payload[1]]));
                    }
                }
                if !matches!(from.read_buf(read).await, Ok(1..)) {
                    return None;
                }
            }
        };
        let until_closed = async {
            tokio::select! { code = listen => code, () = write => None }
        };
        soon("a close frame", until_closed).await
    }

    /// Half-closes the connection. Reading still works.
    pub async fn half_close(&mut self) {
        // Ignore an error, because the server may have closed the connection already.
        _ = self.stream.shutdown().await;
    }

    /// Reads everything until the end. A reset counts as the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        let n = soon("bytes", self.stream.read(&mut chunk)).await.unwrap_or(0);
        self.read.extend_from_slice(&chunk[..n]);
        n > 0
    }
}

/// Returns the request of a correct opening handshake.
pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// Returns the bytes of a masked frame with this first byte (FIN, reserved bits, opcode) and
/// payload.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![first];
    match payload.len() {
        n @ ..126 => frame.push(0x80 | n as u8),
        n @ 126..0x10000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (length, start) = match *bytes.get(1)? {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()) as usize, 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        n => (n as usize, 2),
    };
    Some((bytes[0], bytes.get(start..start + length)?.to_vec(), start + length))
}

/// Sends an HTTP request as it is, and returns the whole response.
pub async fn http(address: SocketAddr, request: &str) -> String {
    let mut raw = Raw::connect(address).await;
    raw.write(request).await;
    String::from_utf8(raw.rest().await).unwrap()
}
