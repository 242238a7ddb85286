//! Listening sockets that outlive the process: those in the service manager's file descriptor store, and those that an
//! operator passes in.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::descriptors::{Descriptors, Inherited, Origin};
use super::notifier::Notifier;
use crate::listener::{ListenError, Listener, bind};

/// How long the service manager may take to close a socket.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const BIND_RETRY: Duration = Duration::from_millis(10);

/// Opens the listeners called `name`: keeps the stored sockets whose addresses are in the settings, closes the other stored
/// ones, and binds and stores those that are missing.
///
/// Sockets that the operator passes in under `name` overrule the settings. If the setting was given and differs, a
/// warning names both.
///
/// # Errors
///
/// If an address cannot be bound, or its socket cannot be stored.
pub async fn open(
    descriptors: &mut Descriptors,
    notifier: &mut Notifier,
    name: &str,
    setting: &'static str,
    configured: &[SocketAddr],
    is_given: bool,
) -> Result<Vec<Listener>, ListenError> {
    let is_stored = |socket: &Inherited| socket.origin == Origin::Store;
    let (stored, handed_over): (Vec<_>, Vec<_>) = descriptors.take(name).into_iter().partition(is_stored);
    if !handed_over.is_empty() {
        close_stored(notifier, name, setting, stored);
        warn_if_overruled(setting, configured, is_given, &handed_over);
        return Ok(handed_over.into_iter().map(inherited).collect());
    }
    let is_configured = |socket: &Inherited| configured.contains(&socket.address);
    let (mut kept, closed): (Vec<_>, Vec<_>) = stored.into_iter().partition(is_configured);
    let may_wait = !closed.is_empty();
    if close_stored(notifier, name, setting, closed) {
        for socket in &kept {
            notifier.store(name, duplicate(&socket.socket, setting, socket.address)?);
        }
    }
    let mut listeners = Vec::new();
    for &address in configured {
        if let Some(index) = kept.iter().position(|socket| socket.address == address) {
            listeners.push(inherited(kept.swap_remove(index)));
            continue;
        }
        let bound =
            if may_wait { bind_patiently(setting, address, notifier).await } else { bind(setting, address) };
        let (socket, address) = bound?;
        let outlives = notifier.store(name, duplicate(&socket, setting, address)?);
        listeners.push(Listener { socket, address, inherited: false, outlives });
    }
    Ok(listeners)
}

fn inherited(Inherited { socket, address, .. }: Inherited) -> Listener {
    Listener { socket, address, inherited: true, outlives: true }
}

/// A second descriptor of a socket, for the store.
fn duplicate(
    socket: &TcpListener,
    setting: &'static str,
    address: SocketAddr,
) -> Result<OwnedFd, ListenError> {
    let duplicate = socket.try_clone().map_err(|error| ListenError::Use { setting, address, error })?;
    Ok(duplicate.into())
}

/// Closes stored sockets, here and in the store. Otherwise they would queue clients that nobody serves. Returns whether
/// there were any: the store then has no socket of this name left.
fn close_stored(notifier: &mut Notifier, name: &str, setting: &'static str, sockets: Vec<Inherited>) -> bool {
    let had_any = !sockets.is_empty();
    for Inherited { address, .. } in sockets {
        tracing::info!(setting, %address, "stored socket closed");
    }
    if had_any {
        notifier.forget(name);
    }
    had_any
}

fn warn_if_overruled(
    setting: &'static str,
    configured: &[SocketAddr],
    is_given: bool,
    handed_over: &[Inherited],
) {
    let inherited: Vec<SocketAddr> = handed_over.iter().map(|socket| socket.address).collect();
    let is_same =
        inherited.len() == configured.len() && inherited.iter().all(|address| configured.contains(address));
    if is_given && !is_same {
        tracing::warn!(setting, ?configured, ?inherited, "setting is overruled by inherited sockets");
    }
}

/// Binds an address that a stored socket may still occupy. The service manager closes that socket later, and does not say
/// when, so this tries again for a while.
async fn bind_patiently(
    setting: &'static str,
    address: SocketAddr,
    notifier: &mut Notifier,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    loop {
        match bind(setting, address) {
            Err(ListenError::Bind { error, .. })
                if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline =>
            {
                tokio::select! { () = sleep(BIND_RETRY) => {}, () = notifier.resend() => {} }
            }
            bound => return bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::ServiceManager;

    use super::*;

    fn stored() -> (Inherited, SocketAddr) {
        let (socket, address) = bind("listen", SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        (Inherited { name: "servidor".to_owned(), socket, address, origin: Origin::Store }, address)
    }

    #[tokio::test]
    async fn the_store_follows_the_settings() {
        let manager = ServiceManager::new();
        let mut notifier = Notifier::with_store(&manager);
        let ((stays, address), (goes, _)) = (stored(), stored());
        let mut descriptors = Descriptors(vec![goes, stays]);
        let configured = [SocketAddr::from(([127, 0, 0, 1], 0)), address];
        let opened = open(&mut descriptors, &mut notifier, "servidor", "listen", &configured, true);
        let listeners = opened.await.expect("free ports");
        assert_eq!(
            manager.next_state(),
            "FDSTOREREMOVE=1\nFDNAME=servidor",
            "the closed one, and others of that name"
        );
        assert_eq!(manager.next_state(), "FDSTORE=1\nFDNAME=servidor", "the kept one");
        assert_eq!(manager.next_state(), "FDSTORE=1\nFDNAME=servidor", "the new one");
        let states: Vec<_> =
            listeners.iter().map(|listener| (listener.inherited, listener.outlives)).collect();
        assert_eq!(states, [(false, true), (true, true)], "in the order of the settings");
        assert_eq!(listeners[1].address, address);
    }

    #[tokio::test]
    async fn a_setting_that_is_off_empties_the_store() {
        let manager = ServiceManager::new();
        let mut notifier = Notifier::with_store(&manager);
        let mut descriptors = Descriptors(vec![stored().0]);
        let opened = open(&mut descriptors, &mut notifier, "servidor", "listen", &[], true);
        assert!(opened.await.expect("nothing to bind").is_empty());
        assert_eq!(manager.next_state(), "FDSTOREREMOVE=1\nFDNAME=servidor");
    }
}
