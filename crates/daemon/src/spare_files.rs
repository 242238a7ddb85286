//! Files that are kept open for the time when no others can be opened.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// See the module. Each of them counts against the limits of the process and of the host, and is of no other use.
#[derive(Debug)]
pub(crate) struct SpareFiles {
    files: Mutex<Vec<OwnedFd>>,
    wanted: usize,
}

impl SpareFiles {
    /// Keeps `wanted` files, or as many as can be opened.
    pub(crate) fn new(wanted: usize) -> Self {
        let files = Self { files: Mutex::default(), wanted };
        files.refill();
        files
    }

    /// Closes one, so that another file can be opened in its place. Returns whether there was one.
    pub(crate) fn release(&self) -> bool {
        self.files().pop().is_some()
    }

    /// Opens again what was closed, as far as that is possible. Call it whenever a file may have been closed.
    pub(crate) fn refill(&self) {
        let mut files = self.files();
        while files.len() < self.wanted
            && let Ok(file) = eventfd(0, EventfdFlags::CLOEXEC)
        {
            files.push(file);
        }
    }

    fn files(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_released_is_kept_again() {
        let files = SpareFiles::new(2);
        assert_eq!([files.release(), files.release(), files.release()], [true, true, false]);
        files.refill();
        assert_eq!([files.release(), files.release(), files.release()], [true, true, false]);
    }
}
