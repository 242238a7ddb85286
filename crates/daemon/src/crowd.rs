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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_and_no_other() {
        let mut crowd = Crowd::new(2);
        let mut tasks: Vec<_> = (0..3).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        for task in &tasks {
            crowd.admit(task.abort_handle());
        }
        assert!(tasks.remove(0).await.is_err_and(|error| error.is_cancelled()));
        // Whoever has ended leaves room behind.
        tasks.remove(0).abort();
        tokio::task::yield_now().await;
        crowd.admit(tokio::spawn(std::future::pending::<()>()).abort_handle());
        tokio::task::yield_now().await;
        assert!(!tasks[0].is_finished());
    }
}
