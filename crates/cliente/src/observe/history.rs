//! The last rounds of all targets, for the page: what a person wants to see who comes after something has happened.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::round::Outcome;
use crate::round::failure::{Failure, Reason};
use crate::targets::target::Target;

/// How many rounds are remembered.
pub const CAPACITY: usize = 100;

/// A round that is over.
#[derive(Clone, Debug)]
pub struct Past {
    /// When it ended.
    pub at: SystemTime,
    /// Who was asked.
    pub server: String,
    /// The round trip, or why there was none.
    pub result: Result<Duration, Reason>,
}

/// The last [`CAPACITY`] rounds, oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Past>>);

impl History {
    /// Adds a round that has just ended, and forgets one if there are too many.
    pub fn add(&self, target: &Target, outcome: &Outcome) {
        let result = outcome.result.as_ref().map_err(Failure::reason).copied();
        let past = Past { at: SystemTime::now(), server: target.as_str().to_owned(), result };
        let mut rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rounds.len() == CAPACITY {
            rounds.pop_front();
        }
        rounds.push_back(past);
    }

    /// The round that ended last.
    pub fn last(&self) -> Option<Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// What is remembered.
    pub fn rounds(&self) -> Vec<Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
