//! Listens on every address that a host name has.
//!
//! `localhost` is two addresses, 127.0.0.1 and ::1, and browsers try ::1 first. tokio's
//! `TcpListener::bind("localhost:…")` binds only the first that works, and then half of the
//! clients find a closed port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::{Error, Result};

/// How many connects the kernel keeps for us until we accept them. Linux' own upper limit
/// (`net.core.somaxconn`), because tokio's default of 1024 overflows when thousands connect at
/// once.
pub(super) const BACKLOG: u32 = 4096;

/// How many free ports are tried, because the port of the first address may be in use on the
/// second one.
const TRIES: usize = 16;

/// Binds every address of `address`, a `HOST:PORT`, to the same port. Port 0 picks a free one.
///
/// # Errors
///
/// One sentence, if the address is invalid, the host is unknown or the port is in use.
pub async fn bind(address: &str) -> Result<Vec<TcpListener>> {
    let addresses = resolve(address).await?;
    // Only with port 0 can another try find another port.
    let mut tries = if addresses.iter().all(|address| address.port() == 0) { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_all(&addresses) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            bound => return bound.map_err(|error| message(address, &error)),
        }
    }
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    let usage = || format!("the address {address:?} is not HOST:PORT; use one like localhost:8765");
    let (host, port) = address.rsplit_once(':').ok_or_else(usage)?;
    let port: u16 = port.parse().map_err(|_| usage())?;
    if host.is_empty() {
        return Err(usage().into());
    }
    // RFC 6761, section 6.3: localhost is always both loopback addresses, whatever the hosts
    // file says. Browsers keep to it.
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    let mut addresses = Vec::new();
    let found = lookup_host(address)
        .await
        .map_err(|_| format!("the host {host:?} is unknown; try localhost or 127.0.0.1"))?;
    for found in found {
        if !addresses.contains(&found) {
            addresses.push(found);
        }
    }
    Ok(addresses)
}

fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::<TcpListener>::new();
    let mut missing = None;
    for &(mut address) in addresses {
        if let Some(first) = listeners.first() {
            address.set_port(first.local_addr()?.port());
        }
        match bind_one(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if no_such_address(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // On Unix this lets a server start again while old connections linger in TIME_WAIT. On
    // Windows the same flag would let two servers share a port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A machine without IPv6 still has a name for ::1.
fn no_such_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        // EAFNOSUPPORT has no ErrorKind: 97 on Linux, 47 on macOS, 10047 on Windows.
        || matches!(error.raw_os_error(), Some(97 | 47 | 10047))
}

fn message(address: &str, error: &io::Error) -> Error {
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the address {address} is in use; stop the other program, or use another address, for \
             example localhost:0"
        ),
        io::ErrorKind::PermissionDenied if port.parse().is_ok_and(|port: u16| port < 1024) => {
            format!(
                "no permission to listen on {address}; ports below 1024 need root, so use a port \
                 above 1023, for example localhost:8765"
            )
        }
        // Windows reserves ranges of ports. Linux has SELinux, and a limit that can be raised.
        io::ErrorKind::PermissionDenied => format!(
            "the system has reserved port {port}; use another port, or localhost:0 for a free one"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "the address {address} is not an address of this machine; try localhost or 0.0.0.0"
        ),
        _ => format!("cannot listen on {address}: {error}; try localhost:0"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_for_a_reserved_port_does_not_name_1023() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let low = message("localhost:80", &denied).to_string();
        assert!(low.contains("use a port above 1023"), "{low}");
        let high = message("[::1]:50000", &denied).to_string();
        assert!(!high.contains("1023") && high.contains("localhost:0"), "{high}");
    }
}
