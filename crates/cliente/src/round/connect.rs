//! Finds the addresses of a target, and connects to the first that accepts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use super::deadline::within;
use super::failure::Failure;
use super::steps::Steps;
use crate::targets::target::Target;

/// The first of `target`'s addresses that accepts a connection.
pub(crate) async fn find(target: &Target, connect_timeout: Duration) -> Result<SocketAddr, Failure> {
    let addresses = resolve(target, connect_timeout).await?;
    connect(&addresses, connect_timeout, Steps::of(target)).await?.peer_addr().map_err(Failure::Broken)
}

pub(super) async fn resolve(target: &Target, limit: Duration) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = within(limit, lookup_host((target.host(), target.port()))).await;
    Ok(addresses.map_err(|_| Failure::ResolveTimeout(limit))?.map_err(Failure::Resolve)?.collect())
}

/// Tries one address after the other, all under one deadline.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    limit: Duration,
    steps: Steps<'_>,
) -> Result<TcpStream, Failure> {
    let first_that_accepts = async {
        let mut failure = Failure::Resolve(io::Error::other("it has no address"));
        for &address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return stream.set_nodelay(true).map(|()| stream).map_err(Failure::Broken),
                Err(error) => {
                    steps.not_connected(address, &error);
                    failure = Failure::Connect { address, error };
                }
            }
        }
        Err(failure)
    };
    within(limit, first_that_accepts).await.map_err(|_| Failure::ConnectTimeout(limit))?
}
