//! With `addresses = "all"`, each address of a name is a target of its own.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::resolve::{Answers, Resolver, Wanted};
use crate::round::within;
use crate::settings::{Addresses, Own};
use crate::targets::labels::Labelled;
use crate::targets::target::Target;

/// However short-lived the answers are, a name is looked up no more often than this.
const MOST_OFTEN: Duration = Duration::from_secs(1);

/// The targets that are probed for those that are configured.
pub(crate) struct Expansion {
    resolver: Resolver,
    configured: Vec<Labelled>,
    /// The addresses of names, once they are known. A name without any is probed itself: its rounds fail and say why.
    known: HashMap<Target, Vec<SocketAddr>>,
    look_ups: JoinSet<(Target, Answers)>,
    under_way: HashMap<Target, AbortHandle>,
    options: Option<(Wanted, Duration)>,
}

/// The targets that are there from the start.
pub fn at_start(own: &Own) -> Vec<Labelled> {
    let mut targets = own.targets();
    targets.retain(|labelled| own.addresses == Addresses::First || !labelled.target.is_name());
    own.choose(targets)
}

impl Expansion {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            configured: Vec::new(),
            known: HashMap::new(),
            look_ups: JoinSet::new(),
            under_way: HashMap::new(),
            options: None,
        }
    }

    /// From now on, `own` is what is configured.
    pub(crate) fn follow(&mut self, own: &Own) {
        self.configured = own.targets();
        let options = (own.addresses == Addresses::All).then(|| (own.wanted(), own.connect_timeout.get()));
        let is_other = options != self.options;
        self.options = options;
        let targets = self.configured.iter().map(|labelled| &labelled.target);
        let names: HashSet<Target> =
            targets.filter(|target| target.is_name() && options.is_some()).cloned().collect();
        self.known.retain(|target, _| names.contains(target));
        self.under_way.retain(|target, look_up| {
            let stays = !is_other && names.contains(target);
            if !stays {
                look_up.abort();
            }
            stays
        });
        for target in names {
            if !self.under_way.contains_key(&target) {
                self.look_up(target, Instant::now());
            }
        }
    }

    /// The targets to be probed.
    pub(crate) fn targets(&self) -> Vec<Labelled> {
        let mut targets = Vec::new();
        for labelled in &self.configured {
            let Labelled { target, labels } = labelled;
            match self.known.get(target) {
                Some(addresses) if !addresses.is_empty() => {
                    let at = |&address| Labelled { target: target.at(address), labels: Arc::clone(labels) };
                    targets.extend(addresses.iter().map(at));
                }
                None if self.options.is_some() && target.is_name() => {}
                _ => targets.push(labelled.clone()),
            }
        }
        targets
    }

    /// Whether names have yet to be looked up for the first time.
    pub(crate) fn is_waiting(&self) -> bool {
        self.under_way.keys().any(|target| !self.known.contains_key(target))
    }

    /// Waits until there are other targets to be probed. Giving up the wait loses nothing.
    pub(crate) async fn changed(&mut self) {
        loop {
            let Some(ended) = self.look_ups.join_next_with_id().await else { return pending().await };
            // The others were given up, before or after their end.
            let Ok((id, (target, answers))) = ended else { continue };
            if self.under_way.get(&target).is_none_or(|look_up| look_up.id() != id) {
                continue;
            }
            let next = answers.until.max(Instant::now() + MOST_OFTEN);
            self.look_up(target.clone(), next);
            let before = self.known.get(&target);
            let mut addresses: Vec<SocketAddr> = answers.addresses().collect();
            // Without an answer, the last one holds.
            let stays = |address: &&SocketAddr| !addresses.contains(address) && !answers.exclude(**address);
            let old: Vec<SocketAddr> = before.into_iter().flatten().filter(stays).copied().collect();
            addresses.extend(old);
            addresses.sort_unstable();
            addresses.dedup();
            if before != Some(&addresses) {
                self.known.insert(target, addresses);
                return;
            }
        }
    }

    fn look_up(&mut self, target: Target, at: Instant) {
        let Some((wanted, limit)) = self.options else { return };
        let (resolver, name) = (self.resolver.clone(), target.clone());
        let look_up = self.look_ups.spawn(async move {
            sleep_until(at).await;
            let mut look_up = resolver.look_up(name.endpoint(), wanted);
            // What is known by then is enough.
            let _ = within(limit, look_up.all()).await;
            (name, look_up.answers().clone())
        });
        self.under_way.insert(target, look_up);
    }
}
