//! One question to the name servers.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::config::{NameServerConfig, ResolverOpts};
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::Unresolved;
use crate::host::NameServerSockets;

/// The next name server is asked when the one before has failed, or has not answered for so long.
const NEXT_SERVER: Duration = Duration::from_millis(250);
/// Who asks has limits of its own. Those of the library would be enforced without another look at the socket.
const NO_LIMIT: Duration = Duration::from_hours(1);

/// What the name servers know.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) data: Vec<RData>,
    pub(super) ttl: Duration,
}

/// Asks for the records of `kind`; there may be none. Without an answer, the query is sent again after a third of a second, and
/// once more.
///
/// # Errors
///
/// If there is no such name, or no name server answers otherwise than with an error; after no error it goes on waiting.
pub(super) async fn ask(
    servers: &[SocketAddr],
    name: &Name,
    kind: RecordType,
) -> Result<Records, Unresolved> {
    let mut under_way = FuturesUnordered::new();
    let mut waiting = servers.iter();
    let mut next = Instant::now();
    let mut failure = None;
    loop {
        if next <= Instant::now()
            && let Some(&server) = waiting.next()
        {
            under_way.push(ask_one(server, name, kind));
            next = Instant::now() + NEXT_SERVER;
        }
        select! {
            biased;
            Some(answer) = under_way.next() => match answer {
                Err(error @ Unresolved::Server { .. }) => {
                    failure.get_or_insert(error);
                    next = Instant::now();
                }
                answer => return answer,
            },
            () = sleep_until(next), if waiting.len() > 0 => {}
            else => return Err(failure.unwrap_or(Unresolved::NoName)),
        }
    }
}

/// The library's pool is made anew for each question, with one name server: a pool of several takes the first SERVFAIL for the answer
/// of all, and one that is kept sends a lost query again the later, the more names it did not find before.
fn ask_one(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
) -> impl Future<Output = Result<Records, Unresolved>> + use<> {
    let query = Query::query(name.clone(), kind);
    async move {
        let failed = |error: NetError| Unresolved::Server { server: server.ip(), problem: error.to_string() };
        let mut options = ResolverOpts::default();
        options.timeout = NO_LIMIT;
        options.os_port_selection = true;
        let context = PoolContext::new(options, TlsConfig::new().map_err(failed)?);
        let pool =
            NameServerPool::from_config([config(server)], Arc::new(context), NameServerSockets::default());
        // As the C library: there are name servers that know no extensions. A long answer comes by TCP.
        let mut options = DnsRequestOptions::default();
        options.use_edns = false;
        match pool.lookup(query, options).first_answer().await {
            Ok(response) => {
                let ttl = response.answers.iter().map(|record| record.ttl).min().unwrap_or_default();
                let wanted = response.answers.iter().filter(|record| record.record_type() == kind);
                let data = wanted.map(|record| record.data.clone()).collect();
                Ok(Records { data, ttl: Duration::from_secs(ttl.into()) })
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NXDomain => Err(Unresolved::NoName),
                _ => Ok(Records::default()),
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                Err(Unresolved::Server { server: server.ip(), problem: code.to_string() })
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn config(server: SocketAddr) -> NameServerConfig {
    let ip: IpAddr = server.ip();
    let mut config = NameServerConfig::udp_and_tcp(ip);
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}
