//! The command line. Flags that Python `websockets` knows have its names and defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use hyper::header::{HeaderName, HeaderValue};

/// Talks with a WebSocket server: a line that you type is a text message, and what the server
/// sends is printed after "<".
///
/// At a terminal, Ctrl-D or Ctrl-C closes the connection. In a pipe, the connection is closed once
/// the input has ended and the server has been silent for a while (--wait).
#[derive(Debug, Parser)]
#[command(name = "talk", after_help = EXAMPLES)]
pub struct Flags {
    /// The server, for example ws://localhost:6789
    pub url: String,

    /// A header for the handshake, for example 'Cookie: session=1'; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    #[arg(long, value_parser = value, help = ORIGIN_HELP)]
    pub origin: Option<HeaderValue>,

    /// Ask for this subprotocol; may be repeated, the one you like best first
    #[arg(long = "subprotocol", value_name = "NAME", value_parser = token)]
    pub subprotocols: Vec<String>,

    /// Trust only the certificates in this PEM file [default: the authorities of this system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Do not check the server's certificate: anyone on the way can read and change what is said
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,

    /// Seconds between keepalive pings; 0 sends none
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub ping_interval: Duration,

    /// The longest message to take, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub max_size: usize,

    /// Connect again, after a growing pause, whenever it fails or the server closes it
    #[arg(long)]
    pub reconnect: bool,

    /// In a pipe: how many seconds of silence end the conversation after the input's end
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub wait: Duration,

    /// Print the time (UTC) before each line, and the latency of the last ping at the end
    #[arg(long)]
    pub time: bool,
}

/// A doc comment would have to mark the URL as one, for rustdoc.
const ORIGIN_HELP: &str = "Call as a page of this origin would, for example https://example.com";

const EXAMPLES: &str = "\
Examples:
  talk ws://localhost:8765                        type your name, get a greeting
  printf 'Ada\\n' | talk ws://localhost:8765       the same in a script
  talk ws://localhost:6789 </dev/null             listen until 1 s of silence
  talk ws://localhost:6789 --reconnect --time     watch a server across restarts
  talk wss://localhost:8765 --ca certs/localhost.pem

On stdout are the messages; on stderr is what became of the connection. The exit status is 0 when
you closed it, or the server did with 1000 or 1001; else 1. HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and
NO_PROXY are obeyed.";

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, text) = text.split_once(':').ok_or("write it as in 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "its name has characters that no header has")?;
    Ok((name, value(text)?))
}

fn value(text: &str) -> Result<HeaderValue, String> {
    text.trim().parse().map_err(|_| "it has characters that no header has".to_owned())
}

/// What may stand between the commas of `Sec-WebSocket-Protocol` (RFC 6455, section 4.1): the
/// characters that a header's name has, too.
fn token(text: &str) -> Result<String, String> {
    match text.parse::<HeaderName>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("it has characters that no subprotocol has".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    /// Where a timer still counts, and far longer than anybody waits.
    const LONGEST: f64 = 1e9;
    match text.parse() {
        Ok(seconds @ 0.0..=LONGEST) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a number of seconds".to_owned()),
    }
}
