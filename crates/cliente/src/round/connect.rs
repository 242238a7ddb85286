//! Connects to the first of a target's addresses that accepts: RFC 8305.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::attempts::Attempts;
use super::deadline::within;
use super::failure::Failure;
use super::steps::Steps;
use crate::host::{self, Stream};
use crate::resolve::{LookUp, Resolver, Wanted};
use crate::targets::target::Target;

/// The next address is tried when one has failed, or when the last has not answered for so long: RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The first of `target`'s addresses that accepts a connection.
pub(crate) async fn find(target: &Target, connect_timeout: Duration) -> Result<SocketAddr, Failure> {
    let mut look_up = Resolver::of_this_host().look_up(target.endpoint(), Wanted::ANY);
    resolve(&mut look_up, connect_timeout).await?;
    let (address, _) = connect(&mut look_up, None, connect_timeout, Steps::of(target)).await?;
    Ok(address)
}

/// Waits until there is an address to be tried.
pub(super) async fn resolve(look_up: &mut LookUp, limit: Duration) -> Result<(), Failure> {
    let first = within(limit, look_up.first()).await;
    first.map_err(|_| Failure::ResolveTimeout(limit))?.map_err(Failure::Resolve)
}

/// Tries the addresses, all under one deadline. Those that are found meanwhile join in. Returns the one that accepted.
pub(super) async fn connect(
    look_up: &mut LookUp,
    source: Option<IpAddr>,
    limit: Duration,
    steps: Steps<'_>,
) -> Result<(SocketAddr, Stream), Failure> {
    let mut attempts = Attempts::within(limit);
    match within(limit, race(look_up, source, steps, &mut attempts)).await {
        Ok(Some((address, stream))) => match stream.set_nodelay(true) {
            Ok(()) => Ok((address, stream)),
            Err(error) => Err(Failure::Broken(error)),
        },
        Ok(None) | Err(_) => Err(Failure::Connect(attempts)),
    }
}

/// The first connection that is made; the other attempts are given up.
async fn race(
    look_up: &mut LookUp,
    source: Option<IpAddr>,
    steps: Steps<'_>,
    attempts: &mut Attempts,
) -> Option<(SocketAddr, Stream)> {
    let mut under_way = FuturesUnordered::new();
    let mut next = Instant::now();
    loop {
        if next <= Instant::now()
            && let Some(address) = look_up.next_address()
        {
            let number = attempts.begin(address);
            under_way.push(async move { (number, address, host::connect(address, source).await) });
            next = Instant::now() + ATTEMPT_DELAY;
        }
        select! {
            biased;
            Some((number, address, result)) = under_way.next() => match result {
                Ok(stream) => return Some((address, stream)),
                Err(error) => {
                    steps.not_connected(address, &error);
                    attempts.fail(number, error);
                    next = Instant::now();
                }
            },
            () = look_up.more(), if look_up.is_under_way() => {}
            () = sleep_until(next), if look_up.has_next() => {}
            else => return None,
        }
    }
}
