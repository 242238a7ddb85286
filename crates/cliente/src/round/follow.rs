//! A kept connection follows the name of its target.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::deadline::within;
use super::steps::Steps;
use super::{Options, Session};
use crate::resolve::LookUp;

/// However short-lived the answers are, a kept connection's name is looked up no more often than this.
const MOST_OFTEN: Duration = Duration::from_secs(1);

/// The look-up for a kept connection. It goes on between rounds, as far as there is time, so that it delays none.
#[derive(Default)]
pub(super) struct Following {
    look_up: Option<Pin<Box<dyn Future<Output = LookUp> + Send>>>,
    last: Option<Instant>,
}

impl Session {
    /// Looks up the name of a kept connection when its answers have expired, and closes the connection if its address is no longer
    /// among them. Without a kept connection it waits for ever. Giving up the wait loses nothing.
    ///
    /// While the name servers do not answer, the connection is kept.
    pub async fn follow(&mut self, options: Options) {
        let (Some(kept), Some(answers)) = (&self.kept, &self.answers) else {
            return pending().await;
        };
        if self.target.address().is_some() {
            return pending().await;
        }
        let address = kept.address;
        let earliest = self.following.last.map_or(answers.until, |last| answers.until.max(last + MOST_OFTEN));
        if self.following.look_up.is_none() {
            sleep_until(earliest).await;
        }
        let look_up = self.following.look_up.get_or_insert_with(|| {
            let mut look_up = self.resolver.look_up(self.target.endpoint(), options.wanted);
            Box::pin(async move {
                // What is known by then is enough.
                let _ = within(options.connect_timeout, look_up.all()).await;
                look_up
            })
        });
        let look_up = look_up.await;
        self.following = Following { look_up: None, last: Some(Instant::now()) };
        let answers = look_up.answers();
        if answers.exclude(address) {
            Steps::of(&self.target).moved(address);
            self.kept = None;
        }
        if answers.addresses().next().is_some() {
            self.wanted = options.wanted;
            self.answers = Some(answers.clone());
        }
    }
}
