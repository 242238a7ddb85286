//! The channel of the standard library, made of what loom explores. Loom's own takes messages for leaks that reach a receiver
//! after its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{SendError, TryRecvError};

use loom::sync::Mutex;

/// See [`std::sync::mpsc::Sender`].
#[derive(Debug)]
pub struct Sender<T>(Arc<Queue<T>>);

/// See [`std::sync::mpsc::Receiver`].
#[derive(Debug)]
pub struct Receiver<T>(Arc<Queue<T>>);

/// `None` once the receiver is gone.
type Queue<T> = Mutex<Option<VecDeque<T>>>;

/// See [`std::sync::mpsc::channel`].
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Mutex::new(Some(VecDeque::new())));
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Sender<T> {
    /// See [`std::sync::mpsc::Sender::send`].
    ///
    /// # Errors
    ///
    /// If the receiver is gone.
    ///
    /// # Panics
    ///
    /// If another thread has panicked here.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        match self.0.lock().expect("no thread panics here").as_mut() {
            Some(queue) => queue.push_back(message),
            None => return Err(SendError(message)),
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// See [`std::sync::mpsc::Receiver::try_recv`]. It does not notice that all senders are gone.
    ///
    /// # Errors
    ///
    /// If there is no message.
    ///
    /// # Panics
    ///
    /// If another thread has panicked here.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut queue = self.0.lock().expect("no thread panics here");
        queue.as_mut().and_then(VecDeque::pop_front).ok_or(TryRecvError::Empty)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Dropping a message may take other locks.
        let queue = self.0.lock().expect("no thread panics here").take();
        drop(queue);
    }
}
