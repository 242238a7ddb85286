//! What to do after an error of accept(2). Every listener does the same.

use std::time::Duration;

use rustix::io::Errno;

/// How long a listener waits where trying again at once would fail again.
pub const PAUSE: Duration = Duration::from_millis(100);
/// How many connections may fail in a row before the listener pauses.
const MAX_IN_A_ROW: u32 = 4;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterError {
    /// Accept the next connection: this one ended while it was in the queue.
    Next,
    /// Accept no connection for [`PAUSE`].
    Pause,
    /// Give up: the socket no longer listens.
    GiveUp,
}

/// The errors of one listener since its last connection.
#[derive(Debug, Default)]
pub struct AcceptErrors {
    in_a_row: u32,
}

impl AcceptErrors {
    /// A connection was accepted, or none was waiting.
    pub fn reset(&mut self) {
        self.in_a_row = 0;
    }

    /// Counts an error other than EAGAIN and EINTR, and decides what to do next.
    ///
    /// On Linux accept(2) also returns errors that are pending on the new connection. They need no pause unless many come
    /// in a row. Errors that leave the connection in the queue need one, because the event loop would spin.
    pub fn after(&mut self, error: Errno) -> AfterError {
        let next = match error {
            Errno::CONNABORTED
            | Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NONET
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::PROTO
            | Errno::TIMEDOUT => AfterError::Next,
            // EINVAL: it was shut down, from here or from another process.
            Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::NOTSOCK => AfterError::GiveUp,
            // No more files or memory, refused by a security module or a firewall, or unknown.
            _ => AfterError::Pause,
        };
        if next != AfterError::Next {
            return next;
        }
        self.in_a_row += 1;
        if self.in_a_row < MAX_IN_A_ROW {
            return AfterError::Next;
        }
        self.in_a_row = 0;
        AfterError::Pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_connection_do_not_keep_the_next_one_waiting() {
        for error in [Errno::CONNABORTED, Errno::PROTO, Errno::HOSTDOWN, Errno::NONET, Errno::NETDOWN] {
            assert_eq!(AcceptErrors::default().after(error), AfterError::Next, "{error}");
        }
    }

    #[test]
    fn errors_that_leave_the_connection_in_the_queue_pause_the_listener() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM, Errno::ACCESS] {
            assert_eq!(AcceptErrors::default().after(error), AfterError::Pause, "{error}");
        }
    }

    #[test]
    fn a_socket_that_does_not_listen_is_given_up() {
        for error in [Errno::INVAL, Errno::BADF, Errno::NOTSOCK] {
            assert_eq!(AcceptErrors::default().after(error), AfterError::GiveUp, "{error}");
        }
    }

    #[test]
    fn many_errors_in_a_row_pause_the_listener_unless_a_connection_comes_between() {
        let mut errors = AcceptErrors::default();
        for round in 0..2 {
            for _ in 1..MAX_IN_A_ROW {
                assert_eq!(errors.after(Errno::NETDOWN), AfterError::Next, "round {round}");
            }
            assert_eq!(errors.after(Errno::NETDOWN), AfterError::Pause, "round {round}");
        }
        for _ in 0..3 * MAX_IN_A_ROW {
            errors.reset();
            assert_eq!(errors.after(Errno::NETDOWN), AfterError::Next);
        }
    }
}
