//! One connection, from the TCP handshake to the close frame.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use common::Result;
use common::text::printable;
use mio::event::Event as Ready;
use mio::net::TcpStream;
use tungstenite::handshake::client::generate_key;

use crate::clock;
use crate::frame::{self, Event, Frame};
use crate::target::Target;

/// The first bytes of the control frames that a client sends.
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// The size of one read. It holds thousands of frames, so one read usually empties a socket.
const READ_SIZE: usize = 256 << 10;

/// One client.
pub struct Client {
    /// The server to which it connects.
    pub target: Arc<Target>,
    /// The TCP connection, which the pool registers with its poll.
    pub stream: TcpStream,
    /// The stage that its connection has reached.
    pub stage: Stage,
    /// The newest user count that it has received.
    pub users: u64,
    /// The newest value that it has received.
    pub value: i64,
    /// The beginning of a frame whose end has not arrived yet.
    partial_frame: Vec<u8>,
    /// Bytes that the kernel has not accepted yet.
    unsent: Vec<u8>,
}

/// The stages of a connection, in this order.
#[derive(PartialEq, PartialOrd)]
pub enum Stage {
    /// The TCP handshake is under way.
    Connecting,
    /// The opening handshake with this key is under way.
    Upgrading(String),
    /// The WebSocket is open, and the first `users` event has not arrived yet.
    AwaitingUsers,
    /// The first `state` event has not arrived yet.
    AwaitingState,
    /// Both events have arrived.
    Open,
    /// We have sent our close frame.
    Closing,
    /// The connection has ended.
    Closed,
}

/// The buffer for one client's reads. All clients use the same buffer, one after the other.
pub struct ReadBuffer {
    /// The values that one client has just received, in order.
    pub values: Vec<i64>,
    /// The time at which the last of them arrived.
    pub received_at: u64,
    bytes: Vec<u8>,
}

impl ReadBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { values: Vec::new(), received_at: 0, bytes: vec![0; READ_SIZE] }
    }
}

impl Client {
    /// A client whose TCP connection is being opened.
    pub fn new(target: Arc<Target>, stream: TcpStream) -> Self {
        let (partial_frame, unsent) = (Vec::new(), Vec::new());
        Self { target, stream, stage: Stage::Connecting, users: 0, value: 0, partial_frame, unsent }
    }

    /// Writes and reads as far as the connection is ready for it.
    pub fn handle_ready(&mut self, ready: &Ready, buffer: &mut ReadBuffer) -> Result<()> {
        buffer.values.clear();
        if self.stage == Stage::Connecting && !self.finish_connecting()? {
            return Ok(());
        }
        if ready.is_writable() && !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
        }
        if ready.is_readable() || ready.is_read_closed() || ready.is_error() {
            self.read(ready, buffer)?;
        }
        Ok(())
    }

    /// Sends bytes. Bytes that the kernel does not accept now are sent later.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    return self.end(&format!("a connection to the server failed: {error}"));
                }
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends a close frame with code 1000.
    pub fn close(&mut self) {
        if self.stage >= Stage::AwaitingUsers && self.stage < Stage::Closing {
            self.stage = Stage::Closing;
            let mut close_frame = Vec::new();
            frame::write(&mut close_frame, CLOSE, &1000_u16.to_be_bytes());
            // Ignore an error, because a connection that fails has ended, too.
            _ = self.send(&close_frame);
        } else if self.stage < Stage::AwaitingUsers {
            self.stage = Stage::Closed;
        }
    }

    /// Sends the opening handshake if the TCP handshake is complete. Returns `false` if it is not.
    fn finish_connecting(&mut self) -> Result<bool> {
        let target = &self.target;
        if let Some(error) = self.stream.take_error().unwrap_or_else(Some) {
            return Err(target.connect_error(&error));
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(target.connect_error(&error)),
        }
        self.stream.set_nodelay(true).map_err(|error| target.connect_error(&error))?;
        let key = generate_key();
        let request = target.request(&key);
        self.stage = Stage::Upgrading(key);
        self.send(request.as_bytes())?;
        Ok(true)
    }

    fn read(&mut self, ready: &Ready, buffer: &mut ReadBuffer) -> Result<()> {
        while self.stage < Stage::Closed {
            let partial_length = self.partial_frame.len();
            let (partial, room) =
                buffer.bytes.split_at_mut_checked(partial_length).unwrap_or_default();
            partial.copy_from_slice(&self.partial_frame);
            let room_length = room.len();
            let n = match self.stream.read(room) {
                Ok(0) => return self.end("the server closed a connection without a close frame"),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    return self.end(&format!("a connection to the server failed: {error}"));
                }
            };
            buffer.received_at = clock::now();
            self.partial_frame.clear();
            let mut bytes = buffer.bytes.get(..partial_length + n).unwrap_or_default();
            if let Stage::Upgrading(key) = &self.stage
                && let Some(length) = self.target.check_response(bytes, key)?
            {
                self.stage = Stage::AwaitingUsers;
                bytes = bytes.get(length..).unwrap_or_default();
            }
            if self.stage >= Stage::AwaitingUsers {
                self.take_frames(&mut bytes, &mut buffer.values)?;
            }
            self.partial_frame.extend_from_slice(bytes);
            // A read that does not fill the buffer has emptied the socket, so we need no second
            // read. But Windows reports more data only after a read that would block.
            if n < room_length && cfg!(unix) && !ready.is_read_closed() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes all complete frames from the front of `bytes`, and handles them.
    fn take_frames(&mut self, bytes: &mut &[u8], values: &mut Vec<i64>) -> Result<()> {
        loop {
            match frame::take_next(bytes) {
                Ok(Some(Frame::Text(text))) => match (frame::parse_event(text), &self.stage) {
                    (_, Stage::Closing) => {}
                    (Some(Event::State { value }), Stage::Open) => {
                        self.value = value;
                        values.push(value);
                    }
                    (Some(Event::Users { count }), Stage::Open) => self.users = count,
                    (Some(Event::Users { count }), Stage::AwaitingUsers) => {
                        self.users = count;
                        self.stage = Stage::AwaitingState;
                    }
                    (Some(Event::State { value }), Stage::AwaitingState) => {
                        self.value = value;
                        self.stage = Stage::Open;
                    }
                    (Some(Event::Error { message }), Stage::Open) => {
                        return Err(
                            format!("the server refused a click: {}", printable(&message)).into()
                        );
                    }
                    _ => {
                        let text: String = String::from_utf8_lossy(text).chars().take(60).collect();
                        return Err(self
                            .target
                            .not_a_counter_error(&format!("it sent {:?}", text)));
                    }
                },
                Ok(Some(Frame::Ping(payload))) => {
                    let mut pong = Vec::new();
                    frame::write(&mut pong, PONG, payload);
                    self.send(&pong)?;
                }
                Ok(Some(Frame::Pong)) => {}
                Ok(Some(Frame::Close(code))) => {
                    let code = code.map_or("no code".into(), |code| format!("code {code}"));
                    return self.end(&format!("the server closed a connection with {code}"));
                }
                Ok(None) => return Ok(()),
                Err(_) if self.stage >= Stage::Closing => return Ok(()),
                Err(reason) => return Err(self.target.not_a_counter_error(reason)),
            }
        }
    }

    /// Notes that the connection has ended. This is an error unless we have sent our close frame.
    fn end(&mut self, reason: &str) -> Result<()> {
        let is_expected = self.stage >= Stage::Closing;
        self.stage = Stage::Closed;
        if is_expected {
            return Ok(());
        }
        Err(format!("{reason}; check the server's log").into())
    }
}
