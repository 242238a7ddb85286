//! The page for people: what the server is at, and under which settings.

use std::sync::Arc;

use daemon::admin::Phase;
use daemon::settings::effective_config;
use daemon::supervisor::Supervised as _;
use daemon::telemetry::Telemetry;
use tokio::sync::watch;

use crate::context::Context;
use crate::settings::Settings;

/// The page as it is at each call.
pub fn of(
    context: Arc<Context>,
    telemetry: Arc<Telemetry>,
    settings: watch::Receiver<Arc<Settings>>,
    phase: watch::Receiver<Phase>,
) -> impl Fn() -> String {
    move || {
        let (status, phase) = (context.status(), *phase.borrow());
        let settings = effective_config(&settings.borrow()).replace('&', "&amp;").replace('<', "&lt;");
        let uptime = telemetry.uptime().as_secs();
        format!(
            "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>servidor</title><h1>servidor</h1>\
             <p>{phase:?}, up {uptime} s: {status}.</p><pre>{settings}</pre>\
             <p><a href=/metrics>metrics</a> <a href=/-/healthy>healthy</a> <a href=/-/ready>ready</a></p></html>\n"
        )
    }
}
