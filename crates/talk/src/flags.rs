//! The command line. Flags that Python `websockets` also has, have the same names and defaults
//! here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use websockets::tungstenite::http::{HeaderName, HeaderValue};
use websockets::{CloseWith, Compression};

/// Talks with a WebSocket server: a line that you type is a text message, and what the server
/// sends is printed after "<".
///
/// At a terminal, Ctrl-D or Ctrl-C closes the connection. In a pipe, the connection is closed once
/// the input has ended and the server has sent nothing for a while (--wait).
#[derive(Debug, Parser)]
#[command(name = "talk", after_help = EXAMPLES)]
pub struct Flags {
    /// The server, for example ws://localhost:6789 or ws+unix:/run/chat.sock
    pub url: String,

    /// A header for the handshake, for example 'Cookie: session=1'; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// Send this token, as "Authorization: Bearer TOKEN"
    #[arg(long, value_name = "TOKEN", value_parser = bearer)]
    pub token: Option<HeaderValue>,

    #[arg(long, value_parser = value, help = ORIGIN_HELP)]
    pub origin: Option<HeaderValue>,

    /// Ask for this subprotocol; may be repeated, the one you like best first
    #[arg(long = "subprotocol", value_name = "NAME", value_parser = subprotocol)]
    pub subprotocols: Vec<String>,

    /// Trust only the certificates in this PEM file [default: the certificate authorities of this
    /// system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Do not check the server's certificate; anyone on the network path can read and change the
    /// messages
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,

    /// Present the certificate in this PEM file to a server that asks for one
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// The key of --cert [default: the key in the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// Seconds between keepalive pings; 0 sends none [default with --ping: 1]
    #[arg(
        long, value_name = "SECONDS", value_parser = seconds,
        default_value = "20", default_value_if("ping", "true", "1")
    )]
    pub ping_interval: Duration,

    /// Print the round-trip time of each keepalive ping
    #[arg(long)]
    pub ping: bool,

    /// Longest message to accept, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub max_size: usize,

    /// Offer to compress messages with permessage-deflate, as browsers do
    #[arg(
        long,
        value_enum,
        default_value = "deflate",
        hide_possible_values = true,
        value_name = "deflate|none"
    )]
    pub compression: Compression,

    /// Connect again, after a growing pause, whenever the connection fails or the server closes it;
    /// lines that were not sent are sent then
    #[arg(long)]
    pub reconnect: bool,

    /// In a pipe: after the end of the input, close when the server has sent nothing for this many
    /// seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub wait: Duration,

    /// If stdout is not a terminal: print each message as it is, without "<" and escapes, for example
    /// for jq. Only a text message ends with the delimiter
    #[arg(long)]
    pub raw: bool,

    /// The end of a message in a piped input, and in the output of --raw; with "none", the whole
    /// input is one message, unless it is empty
    #[arg(long, value_name = "END", value_enum, default_value_t)]
    pub delimiter: Delimiter,

    /// Send binary messages instead of text
    #[arg(long)]
    pub binary: bool,

    /// The code and the reason of the close frame that talk sends; a reason is cut after 123 bytes
    #[arg(long, value_name = "CODE[:REASON]", default_value = "1000", value_parser = close)]
    pub close: CloseWith,

    /// Print the time (UTC) before each line, and the latency of the last ping at the end
    #[arg(long)]
    pub time: bool,
}

/// The end of a message in the input and in the output of `--raw`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Delimiter {
    #[default]
    Newline,
    Nul,
    None,
}

impl Delimiter {
    /// `None` if nothing ends a message.
    pub fn byte(self) -> Option<u8> {
        match self {
            Self::Newline => Some(b'\n'),
            Self::Nul => Some(0),
            Self::None => None,
        }
    }
}

/// This is not a doc comment, because rustdoc would want the URL to be a link.
const ORIGIN_HELP: &str =
    "Send this Origin, as a page of it would, for example https://example.com";

const EXAMPLES: &str = "\
Examples:
  talk ws://localhost:8765                        type your name, get a greeting
  printf 'Ada\\n' | talk ws://localhost:8765       the same in a script
  talk ws://localhost:6789 </dev/null             listen until 1 s of silence
  talk ws://localhost:6789 --reconnect --time     watch a server across restarts
  talk ws://localhost:6789 --raw </dev/null | jq  messages as they are, one per line
  talk ws://localhost:6789 --delimiter none <a.json          a file as one message
  talk wss://localhost:8765 --ca certs/localhost.pem
  talk ws+unix:/run/chat.sock:/rooms/tea          a Unix socket, and the path of the request

talk prints the messages on stdout, and the status of the connection on stderr. The exit status is
0 if you closed the connection, or if the server closed it with 1000 or 1001. Otherwise it is 1.
talk uses the proxies in HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.";

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, text) = text.split_once(':').ok_or("no colon; write it like 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "invalid header name")?;
    Ok((name, value(text)?))
}

fn value(text: &str) -> Result<HeaderValue, String> {
    text.trim().parse().map_err(|_| "invalid header value".to_owned())
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let mut value = value(&format!("Bearer {token}"))?;
    // Then no log shows it.
    value.set_sensitive(true);
    Ok(value)
}

/// Parses the name of a subprotocol. It may have the same characters as the name of a header (RFC
/// 6455, section 4.1).
fn subprotocol(text: &str) -> Result<String, String> {
    match text.parse::<HeaderName>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("invalid subprotocol name".to_owned()),
    }
}

fn close(text: &str) -> Result<CloseWith, String> {
    let (code, reason) = text.split_once(':').unwrap_or((text, ""));
    match code.parse() {
        // The other codes mean that a server or a library has failed.
        Ok(code @ (1000 | 1001 | 3000..=4999)) => {
            Ok(CloseWith::new(u16::into(code), reason.to_owned()))
        }
        _ => Err("give 1000, 1001, or a code from 3000 to 4999".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    /// About 32 years. A timer still works with it.
    const MAX_SECONDS: f64 = 1e9;
    match text.parse() {
        Ok(seconds @ 0.0..=MAX_SECONDS) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a number of seconds".to_owned()),
    }
}
