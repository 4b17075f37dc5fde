//! The command line that all servers share, with Python `websockets`' names and defaults.

use std::time::Duration;

use clap::Parser;

use crate::socket::Pings;

/// The longest time that a flag takes, in seconds: a year. Far longer ones overflow the clock.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// What every server can be told. The timeouts, the pings and `max_size` have the names and the
/// defaults of Python `websockets`' `serve()`.
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

    /// Seconds to wait for the peer's close frame, and for all peers' at shutdown
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, allow_negative_numbers = true)]
    pub close_timeout: Duration,

    /// The largest message that is read, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub max_size: usize,

    /// Let in only this origin; repeat it for more; "" stands for a client that is no browser
    /// [default: pages from this machine, files, and clients that are no browser]
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,

    /// How many connections may be open at once
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_connections: usize,
}

impl Default for Flags {
    /// `localhost:8765`, and the defaults of the command line.
    fn default() -> Self {
        Self {
            address: "localhost:8765".to_owned(),
            open_timeout: Duration::from_secs(10),
            ping_interval: Pings::default().interval,
            ping_timeout: Pings::default().timeout,
            close_timeout: Duration::from_secs(10),
            max_size: 1 << 20,
            allow_origin: Vec::new(),
            max_connections: 10_000,
        }
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

/// [`Flags::parse_or`] for a demo with flags of its own, which `#[command(flatten)]`s [`Flags`].
pub fn parse_or<P: Parser>(default_address: &'static str) -> P {
    let command = P::command()
        .about(None::<&str>)
        .mut_arg("address", |arg| arg.required(false).default_value(default_address));
    match P::from_arg_matches(&command.get_matches()) {
        Ok(flags) => flags,
        Err(error) => error.exit(),
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Flags;

    #[test]
    fn the_default_flags_are_those_of_an_empty_command_line() {
        assert_eq!(Flags::parse_from(["server", "localhost:8765"]), Flags::default());
    }
}
