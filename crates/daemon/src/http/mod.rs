//! The HTTP side: metrics for Prometheus, health for supervisors, a page for people.

mod clients;
pub mod health;
mod hosts;
pub mod page;
pub mod server;
pub mod site;
