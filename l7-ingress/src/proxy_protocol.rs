//! Reads the PROXY protocol header that a load balancer puts in front of a connection.

use std::io;

use bytes::BytesMut;
use l7_ingress_core::proxy_protocol::{self, Endpoints, Parsed};
use tokio::io::AsyncReadExt as _;

use crate::stream::Socket;

/// Room for a header of either version, and for the first bytes after it.
const READ_SIZE: usize = 1024;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the connection ended within it")]
    Ended,
    #[error(transparent)]
    Malformed(#[from] proxy_protocol::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header; `Some` are the ends that it names, `None` says that the connection speaks for
/// itself (health checks of the load balancer). What follows is left to be read.
///
/// # Errors
/// When there is no header: the connection is not to be used.
pub(crate) async fn read(socket: &mut Socket) -> Result<Option<Endpoints>, ReadError> {
    let mut bytes = BytesMut::with_capacity(READ_SIZE);
    loop {
        match proxy_protocol::parse(&bytes) {
            Ok(Parsed { len, endpoints }) => {
                let rest = bytes.split_off(len);
                if !rest.is_empty() {
                    socket.unread(rest.freeze());
                }
                return Ok(endpoints);
            }
            Err(proxy_protocol::Error::Incomplete { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(ReadError::Ended);
        }
    }
}
