//! The names of failures.

use std::io;

use daemon::label;

label! {
    /// The name of a failure in logs and metrics.
    pub enum Reason {
        /// The name has no address, or the resolver took too long.
        Resolve = "resolve",
        /// Nobody listens there.
        Refused = "refused",
        /// There is no route to it.
        Unreachable = "unreachable",
        /// The connection took too long.
        ConnectTimeout = "connect_timeout",
        /// The reply took too long.
        ReplyTimeout = "reply_timeout",
        /// The server, or something on the way, broke the connection.
        Reset = "reset",
        /// The server ended the connection in place of a reply.
        Closed = "closed",
        /// Another reply than the right one, or more than one.
        WrongReply = "wrong_reply",
        /// `ERRO`.
        ServerError = "server_error",
        /// Anything else, such as a lack of descriptors.
        Other = "other",
    }
}

/// `timed_out` is what it means in this phase that the system's own patience ended before ours.
pub(crate) fn reason_of(error: &io::Error, timed_out: Reason) -> Reason {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Reason::Refused,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => Reason::Unreachable,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Reason::Reset,
        Kind::TimedOut => timed_out,
        _ => Reason::Other,
    }
}
