//! The HTTP side: metrics for Prometheus, health for supervisors, a page for people.

mod clients;
mod compression;
pub mod health;
mod hosts;
mod icon;
pub mod page;
pub mod server;
pub mod site;
