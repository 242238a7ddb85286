//! What the HTTP side shows of a daemon: its metrics, and a page with its state and its settings.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::page::Page;
use super::server::Site;
use crate::metrics::telemetry::Telemetry;
use crate::phase::Phase;
use crate::settings::Settings;
use crate::supervisor::Supervised;

/// The site of `daemon`, which is called `name`. Call this when the daemon starts: the uptime begins here.
pub fn of<D: Supervised + 'static>(
    name: &'static str,
    daemon: Arc<D>,
    telemetry: Arc<Telemetry>,
    settings: watch::Receiver<Arc<Settings<D::Own>>>,
    phase: watch::Receiver<Phase>,
) -> Site {
    let own = Arc::clone(&daemon);
    let (allowing, naming) = (settings.clone(), settings.clone());
    let (now, begun) = (phase.clone(), Instant::now());
    let page = move || {
        let settings = settings.borrow().clone();
        let names = Settings::<D::Own>::schema().into_iter().map(|setting| setting.name);
        let page = Page {
            name,
            phase: *now.borrow(),
            uptime: begun.elapsed(),
            own: &daemon.page(),
            settings: names.zip(settings.values()).collect(),
        };
        page.to_string()
    };
    Site {
        metrics: Box::new(move || telemetry.render(|text| own.own_metrics(text))),
        page: Box::new(page),
        admits: Box::new(move |peer| allowing.borrow().common.metrics_allow.contains(peer)),
        hosts: Box::new(move || naming.borrow().common.metrics_hosts.clone()),
        phase,
    }
}
