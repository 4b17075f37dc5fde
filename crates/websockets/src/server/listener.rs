//! A socket on which a server accepts connections: TCP or Unix.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::{
    fs::{self, Permissions},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::PathBuf,
};

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio_util::either::Either;

use super::listen;
use crate::Result;
use crate::socket::Stream;

pub(super) enum Listener {
    Tcp(TcpListener),
    /// The file, with its inode, is removed when this is dropped. A socket that systemd passed has
    /// none.
    #[cfg(unix)]
    Unix(UnixListener, Option<(PathBuf, u64)>),
}

impl Listener {
    /// The sockets that systemd passes in `LISTEN_FDS`.
    ///
    /// # Errors
    ///
    /// One sentence, if one of them is neither TCP nor Unix.
    #[cfg(unix)]
    pub(super) fn inherited() -> Result<Vec<Self>> {
        let mut passed = listenfd::ListenFd::from_env();
        let count = passed.len();
        let take = |index| {
            if let Ok(Some(listener)) = passed.take_unix_listener(index) {
                listener.set_nonblocking(true)?;
                return Ok(Self::Unix(UnixListener::from_std(listener)?, None));
            }
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            let listener = passed.take_tcp_listener(index)?.ok_or_else(missing)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Self::Tcp)
        };
        let listeners = (0..count).map(take).collect::<io::Result<_>>();
        Ok(listeners.map_err(|error: io::Error| {
            format!("cannot use the sockets in LISTEN_FDS: {error}; use ListenStream= in systemd")
        })?)
    }

    #[cfg(not(unix))]
    pub(super) fn inherited() -> Result<Vec<Self>> {
        Ok(Vec::new())
    }

    /// Listens on `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// One sentence.
    pub(super) async fn bind(address: &str) -> Result<Vec<Self>> {
        #[cfg(unix)]
        if let Some(path) = address.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("the address unix: has no path; use one like unix:/run/a.sock".into());
            }
            let listener = bind_unix(path).await.map_err(|error| {
                let hint = match error.kind() {
                    io::ErrorKind::AddrInUse => "stop the other program, or use another path",
                    io::ErrorKind::AlreadyExists => "use another path",
                    io::ErrorKind::NotFound => "make its folder, or use another path",
                    _ => "use a path in a folder that this user can write",
                };
                format!("cannot listen on {address}: {error}; {hint}")
            })?;
            let inode = fs::symlink_metadata(path)?.ino();
            return Ok(vec![Self::Unix(listener, Some((path.into(), inode)))]);
        }
        Ok(listen::bind(address).await?.into_iter().map(Self::Tcp).collect())
    }

    /// The next connection, and the client's address, which a Unix socket does not have.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Nagle's algorithm would delay a close frame until the message before it is
                // acknowledged: 44 ms for each conversation.
                _ = stream.set_nodelay(true);
                Ok((Either::Left(stream), Some(peer)))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((crate::socket::boxed(stream), None))
            }
        }
    }

    /// The address of a TCP socket.
    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(..) => None,
        }
    }

    /// Where it listens, for the user.
    pub(super) fn url(&self, scheme: &str) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => format!("{scheme}://{}", listener.local_addr()?),
            #[cfg(unix)]
            Self::Unix(listener, _) => {
                let address = listener.local_addr()?;
                format!("unix:{}", address.as_pathname().unwrap_or("".as_ref()).display())
            }
        })
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        // The file may have been removed, and another server may have made its own.
        if let Self::Unix(_, Some((file, inode))) = self
            && fs::symlink_metadata(&*file).is_ok_and(|file| file.ino() == *inode)
        {
            _ = fs::remove_file(file);
        }
    }
}

/// Replaces the file that a server has left behind that did not end in order.
#[cfg(unix)]
async fn bind_unix(path: &str) -> io::Result<UnixListener> {
    let bind = || {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // As with a port, everyone on this machine may connect. The folder can limit that.
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
        socket.listen(listen::BACKLOG)
    };
    let bound = bind();
    if bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
        if !fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
            let message = "this file exists, and it is not a socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        if let Err(error) = UnixStream::connect(path).await
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            fs::remove_file(path)?;
            return bind();
        }
    }
    bound
}
