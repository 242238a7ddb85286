//! The world, as the client's side of it and the clock share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::world::World;

/// Clones are one world.
#[derive(Clone)]
pub(super) struct Shared {
    world: Arc<Mutex<World>>,
    base: Instant,
}

impl Shared {
    /// A world that begins now, on the paused clock.
    pub(super) fn new(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)), base: Instant::now() }
    }

    /// The time since the beginning.
    pub(super) fn now(&self) -> u64 {
        super::world::nanoseconds(self.base.elapsed())
    }

    /// The world at this time.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.now = self.now();
        world
    }

    /// The time of the runtime at which so many nanoseconds have passed.
    pub(super) fn instant(&self, at: u64) -> Instant {
        self.base + std::time::Duration::from_nanos(at)
    }
}
