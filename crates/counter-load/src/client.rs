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

/// How much is read at once: thousands of frames, so that one read empties a socket.
const BUFFER: usize = 256 << 10;

/// One client.
pub struct Client {
    /// Where it connects.
    pub target: Arc<Target>,
    /// For the poll.
    pub stream: TcpStream,
    /// How far it is.
    pub stage: Stage,
    /// How many users it was told there are.
    pub users: u64,
    /// The newest value that it was told.
    pub value: i64,
    /// What came of a frame that has not all come yet.
    rest: Vec<u8>,
    /// What the kernel would not take yet.
    unsent: Vec<u8>,
}

/// How far a client is, in this order.
#[derive(PartialEq, PartialOrd)]
pub enum Stage {
    /// TCP.
    Connecting,
    /// The opening handshake, with its key.
    Upgrading(String),
    /// Before `users`.
    Upgraded,
    /// Before `state`.
    Counted,
    /// It has both.
    Open,
    /// Our close frame is on its way.
    Closing,
    /// The connection has ended.
    Closed,
}

/// What one client reads. All clients use the same one, one at a time.
pub struct Inbox {
    /// The values that it was told since it was open, in order.
    pub values: Vec<i64>,
    /// When the last of them came.
    pub at: u64,
    buffer: Vec<u8>,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        Self { values: Vec::new(), at: 0, buffer: vec![0; BUFFER] }
    }
}

impl Client {
    /// A connection that is being made.
    pub fn new(target: Arc<Target>, stream: TcpStream) -> Self {
        let (rest, unsent) = (Vec::new(), Vec::new());
        Self { target, stream, stage: Stage::Connecting, users: 0, value: 0, rest, unsent }
    }

    /// Does what the connection is ready for.
    pub fn ready(&mut self, ready: &Ready, inbox: &mut Inbox) -> Result<()> {
        inbox.values.clear();
        if self.stage == Stage::Connecting && !self.connected()? {
            return Ok(());
        }
        if ready.is_writable() && !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
        }
        if ready.is_readable() || ready.is_read_closed() || ready.is_error() {
            self.read(ready, inbox)?;
        }
        Ok(())
    }

    /// Sends bytes, now or when there is room for them.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return self.ended(&format!("it failed: {error}")),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Says goodbye with 1000.
    pub fn close(&mut self) {
        if self.stage >= Stage::Upgraded && self.stage < Stage::Closing {
            self.stage = Stage::Closing;
            let mut goodbye = Vec::new();
            frame::write(&mut goodbye, CLOSE, &1000_u16.to_be_bytes());
            // A connection that fails now has ended, and that is all we want.
            _ = self.send(&goodbye);
        } else if self.stage < Stage::Upgraded {
            self.stage = Stage::Closed;
        }
    }

    /// Sends the opening handshake as soon as TCP's is done.
    fn connected(&mut self) -> Result<bool> {
        let target = &self.target;
        if let Some(error) = self.stream.take_error().unwrap_or_else(Some) {
            return Err(target.explain(&error));
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(target.explain(&error)),
        }
        self.stream.set_nodelay(true).map_err(|error| target.explain(&error))?;
        let key = generate_key();
        let request = target.request(&key);
        self.stage = Stage::Upgrading(key);
        self.send(request.as_bytes())?;
        Ok(true)
    }

    fn read(&mut self, ready: &Ready, inbox: &mut Inbox) -> Result<()> {
        while self.stage < Stage::Closed {
            let (rest, room) =
                inbox.buffer.split_at_mut_checked(self.rest.len()).unwrap_or_default();
            rest.copy_from_slice(&self.rest);
            let (kept, full) = (rest.len(), room.len());
            let n = match self.stream.read(room) {
                Ok(0) => return self.ended("it said no goodbye"),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return self.ended(&format!("it failed: {error}")),
            };
            inbox.at = clock::now();
            self.rest.clear();
            let mut bytes = inbox.buffer.get(..kept + n).unwrap_or_default();
            if let Stage::Upgrading(key) = &self.stage
                && let Some(length) = self.target.check_answer(bytes, key)?
            {
                self.stage = Stage::Upgraded;
                bytes = bytes.get(length..).unwrap_or_default();
            }
            if self.stage >= Stage::Upgraded {
                self.take(&mut bytes, &mut inbox.values)?;
            }
            self.rest.extend_from_slice(bytes);
            // What filled less than the buffer has emptied the socket: no second read to hear so.
            // Windows tells of more only after a read that was refused.
            if n < full && cfg!(unix) && !ready.is_read_closed() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes all whole frames off `bytes`.
    fn take(&mut self, bytes: &mut &[u8], values: &mut Vec<i64>) -> Result<()> {
        loop {
            match frame::next(bytes) {
                Ok(Some(Frame::Text(text))) => match (frame::event(text), &self.stage) {
                    (_, Stage::Closing) => {}
                    (Some(Event::State { value }), Stage::Open) => {
                        self.value = value;
                        values.push(value);
                    }
                    (Some(Event::Users { count }), Stage::Open) => self.users = count,
                    (Some(Event::Users { count }), Stage::Upgraded) => {
                        self.users = count;
                        self.stage = Stage::Counted;
                    }
                    (Some(Event::State { value }), Stage::Counted) => {
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
                        return Err(self.target.no_counter(&format!("it said {:?}", text)));
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
                    return self.ended(&format!("it closed with {code}"));
                }
                Ok(None) => return Ok(()),
                Err(_) if self.stage >= Stage::Closing => return Ok(()),
                Err(why) => return Err(self.target.no_counter(why)),
            }
        }
    }

    /// The connection has ended: as it should when we said goodbye, or else the run is over.
    fn ended(&mut self, how: &str) -> Result<()> {
        let expected = self.stage >= Stage::Closing;
        self.stage = Stage::Closed;
        if expected {
            return Ok(());
        }
        Err(format!("the server dropped a connection: {how}; its log may say why").into())
    }
}
