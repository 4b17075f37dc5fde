//! Tries all addresses of a host, each with a head start (RFC 8305, "Happy Eyeballs").

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

use crate::socket::limit_unsent;

/// The time until the next address is tried, too (RFC 8305, section 8, "Connection Attempt Delay").
/// A dead IPv6 address costs only this time, and not a whole timeout.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address of `host` that answers.
///
/// # Errors
///
/// The error of the name lookup, or of the last address that failed.
pub(super) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = alternating(lookup_host((host, port)).await?.collect());
    let stream = race(addresses, TcpStream::connect).await?;
    stream.set_nodelay(true)?;
    limit_unsent(&stream);
    Ok(stream)
}

/// Keeps the system's order, but alternates the families (RFC 8305, section 4), so that a family
/// without a network costs one head start.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut order = Vec::new();
    while first.len() + other.len() > 0 {
        order.extend(first.next());
        order.extend(other.next());
    }
    order
}

async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut fault = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        tries.extend(waiting.next().map(&connect));
        tokio::select! {
            tried = tries.next() => match tried {
                Some(Ok(connection)) => return Ok(connection),
                // Try the next address immediately.
                Some(Err(error)) => fault = error,
                None => return Err(fault),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    fn addresses(text: &[&str]) -> Vec<SocketAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns() {
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let order = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        assert_eq!(alternating(mixed), order);
    }

    #[tokio::test(start_paused = true)]
    async fn only_silent_addresses_cost_a_delay() {
        let began = Instant::now();
        let connected = race(addresses(&["[::1]:1", "1.1.1.1:2", "[::1]:3"]), async |address| {
            match address.port() {
                1 => pending().await,
                2 => Err(io::ErrorKind::ConnectionRefused.into()),
                port => Ok(port),
            }
        });
        assert_eq!(connected.await.unwrap(), 3);
        assert_eq!(began.elapsed(), HEAD_START);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_wins_when_others_fail() {
        let connected = race(addresses(&["1.1.1.1:1", "1.1.1.1:2"]), async |address| {
            sleep(Duration::from_secs(u64::from(address.port()))).await;
            if address.port() == 1 { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
        });
        connected.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn when_every_address_fails_so_does_the_whole() {
        let refused = async |_| Err::<(), _>(io::ErrorKind::ConnectionRefused.into());
        let error = race(addresses(&["1.1.1.1:1", "[::1]:2"]), refused).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
