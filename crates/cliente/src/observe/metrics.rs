//! Every series of `cliente`: name, help and labels side by side, and one function for each event.

use std::time::{Duration, SystemTime};

use daemon::metrics::telemetry::seconds_since_epoch;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use protocol::{Class, Number};

use crate::round::Outcome;
use crate::round::failure::Reason;
use crate::targets::target::Target;

/// The series of one target.
pub(crate) struct Metrics {
    connections: Counter,
    rounds: Counter,
    skipped: Counter,
    disturbed: Counter,
    failures: [Counter; Reason::ALL.len()],
    numbers: [Counter; Class::ALL.len()],
    connect: Histogram,
    round_trip: Histogram,
    schedule_delay: Histogram,
    last_success: Gauge,
    up: Gauge,
}

impl Metrics {
    /// Registers all of them, so that each exists before its first event.
    pub(crate) fn register(target: &Target) -> Self {
        let server = || target.as_str().to_owned();
        let failures = Reason::ALL.map(|reason| {
            counter!(
                description: "Rounds without a right reply, by what went wrong.",
                "cliente_round_failures_total",
                "server" => server(),
                "reason" => reason.as_str()
            )
        });
        let numbers = Class::ALL.map(|class| {
            counter!(
                description: "Numbers confirmed by a right reply, by class.",
                "cliente_numbers_total",
                "server" => server(),
                "class" => class.as_str()
            )
        });
        let metrics = Self {
            connections: counter!(
                description: "Connections made.",
                "cliente_connections_total", "server" => server()
            ),
            rounds: counter!(description: "Rounds begun.", "cliente_rounds_total", "server" => server()),
            skipped: counter!(
                description: "Ticks without a round: the last one still ran, or they came a whole interval late.",
                "cliente_rounds_skipped_total", "server" => server()
            ),
            disturbed: counter!(
                description: "Rounds that are not counted as right or failed: this process was kept from running.",
                "cliente_rounds_disturbed_total", "server" => server()
            ),
            failures,
            numbers,
            connect: histogram!(
                description: "How long it took to connect; the resolving of the name is not in it.",
                "cliente_connect_seconds", "server" => server()
            ),
            round_trip: histogram!(
                description: "From before the request's write to after the last read of a right reply.",
                "cliente_round_trip_seconds", "server" => server()
            ),
            schedule_delay: histogram!(
                description: "From a round's intended start to its actual start.",
                "cliente_schedule_delay_seconds", "server" => server()
            ),
            last_success: gauge!(
                description: "When the last right reply came, in Unix time; 0 before the first.",
                "cliente_last_success_timestamp_seconds", "server" => server()
            ),
            up: gauge!(
                description: "1 if the last round was right; 0 if not, and before the first; NaN if no longer asked.",
                "cliente_up", "server" => server()
            ),
        };
        metrics.up.set(0.0);
        metrics
    }

    pub(crate) fn begun(&self, delay: Duration) {
        self.rounds.increment(1);
        self.schedule_delay.record(delay);
    }

    pub(crate) fn skipped(&self, ticks: u64) {
        self.skipped.increment(ticks);
    }

    pub(crate) fn finished(&self, number: &Number, outcome: &Outcome) {
        if outcome.disturbed.is_some() {
            self.disturbed.increment(1);
            return;
        }
        if let Some(connect) = outcome.connect {
            self.connections.increment(1);
            self.connect.record(connect);
        }
        match &outcome.result {
            Ok(round_trip) => {
                self.numbers[number.class().index()].increment(1);
                self.round_trip.record(*round_trip);
                self.last_success.set(seconds_since_epoch(SystemTime::now()));
                self.up.set(1.0);
            }
            Err(failure) => {
                self.failures[failure.reason().index()].increment(1);
                self.up.set(0.0);
            }
        }
    }

    /// The target is no longer probed: neither up nor down, so that no alert stays on for ever.
    pub(crate) fn retired(&self) {
        self.up.set(f64::NAN);
    }
}
