//! Sockets that the service manager passes at the start: sd_listen_fds(3).

use std::env;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use socket2::Socket;

use super::notifier::{Notifier, has_store};

/// A listening socket that was passed to this process.
#[derive(Debug)]
pub struct Inherited {
    /// Its name, which says what it is for.
    pub name: String,
    /// The socket, which does not block.
    pub socket: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an inherited socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Bound by the operator, in a `.socket` unit or the like.
    Operator,
    /// Bound by an earlier process of this service, and kept in the service manager's file descriptor store.
    Store,
}

/// All inherited sockets.
#[derive(Debug)]
pub struct Descriptors(pub Vec<Inherited>);

impl Descriptors {
    /// Takes ownership of them. Call this once, before anything opens a file: a file could otherwise get the number of a
    /// descriptor that was announced but not passed.
    ///
    /// `names` are the names that the daemon knows. A single socket without a name gets the first of them.
    ///
    /// # Errors
    ///
    /// If a descriptor was announced but not passed, or is not a listening TCP socket.
    pub fn from_environment(names: &[&str]) -> io::Result<Self> {
        let announced = sd_notify::listen_fds().map_err(|error| {
            io::Error::new(error.kind(), format!("LISTEN_FDS announces what was not passed: {error}"))
        })?;
        let given = given_names(announced.len())?;
        let adopted = announced.zip(given).map(|(descriptor, name)| adopt(descriptor, name, names));
        let mut sockets = adopted.collect::<io::Result<Vec<_>>>()?;
        let mut unnamed: Vec<_> = sockets.iter_mut().filter(|socket| socket.is_unnamed()).collect();
        if let ([single], [first, ..]) = (unnamed.as_mut_slice(), names) {
            (*first).clone_into(&mut single.name);
        }
        Ok(Self(sockets))
    }

    /// Closes the sockets whose name is not among `names`, here and in the store, with a warning for each.
    pub fn close_unknown(&mut self, names: &[&str], notifier: &mut Notifier) {
        for Inherited { name, .. } in self.0.extract_if(.., |socket| !names.contains(&socket.name.as_str())) {
            tracing::warn!(name, "inherited socket of an unknown name");
            notifier.forget(&name);
        }
    }

    /// Removes and returns the sockets called `name`.
    pub(crate) fn take(&mut self, name: &str) -> Vec<Inherited> {
        self.0.extract_if(.., |socket| socket.name == name).collect()
    }
}

impl Inherited {
    /// Whether it has no name of its own. systemd then passes the name of the socket unit, other programs none.
    fn is_unnamed(&self) -> bool {
        self.name.is_empty() || self.name == "unknown" || self.name.ends_with(".socket")
    }
}

/// The names of `count` descriptors. Those of another process, whose variables were inherited, do not matter if there are none.
fn given_names(count: usize) -> io::Result<Vec<String>> {
    let names: Vec<String> = match env::var("LISTEN_FDNAMES") {
        Ok(names) if count > 0 => names.split(':').map(str::to_owned).collect(),
        _ => vec!["unknown".to_owned(); count],
    };
    if names.len() == count {
        return Ok(names);
    }
    let problem = format!("LISTEN_FDNAMES has {} names for {count} descriptors", names.len());
    Err(io::Error::new(ErrorKind::InvalidInput, problem))
}

#[expect(
    unsafe_code,
    reason = "a descriptor that the service manager passes has no owner in this process yet"
)]
fn adopt(descriptor: RawFd, name: String, names: &[&str]) -> io::Result<Inherited> {
    // SAFETY: sd_listen_fds(3) gives these descriptors to this process, which has opened nothing yet.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    let (true, Some(address)) = (socket.is_listener().unwrap_or(false), address) else {
        let problem = format!("inherited descriptor {descriptor} (`{name}`) is not a listening TCP socket");
        return Err(io::Error::new(ErrorKind::InvalidInput, problem));
    };
    // Ours are stored non-blocking. systemd leaves stored descriptors as they are, and makes those of socket units
    // blocking unless NonBlocking= says otherwise: systemd.service(5).
    let is_ours = has_store() && names.contains(&name.as_str()) && socket.nonblocking()?;
    socket.set_nonblocking(true)?;
    let origin = if is_ours { Origin::Store } else { Origin::Operator };
    Ok(Inherited { name, socket: socket.into(), address, origin })
}
