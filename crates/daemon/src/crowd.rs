//! Tasks of which only so many are kept: the oldest make room.

use std::collections::VecDeque;

use tokio::task::AbortHandle;

/// At most `most` tasks, in the order in which they came.
#[derive(Debug)]
pub struct Crowd {
    most: usize,
    tasks: VecDeque<AbortHandle>,
}

impl Crowd {
    /// Room for `most` tasks.
    pub const fn new(most: usize) -> Self {
        Self { most, tasks: VecDeque::new() }
    }

    /// Lets a task in, and ends the oldest ones that are too many.
    pub fn admit(&mut self, task: AbortHandle) {
        self.tasks.retain(|task| !task.is_finished());
        while self.tasks.len() >= self.most {
            if let Some(oldest) = self.tasks.pop_front() {
                oldest.abort();
            }
        }
        self.tasks.push_back(task);
    }
}
