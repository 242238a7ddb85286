//! What the HTTP side shows of a daemon: its metrics, and a page for people with its state and its settings.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::{Phase, Site};
use crate::settings::{Settings, effective_config};
use crate::supervisor::Supervised;
use crate::telemetry::Telemetry;

/// The site of `daemon`, called `name`, as it is at each request.
pub fn of<D: Supervised + 'static>(
    name: &'static str,
    daemon: Arc<D>,
    telemetry: Arc<Telemetry>,
    settings: watch::Receiver<Arc<Settings<D::Own>>>,
    phase: watch::Receiver<Phase>,
) -> Site {
    let (allowing, now, uptime) = (settings.clone(), phase.clone(), Arc::clone(&telemetry));
    let page = move || {
        let (status, phase) = (daemon.status(), *now.borrow());
        let settings = effective_config(&settings.borrow()).replace('&', "&amp;").replace('<', "&lt;");
        let uptime = uptime.uptime().as_secs();
        format!(
            "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{name}</title><h1>{name}</h1>\
             <p>{phase:?}, up {uptime} s: {status}.</p><pre>{settings}</pre>\
             <p><a href=/metrics>metrics</a> <a href=/-/healthy>healthy</a> <a href=/-/ready>ready</a></p></html>\n"
        )
    };
    Site {
        metrics: Box::new(move || telemetry.render()),
        page: Box::new(page),
        admits: Box::new(move |peer| allowing.borrow().common.metrics_allow.contains(peer)),
        phase,
    }
}
