//! One connection, from the TCP handshake to the close frame.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use common::Result;
use common::events::Event;
use common::text::printable;
use mio::net::TcpStream;
use tungstenite::handshake::client::generate_key;

use crate::frame::{self, CLOSE, PING, PONG, TEXT};
use crate::target::Target;

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
    /// The newest user count. `None` before the first `users` event.
    pub users: Option<usize>,
    /// The newest value. `None` before the first `state` event, which follows `users`.
    pub value: Option<i64>,
    /// The beginning of a frame whose end has not arrived yet.
    partial_frame: Vec<u8>,
    /// Bytes that the kernel has not accepted yet.
    unsent: Vec<u8>,
}

/// The stages of a connection, in this order.
#[derive(PartialEq, PartialOrd)]
pub enum Stage {
    /// The TCP handshake, or the opening handshake with this key, is under way.
    Opening(String),
    /// The WebSocket is open.
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
    pub received_at: Instant,
    bytes: Vec<u8>,
}

impl ReadBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { values: Vec::new(), received_at: Instant::now(), bytes: vec![0; READ_SIZE] }
    }
}

impl Client {
    /// A client whose TCP connection is being opened.
    pub fn new(target: Arc<Target>, stream: TcpStream) -> Self {
        let key = generate_key();
        let (unsent, partial_frame) = (target.request(&key).into(), Vec::new());
        let stage = Stage::Opening(key);
        Self { target, stream, stage, users: None, value: None, partial_frame, unsent }
    }

    /// Writes and reads as far as the connection is ready for it. `is_at_end` means that the server
    /// has sent its last byte.
    pub fn handle_ready(&mut self, is_at_end: bool, buffer: &mut ReadBuffer) -> Result<()> {
        buffer.values.clear();
        // As long as the request is unsent, an error is one of the TCP handshake.
        if self.stage < Stage::Open
            && !self.unsent.is_empty()
            && let Some(error) = self.stream.take_error().unwrap_or_else(Some)
        {
            return Err(self.target.connect_error(&error));
        }
        self.send(&[])?;
        self.read(is_at_end, buffer)
    }

    /// Sends bytes, after those that are still unsent. Bytes that the kernel does not accept now
    /// are sent later.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.unsent.extend_from_slice(bytes);
        while !self.unsent.is_empty() {
            let written = self.stream.write(&self.unsent);
            let Some(n) = self.check(written)? else { break };
            self.unsent.drain(..n);
        }
        Ok(())
    }

    /// Sends a close frame with code 1000.
    pub fn close(&mut self) {
        if self.stage < Stage::Open {
            self.stage = Stage::Closed;
        } else if self.stage == Stage::Open {
            self.stage = Stage::Closing;
            // Ignore an error, because a connection that fails has ended, too.
            _ = self.send(&frame::encode(CLOSE, &1000_u16.to_be_bytes()));
        }
    }

    fn read(&mut self, is_at_end: bool, buffer: &mut ReadBuffer) -> Result<()> {
        while self.stage < Stage::Closed {
            let start = self.partial_frame.len();
            let (partial, room) = buffer.bytes.split_at_mut_checked(start).unwrap_or_default();
            partial.copy_from_slice(&self.partial_frame);
            let read = self.stream.read(room);
            let is_full = read.as_ref().is_ok_and(|n| *n == room.len());
            let Some(n) = self.check(read)? else { return Ok(()) };
            if n == 0 {
                return self.end("the server closed a connection without a close frame");
            }
            buffer.received_at = Instant::now();
            self.partial_frame.clear();
            let mut bytes = buffer.bytes.get(..start + n).unwrap_or_default();
            if let Stage::Opening(key) = &self.stage
                && let Some(length) = self.target.check_response(bytes, key)?
            {
                self.stage = Stage::Open;
                // Ignore an error, because the next read or write has the same one.
                _ = self.stream.set_nodelay(true);
                bytes = bytes.get(length..).unwrap_or_default();
            }
            if self.stage >= Stage::Open {
                self.take_frames(&mut bytes, &mut buffer.values)?;
            }
            self.partial_frame.extend_from_slice(bytes);
            // A read that does not fill the buffer has emptied the socket, so we need no second
            // read. But Windows reports more data only after a read that would block.
            if cfg!(unix) && !is_full && !is_at_end {
                break;
            }
        }
        Ok(())
    }

    /// Removes all complete frames from the front of `bytes`, and handles them.
    fn take_frames(&mut self, bytes: &mut &[u8], values: &mut Vec<i64>) -> Result<()> {
        loop {
            match frame::take_next(bytes) {
                Ok(Some((TEXT, text))) if self.stage == Stage::Open => {
                    self.take_event(text, values)?;
                }
                Ok(Some((PING, payload))) => self.send(&frame::encode(PONG, payload))?,
                Ok(Some((CLOSE, payload))) => {
                    let code = match payload.first_chunk() {
                        Some(code) => format!("code {}", u16::from_be_bytes(*code)),
                        None => "no code".into(),
                    };
                    return self.end(&format!("the server closed a connection with {code}"));
                }
                // Ignore a pong, and events after our close frame.
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(_) if self.stage >= Stage::Closing => return Ok(()),
                Err(reason) => return Err(self.target.not_a_counter_error(reason)),
            }
        }
    }

    fn take_event(&mut self, text: &[u8], values: &mut Vec<i64>) -> Result<()> {
        let is_greeted = self.value.is_some();
        match frame::parse_event(text) {
            Some(Event::State { value }) if self.users.is_some() => {
                self.value = Some(value);
                // The first value is not the value of a click.
                values.extend(is_greeted.then_some(value));
            }
            Some(Event::Users { count }) if self.users.is_none() || is_greeted => {
                self.users = Some(count);
            }
            Some(Event::Error { message }) if is_greeted => {
                return Err(format!("the server refused a click: {}", printable(&message)).into());
            }
            _ => {
                let text = format!("{:.60}", String::from_utf8_lossy(text));
                return Err(self.target.not_a_counter_error(&format!("it sent {text:?}")));
            }
        }
        Ok(())
    }

    /// The number of bytes that were read or written. `None` if the connection is not ready.
    fn check(&mut self, result: io::Result<usize>) -> Result<Option<usize>> {
        match result {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            // macOS has an error of its own for a TCP handshake that is under way.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(None),
            Err(error) => {
                self.end(&format!("a connection to the server failed: {error}"))?;
                Ok(None)
            }
        }
    }

    /// Notes that the connection has ended. This is an error unless we have sent our close frame.
    fn end(&mut self, reason: &str) -> Result<()> {
        let is_expected = self.stage >= Stage::Closing;
        self.stage = Stage::Closed;
        match is_expected {
            true => Ok(()),
            false => Err(format!("{reason}; check the server's log").into()),
        }
    }
}
