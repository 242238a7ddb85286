//! Whether this host can answer itself: then failures are not its own.

use std::sync::Arc;

use daemon::sync::atomic::{AtomicBool, Ordering};

/// Whether the last control round failed or was slow.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnHost(Arc<AtomicBool>);

impl OwnHost {
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Records a control round. Returns whether it differs from the last one.
    pub(crate) fn update(&self, is_well: bool) -> bool {
        self.0.swap(!is_well, Ordering::Relaxed) == is_well
    }
}
