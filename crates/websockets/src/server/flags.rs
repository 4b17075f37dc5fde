//! The command line that all servers share, with the names and the defaults of Python `websockets`.

use std::net::IpAddr;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use ipnet::IpNet;

use super::origin;
use crate::deflate::Compression;
use crate::socket::{LONGEST, Options};

/// The largest value of `--max-size`, in bytes: 1 GiB. Anything larger is a file, and a few such
/// messages at once would exceed the memory of a machine.
const LARGEST: usize = 1 << 30;

/// The settings of a server. The timeouts, the pings and `max_size` have the names and the defaults
/// of Python `websockets`' `serve()`.
///
/// A program without a command line uses `Flags { address: …, ..Flags::default() }`, which still
/// compiles when a flag is added.
#[derive(Clone, Debug, Parser, PartialEq)]
pub struct Flags {
    /// Where to listen, as HOST:PORT or unix:PATH; port 0 picks a free one
    pub address: String,

    /// Seconds that a client has for TLS and the opening handshake
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive, allow_negative_numbers = true)]
    pub open_timeout: Duration,

    /// Seconds between keepalive pings; 0 turns them off
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, allow_negative_numbers = true)]
    pub ping_interval: Duration,

    /// Seconds to wait for a pong before the client is disconnected; 0 waits forever
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, allow_negative_numbers = true)]
    pub ping_timeout: Duration,

    /// Seconds to wait for a client's close frame, and for handlers at a shutdown (6 at most)
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, allow_negative_numbers = true)]
    pub close_timeout: Duration,

    /// The largest message that is accepted, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = size)]
    pub max_size: usize,

    /// Compress messages for clients that offer permessage-deflate: deflate or none
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "MODE")]
    pub compression: Compression,

    /// Allow only this origin; may be repeated; "" allows clients that send no Origin
    /// [default: pages of this server, pages of this machine unless the server trusts cookies, and
    /// clients that send no Origin]
    #[arg(long, value_name = "ORIGIN", value_parser = origin::parse)]
    pub allow_origin: Vec<String>,

    /// The largest number of open connections
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_connections: usize,

    /// The largest number from one address (for IPv6, from one /64); 0 means no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_connections_per_address: usize,

    /// Trust X-Forwarded-For from this proxy or network; may be repeated [default: none]
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    pub trusted_proxy: Vec<IpNet>,
}

impl Default for Flags {
    /// The address `localhost:8765`, and the defaults of the command line.
    fn default() -> Self {
        Self::parse_from(["server", "localhost:8765"])
    }
}

impl Flags {
    /// Reads the command line. If it is invalid, prints a usage message and ends the program.
    pub fn parse_with_default_address(address: &'static str) -> Self {
        parse_with_default_address(address)
    }

    /// The host of `address`, without the port. It is empty if the address is a Unix socket.
    pub fn host(&self) -> &str {
        let tcp = Some(&self.address).filter(|address| !address.starts_with("unix:"));
        tcp.and_then(|address| address.rsplit_once(':')).map_or("", |(host, _port)| host)
    }

    /// The settings of each socket.
    pub(crate) fn options(&self) -> Options {
        let Self { ping_interval, ping_timeout, max_size, .. } = *self;
        Options { ping_interval, ping_timeout, max_size }
    }
}

/// [`Flags::parse_with_default_address`] for a program with flags of its own, which
/// `#[command(flatten)]`s [`Flags`].
///
/// ```
/// use websockets::{Flags, Server, flags};
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
/// let Args { flags, language } = flags::parse_with_default_address("localhost:8765");
/// let server = Server::new(flags);
/// # }
/// ```
pub fn parse_with_default_address<P: Parser>(address: &'static str) -> P {
    let mut command = P::command();
    // The documentation of `Flags` is for readers of its code. A program's own stays.
    if command.get_about() == Flags::command().get_about() {
        command = command.about(None::<&str>).long_about(None::<&str>);
    }
    let command = command
        // Narrower, and the longest flag would push every explanation to a line of its own.
        .term_width(120)
        .mut_arg("address", |arg| arg.required(false).default_value(address));
    match P::from_arg_matches(&command.get_matches()) {
        Ok(flags) => flags,
        Err(error) => error.exit(),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse().map(|address: IpAddr| address.to_canonical().into());
    address.or_else(|_| text.parse()).map_err(|_| {
        "use an IP address or a network, for example 127.0.0.1, ::1 or 10.0.0.0/8".to_owned()
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 =
        text.parse().map_err(|_| "use a number of seconds, for example 20 or 0.5")?;
    if !(0.0..=LONGEST.as_secs_f64()).contains(&seconds) {
        return Err("use a number of seconds from 0 to a year".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads a number of seconds that is not zero.
///
/// # Errors
///
/// One sentence for the user.
pub fn positive(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("use more than 0 seconds".into()),
        duration => Ok(duration),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 0..=LARGEST) => Ok(size),
        _ => Err(format!("use a number of bytes from 0 to {LARGEST}, which is 1 GiB")),
    }
}
