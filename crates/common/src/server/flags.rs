//! The command line that all servers share, with Python `websockets`' names and defaults.

use std::net::IpAddr;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::origin;
use crate::socket::Pings;

/// The longest time that a flag takes, in seconds: a year. Far longer ones overflow the clock.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// The largest message that can be allowed, in bytes: 1 GiB. What is larger is a file, and a few
/// of them at once would be more than a machine holds.
const LARGEST: usize = 1 << 30;

/// What every server can be told. The timeouts, the pings and `max_size` have the names and the
/// defaults of Python `websockets`' `serve()`. A program that has no command line says
/// `Flags { address: …, ..Flags::default() }`, and still compiles when another flag comes.
#[derive(Clone, Debug, Parser, PartialEq)]
pub struct Flags {
    /// Where to listen, as HOST:PORT; port 0 picks a free one
    pub address: String,

    /// Seconds that a peer has for TLS and the opening handshake
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive, allow_negative_numbers = true)]
    pub open_timeout: Duration,

    /// Seconds between keepalive pings; 0 turns them off
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, allow_negative_numbers = true)]
    pub ping_interval: Duration,

    /// Seconds to wait for a pong before the peer is given up; 0 waits for ever
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, allow_negative_numbers = true)]
    pub ping_timeout: Duration,

    /// Seconds to wait for the peer's close frame, and at a stop for all peers', 6 at most
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, allow_negative_numbers = true)]
    pub close_timeout: Duration,

    /// The largest message that is read, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = size)]
    pub max_size: usize,

    /// Let in only this origin; repeat it for more; "" stands for a client that is no browser
    /// [default: pages of this machine and of this server, and clients that are no browser]
    #[arg(long, value_name = "ORIGIN", value_parser = origin::parse)]
    pub allow_origin: Vec<String>,

    /// How many connections may be open at once
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_connections: usize,

    /// How many of them from one address (of IPv6: its /64); 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_connections_per_address: usize,

    /// A proxy whose X-Forwarded-For says who calls; repeat it for more [default: none]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub trusted_proxy: Vec<IpAddr>,
}

impl Default for Flags {
    /// `localhost:8765`, and the defaults of the command line.
    fn default() -> Self {
        Self::parse_from(["server", "localhost:8765"])
    }
}

impl Flags {
    /// Reads the command line; ends the program with a usage message where it makes no sense.
    pub fn parse_or(default_address: &'static str) -> Self {
        parse_or(default_address)
    }

    /// The host of `address`, without the port.
    pub fn host(&self) -> &str {
        self.address.rsplit_once(':').map_or("", |(host, _port)| host)
    }

    /// When to ping, and when to give up.
    pub fn pings(&self) -> Pings {
        Pings { interval: self.ping_interval, timeout: self.ping_timeout }
    }
}

/// [`Flags::parse_or`] for a program with flags of its own, which `#[command(flatten)]`s [`Flags`].
///
/// ```
/// use common::{Flags, Server, server::flags};
///
/// #[derive(clap::Parser)]
/// struct Args {
///     #[command(flatten)]
///     flags: Flags,
///     /// The language to greet in
///     #[arg(long, default_value = "en")]
///     language: String,
/// }
///
/// # fn main() {
/// let Args { flags, language } = flags::parse_or("localhost:8765");
/// let server = Server::new(flags);
/// # }
/// ```
pub fn parse_or<P: Parser>(default_address: &'static str) -> P {
    let mut command = P::command();
    // The words on `Flags` are for who reads its code; a program's own stay.
    if command.get_about() == Flags::command().get_about() {
        command = command.about(None::<&str>);
    }
    let command = command
        // Narrower, and the longest flag would push every explanation to a line of its own.
        .term_width(120)
        .mut_arg("address", |arg| arg.required(false).default_value(default_address));
    match P::from_arg_matches(&command.get_matches()) {
        Ok(flags) => flags,
        Err(error) => error.exit(),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "give an address, for example 127.0.0.1 or ::1".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give seconds, for example 20 or 0.5")?;
    if !(0.0..=LONGEST).contains(&seconds) {
        return Err("give seconds from 0 to a year".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads a number of seconds that is not zero.
///
/// # Errors
///
/// A sentence for who gave it.
pub fn positive(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("give more than 0 seconds".into()),
        duration => Ok(duration),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 0..=LARGEST) => Ok(size),
        _ => Err(format!("give a number of bytes from 0 to {LARGEST}, which is 1 GiB")),
    }
}
